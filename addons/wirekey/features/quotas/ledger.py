"""The totals of budgets, kept in SQLite so that they survive a restart. A thread writes them.

Each row is the total of one budget in one period. The processes of a machine share the file: a write adds to what is
there. The cost of a call is on the disk 50 ms after its end. So a process that is killed loses no more than that and
the reservations of open calls.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import queue
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from wirekey.core.errors import UserError
from wirekey.core.shared_state import SeenTotal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

logger = logging.getLogger(__name__)

FILE = "quotas.db"
GATHERING = 0.05
"""Seconds during which amounts are gathered for one transaction."""
RETRY = 0.5
"""Seconds after which a failed write is tried again."""
PATIENCE = 5.0
"""Seconds to wait for another process that writes."""
KEPT = 7 * 86400.0
"""Seconds for which a total is kept after the end of its period, for calls that began in it."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS spent (key TEXT PRIMARY KEY, amount INTEGER NOT NULL, ends REAL NOT NULL);
CREATE TABLE IF NOT EXISTS identity (id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS opened (at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS seen (
    key TEXT PRIMARY KEY, amount INTEGER NOT NULL, epoch TEXT NOT NULL, ends REAL NOT NULL
);
"""
ADD = "INSERT INTO spent VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET amount = amount + excluded.amount"
SEE = "INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?)"


class LedgerError(UserError):
    """The file of the budgets cannot be used. The message names the file and the fix."""


class Spent(NamedTuple):
    """The total of a budget, in billionths of a dollar, and when its period ends, in Unix seconds."""

    amount: int
    ends: float


class Change(NamedTuple):
    """An amount that is added to a total, and when its period ends."""

    key: str
    amount: int
    ends: float


class Ledger:
    """The totals of the budgets of one state folder. For one event loop; a thread writes.

    `clock` is in Unix seconds, `monotonic` in seconds that never jump. A total is removed only if both say that its
    period has ended: a clock that was set forward and back would renew the budget.
    """

    def __init__(
        self, path: Path, clock: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Open the file, or make it. Raises LedgerError."""
        self.path = path
        self._clock = clock
        self._monotonic = monotonic
        self._offset = clock() - monotonic()
        self._totals: dict[str, Spent] = {}
        """The totals when the file was opened, and what this process has added since."""
        self._changes: queue.SimpleQueue[Change | dict[str, tuple[int, str, float]] | None] = queue.SimpleQueue()
        self._unwritten: dict[str, Spent] = {}
        self._unwritten_seen: dict[str, tuple[int, str, float]] = {}
        self._failed = False
        try:
            self._database = opened(path)
            self._database.executescript(SCHEMA)
            self.id = identity_of(self._database)
            """Identifies the state folder among those that share budgets."""
            self._prune()
            self._totals.update(rows_of(self._database))
            self.seen = seen_in(self._database, self._clock(), self._monotonic())
            """The totals of all machines that were last seen in the shared state, when the file was opened."""
        except (sqlite3.Error, OSError) as error:
            raise unusable(path, error) from error
        self._thread = threading.Thread(target=self._run, name="wirekey-quotas", daemon=True)
        self._thread.start()

    def spent(self, key: str) -> int:
        """Return what was spent of a budget when the file was opened, and by this process since."""
        found = self._totals.get(key)
        return found.amount if found else 0

    @property
    def totals(self) -> Mapping[str, Spent]:
        """The totals when the file was opened, and what this process has added since, by key."""
        return self._totals

    def read(self, key: str) -> int:
        """Return what all processes of the machine have spent of a budget. Blocks: run it in a thread."""
        with contextlib.closing(opened(self.path)) as database:
            found = database.execute("SELECT amount FROM spent WHERE key = ?", (key,)).fetchone()
        return (found[0] if found else 0) + self._unwritten.get(key, Spent(0, 0.0)).amount

    def read_all(self) -> dict[str, Spent]:
        """Return what all processes of the machine have written. Blocks: run it in a thread."""
        with contextlib.closing(opened(self.path)) as database:
            return rows_of(database)

    def now(self) -> float:
        """Return the time in Unix seconds."""
        return self._clock()

    def note_seen(self, keys: Iterable[str], seen: Mapping[str, SeenTotal]) -> None:
        """Keep totals of all machines, as the shared state has returned them, to restore them if it loses them."""
        offset = self._clock() - self._monotonic()
        found = {key: (seen[key].amount, seen[key].epoch, seen[key].expires + offset) for key in keys if key in seen}
        if found:
            self._changes.put(found)

    def add(self, key: str, amount: int, ends: float) -> None:
        """Add to a total. `ends`: when its period ends, in Unix seconds. It is written later, by the thread."""
        if not amount:
            return
        self._totals[key] = Spent(self.spent(key) + amount, ends)
        self._changes.put(Change(key, amount, ends))

    def forget_ended(self) -> None:
        """Release the totals of periods that have ended."""
        now = min(self._clock(), self._monotonic() + self._offset)
        self._totals = {key: total for key, total in self._totals.items() if total.ends + KEPT > now}

    def close(self) -> None:
        """Write what is left, and close the file. Blocks for at most `PATIENCE` seconds."""
        self._changes.put(None)
        self._thread.join(PATIENCE)

    # In the thread.

    def _run(self) -> None:
        closing = False
        while not closing:
            closing = self._gather(RETRY if self._unwritten or self._unwritten_seen else None)
            self._write()
        self._database.close()

    def _gather(self, patience: float | None) -> bool:
        """Wait for a change and sum up those of the next moment. Return whether the ledger is being closed."""
        try:
            change = self._changes.get(timeout=patience)
            deadline = time.monotonic() + GATHERING
            while change is not None:
                if isinstance(change, dict):
                    self._unwritten_seen |= change
                else:
                    before = self._unwritten.get(change.key)
                    self._unwritten[change.key] = Spent(change.amount + (before.amount if before else 0), change.ends)
                change = self._changes.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            return False
        return True

    def _write(self) -> None:
        rows = [(key, total.amount, total.ends) for key, total in self._unwritten.items()]
        seen = [(key, *total) for key, total in self._unwritten_seen.items()]
        if not (rows or seen):
            return
        try:
            with transaction(self._database):
                self._database.executemany(ADD, rows)
                self._database.executemany(SEE, seen)
        except sqlite3.Error as error:
            if not self._failed:
                logger.error("%s: what is spent cannot be written: %s. It is tried again.", self.path, error)  # noqa: TRY400  # no traceback
            self._failed = True
            return
        if self._failed:
            logger.warning("%s can be written again.", self.path)
        self._failed = False
        self._unwritten.clear()
        self._unwritten_seen.clear()

    def _prune(self) -> None:
        """Remove totals that had ended already when the file was opened before: the clock may be wrong this time."""
        now = self._clock()
        with transaction(self._database):
            (before,) = self._database.execute("SELECT max(at) FROM opened").fetchone()
            if before is not None:
                for table in ("spent", "seen"):
                    self._database.execute(f"DELETE FROM {table} WHERE ends < ?", (min(now, before) - KEPT,))  # noqa: S608  # fixed names
            self._database.execute("DELETE FROM opened")
            self._database.execute("INSERT INTO opened VALUES (?)", (now,))


def opened(path: Path) -> sqlite3.Connection:
    """Open the file, or make it, for its owner only. Raises sqlite3.Error and OSError."""
    make_private(path)
    database = sqlite3.connect(str(path), timeout=PATIENCE, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    return database


def make_private(path: Path) -> None:
    """Make the file, unless it is there. Raises OSError, also for a symbolic link.

    A file that is there is not opened: closing it would end the locks that SQLite has on it in this process. Another
    process, such as `wirekey usage`, would then take itself for the last one, and remove the log that this one writes.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    if path.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


def totals_in(path: Path) -> dict[str, Spent]:
    """Return all totals of a file, by key. Empty if there is no file. Raises LedgerError."""
    if not path.exists():
        return {}
    try:
        with contextlib.closing(opened(path)) as database:
            return rows_of(database)
    except (sqlite3.Error, OSError) as error:
        raise unusable(path, error) from error


def identity_of(database: sqlite3.Connection) -> str:
    """Return the identity of a ledger. Its first process sets it."""
    with transaction(database):
        found: tuple[str] | None = database.execute("SELECT id FROM identity").fetchone()
        if found is None:
            found = (os.urandom(8).hex(),)
            database.execute("INSERT INTO identity VALUES (?)", found)
    return found[0]


def rows_of(database: sqlite3.Connection) -> dict[str, Spent]:
    """Return all totals, by key."""
    return {key: Spent(amount, ends) for key, amount, ends in database.execute("SELECT key, amount, ends FROM spent")}


def seen_in(database: sqlite3.Connection, now: float, monotonic: float) -> dict[str, SeenTotal]:
    """Return the totals that were seen last. `now` and `monotonic`: the time in Unix seconds and in those of a run."""
    rows = database.execute("SELECT key, amount, epoch, ends FROM seen")
    return {key: SeenTotal(amount, epoch, ends - now + monotonic, {}) for key, amount, epoch, ends in rows}


def unusable(path: Path, error: Exception) -> LedgerError:
    """Return the error for a file that cannot be used."""
    return LedgerError(
        f"The file of the budgets {path} cannot be used: {error}. Restore a copy, or move it away to start with "
        "nothing spent."
    )


@contextlib.contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Run a block in one transaction, which takes the lock of the writer at once."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")
