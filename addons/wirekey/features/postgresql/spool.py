"""Keeps records in a local file while the audit database cannot take them, and moves them there in order.

An entry of the spool is one transaction. The database stores the number of the last entry in the transaction that the
entry becomes, so each arrives exactly once, whenever Wirekey or the database stops.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
import time
import uuid
from typing import TYPE_CHECKING, Any

import msgspec

from wirekey.core.audit.event import ATTEMPT_NAMES, NAMES, OUTCOME_NAMES
from wirekey.core.audit.rows import Rows
from wirekey.core.errors import UserError
from wirekey.core.sqlite_file import create_private

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wirekey.core.audit.event import EventValue
    from wirekey.core.audit.rows import AuditRow
    from wirekey.features.postgresql.writer import PostgresAudit

logger = logging.getLogger(__name__)

ENTRIES_AT_ONCE = 100
MAX_NUMBER = 2**63 - 1
CLOSE_SECONDS = 5.0
MOVE_SECONDS = 0.05
"""Seconds of moving after which new records get their turn."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 2.0
"""Seconds between attempts to reach the database."""
START_PATIENCE = 5.0
MOST_OWNERS = 256


class SpoolError(UserError):
    """The spool cannot be used. The message names the file and the fix."""


class WriterName:
    """The name of a writer of the state folder, kept by a lock until this process ends.

    Processes that share a folder have different names. A process gets the name of its predecessor, and so knows
    that it has ended. Raises SpoolError.
    """

    def __init__(self, state: Path) -> None:
        try:
            state.mkdir(parents=True, exist_ok=True, mode=0o700)
            for number in range(1, MOST_OWNERS):
                self.spool = state / f"audit-spool-{number}.db"
                self._file = os.open(
                    state / f"audit-writer-{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
                )
                try:
                    fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(self._file)
                else:
                    break
            self.name = os.pread(self._file, 64, 0).decode("ascii", "replace").strip()
            if len(self.name) != 32:
                self.name = uuid.uuid4().hex
                os.ftruncate(self._file, 0)
                os.pwrite(self._file, self.name.encode(), 0)
                os.fsync(self._file)
        except OSError as error:
            raise SpoolError(f"{error.filename or state} cannot be used: {error.strerror}.") from error

    def close(self) -> None:
        """Release the name."""
        os.close(self._file)


class SpoolFile:
    """The entries that wait, on disk when `append` returns. Raises SpoolError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            create_private(path)
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS entries (number INTEGER PRIMARY KEY AUTOINCREMENT, rows BLOB, unsure BLOB)"
            )
            self.count: int = self._database.execute("SELECT count(*) FROM entries").fetchone()[0]
        except (OSError, sqlite3.Error) as error:
            raise SpoolError(f"{path} cannot be used: {error}. Restore it, or move it away.") from error

    def append(self, rows: Rows, unsure: bytes | None) -> None:
        """Store rows. `unsure`: the hash of the last link if the database has them already. Raises sqlite3.Error."""
        content = {name: getattr(rows, name) for name in PARTS}
        self._database.execute(
            "INSERT INTO entries (rows, unsure) VALUES (?, ?)", [msgspec.json.encode(content), unsure]
        )
        self.count += 1

    def first(self) -> tuple[int, bytes | None] | None:
        """Return the number of the oldest entry and the hash that it may have in the database, or None."""
        found = self._database.execute("SELECT number, unsure FROM entries ORDER BY number LIMIT 1").fetchone()
        return (found[0], found[1]) if found else None

    def oldest(self, last: int | None) -> tuple[int, Rows]:
        """Return the rows of the oldest entries as one, with the last one's number. `last`: no entry after this one."""
        entries = self._database.execute(
            "SELECT number, rows, unsure FROM entries WHERE number <= ? ORDER BY number LIMIT ?",
            [MAX_NUMBER if last is None else last, ENTRIES_AT_ONCE],
        )
        number, joined = 0, Rows()
        for place, (one, content, unsure) in enumerate(entries.fetchall()):
            if unsure is not None and place:
                break  # it may be in the database already
            number = one
            parts: dict[str, Any] = msgspec.json.decode(content)
            joined.intents += [completed(row, len(NAMES)) for row in parts["intents"]]
            joined.outcomes += [completed(row, len(OUTCOME_NAMES) + 2, 1) for row in parts["outcomes"]]
            joined.finals += [completed(row, len(NAMES)) for row in parts["finals"]]
            joined.attempts += [completed(row, len(ATTEMPT_NAMES)) for row in parts["attempts"]]
            joined.next_attempts += [
                [completed(row, len(ATTEMPT_NAMES)) for row in tried] for tried in parts["next_attempts"]
            ]
        return number, joined

    def last_number(self) -> int:
        """Return the number of the newest entry, or 0 if no entry waits."""
        found = self._database.execute("SELECT max(number) FROM entries").fetchone()[0]
        return int(found or 0)

    def remove(self, last: int) -> None:
        """Remove the entries up to this number."""
        self.count -= self._database.execute("DELETE FROM entries WHERE number <= ?", [last]).rowcount

    def close(self) -> None:
        """Close the file."""
        self._database.close()


PARTS = ("intents", "outcomes", "finals", "attempts", "next_attempts")


def completed(row: Sequence[EventValue], length: int, after: int = 0) -> AuditRow:
    """Return a row with the fields, all unknown, that an earlier Wirekey did not have. `after`: values behind them."""
    end = len(row) - after
    return (*row[:end], *(None,) * (length - len(row)), *row[end:])


class SpooledAudit:
    """The audit log in a database, with a spool in front of it for the time that the database is unreachable."""

    def __init__(self, database: PostgresAudit, spool: SpoolFile, name: str) -> None:
        self._database, self._spool, self._name = database, spool, name
        self._recover_after: int | None = spool.last_number()
        """Entries up to this number are of an earlier process. Its open calls are marked after they were moved."""
        self._pause = FIRST_PAUSE
        self._not_before = 0.0
        self._spooling = False
        self.is_shared = False  # rows go to a file of this machine if the database is unreachable
        self._refusal: str | None = None
        self.interrupted = 0
        self.idle_seconds: float | None = database.idle_seconds

    @property
    def place(self) -> str:
        """The name of the database for messages."""
        return self._database.place

    @property
    def trouble(self) -> str | None:
        """Why the database cannot be used at present, or None."""
        return self._refusal or self._database.trouble

    def recover(self, tags: tuple[str, ...] = ()) -> int:
        """Move what an earlier process left, and mark its open calls as interrupted. Return their number."""
        if refusal := self._database.reach(START_PATIENCE):
            self._fail(refusal, logging.WARNING)  # mitmproxy does not start after an error
            return 0
        while self._spool.count and self._move():
            pass
        self._recover_if_moved()
        return self.interrupted

    def write(self, rows: Rows) -> tuple[str | None, int]:
        """Store the rows in the database, or else in the spool. Returns as `PostgresAudit.write` does."""
        lost, unsure = 0, None
        if not self._spool.count and self._recover_after is None and time.monotonic() >= self._not_before:
            refusal, lost = self._database.write(rows)
            if refusal is None:
                return None, lost
            self._fail(refusal)
            unsure = self._database.take_unsure()
        if rows:
            try:
                self._spool.append(rows, unsure)
            except sqlite3.Error as error:
                return f"neither the audit database nor the spool can be written ({error})", lost
            rows.outcomes.clear()
            rows.finals.clear()
            rows.attempts.clear()
        return None, lost + self._move_some()

    def idle(self) -> None:
        """Move entries to the database. Called when nothing else is to be written."""
        self._move_some()
        self._database.idle()

    @property
    def is_busy(self) -> bool:
        """Whether entries wait, so that `idle` should be called soon."""
        return bool(self._spool.count) or self._recover_after is not None

    def close(self) -> None:
        """Move what can be moved now, and close both."""
        self._not_before = 0.0
        with contextlib.suppress(sqlite3.Error):
            if self.is_busy and self._database.reach(CLOSE_SECONDS / 2) is None:
                self._move_some(CLOSE_SECONDS)
            if self._spool.count:
                logger.warning("%s has records that the next start moves to the database.", self._spool.path)
        self._database.close()
        self._spool.close()

    def _move_some(self, seconds: float = MOVE_SECONDS) -> int:
        """Move entries for some seconds. Return the number of lost rows."""
        lost, until = 0, time.monotonic() + seconds
        while self.is_busy and self._not_before <= time.monotonic() < until:
            moved = self._move()
            if moved is None:
                break
            lost += moved - 1
        return lost

    def _move(self) -> int | None:
        """Move one entry. Return 1 and the number of lost rows added; None if the database cannot take it."""
        refusal = self._database.reach()
        if refusal is None:
            self._recover_if_moved()
            found = self._spool.first()
            if found is None:
                self._resume()
                return 1
            number, unsure = found
            lost = 0
            known = number <= self._database.moved or (unsure is not None and unsure == self._database.last_hash)
            if not known:
                number, rows = self._spool.oldest(self._recover_after)
                refusal, lost = self._database.write(rows, (self._name, number))
            if refusal is None:
                self._spool.remove(number)
                if not self._spool.count:
                    self._recover_if_moved()
                    self._resume()
                return 1 + lost
        self._fail(refusal)
        return None

    def _recover_if_moved(self) -> None:
        if self._recover_after is None or self._database.reach() is not None:
            return
        first = self._spool.first()
        if first is None or first[0] > self._recover_after:
            self._recover_after = None
            self.interrupted += self._database.recover()

    def _fail(self, refusal: str, level: int = logging.ERROR) -> None:
        if self._database.is_connecting:
            self._not_before = time.monotonic() + FIRST_PAUSE
        else:
            self._not_before = time.monotonic() + self._pause
            self._pause = min(self._pause * 2, LONGEST_PAUSE)
        self._refusal = refusal
        if not self._spooling:
            self._spooling = True
            text = "%s: %s. Calls are recorded in %s until it can be written."
            logger.log(level, text, self.place, refusal, self._spool.path)

    def _resume(self) -> None:
        self._pause, self._refusal = FIRST_PAUSE, None
        if self._spooling:
            self._spooling = False
            logger.warning("%s can be written again. All records of the spool were moved.", self.place)
