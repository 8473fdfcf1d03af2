"""The audit file as its writer sees it. For one thread; rows are written in whole transactions.

Each transaction continues the hash chain (`chain.py`) from the last link in the file, so that the processes that share
a file share its chain.
"""

from __future__ import annotations

import logging
import sqlite3
import time
import uuid
from contextlib import nullcontext
from typing import TYPE_CHECKING

from wirekey.core.audit import checkpoints, schema
from wirekey.core.audit.chain import FIRST, LastLink, links_of
from wirekey.core.audit.checkpoints import Checkpoint
from wirekey.core.audit.event import OUTCOME_NAMES, rfc3339
from wirekey.core.audit.reading import event_from
from wirekey.core.audit.rows import Rows
from wirekey.core.audit.writer_turn import WriterTurn

if TYPE_CHECKING:
    from pathlib import Path

    from wirekey.core.audit.checkpoints import CheckpointKey, Reason

logger = logging.getLogger(__name__)

LINKS_BETWEEN_CHECKPOINTS = 20_000
"""About 10,000 calls."""


class AuditFile:
    """The audit file, open for writing. `patience`: seconds to wait for a lock of another process.

    `key`: signs checkpoints; None: none are made. `also_to`: a file to which each checkpoint is added.
    Raises AuditFileError, and CheckpointsError if that file cannot be written.
    """

    idle_seconds: float | None = None
    is_busy = False
    is_shared = False
    trouble: str | None = None

    def __init__(
        self,
        path: Path,
        durability: str,
        patience: float,
        key: CheckpointKey | None = None,
        also_to: Path | None = None,
        *,
        shared: bool = False,
    ) -> None:
        self.path = path
        if also_to:
            checkpoints.check_writable(also_to)
        self.database = schema.open_for_writing(path, durability, patience)
        self._identity = self._identify()
        self._turn = WriterTurn(path.with_name(f"{path.name}.lock")) if shared else None
        self._key = key
        self._also_to = also_to
        self._checked: int | None = None
        """The number of the last link at the last checkpoint."""
        try:
            self._begin_chain()
        except sqlite3.Error as error:
            self.database.close()
            raise schema.unusable(path, error) from error

    def idle(self) -> None:
        """Nothing is due without rows."""

    def recover(self, tags: tuple[str, ...] = ("",)) -> int:
        """Mark the calls that were in progress when a previous process died as interrupted, and return their number.

        `tags`: only calls whose ids end with one of them. The others may be in progress in another process. Raises
        AuditFileError.
        """
        try:
            return self._interrupt(tags)
        except sqlite3.Error as error:
            raise schema.unusable(self.path, error) from error

    def _interrupt(self, tags: tuple[str, ...]) -> int:
        rows = Rows()
        for found in self.database.execute(schema.IN_PROGRESS).fetchall():
            event = event_from(found) | {"outcome": "interrupted"}
            if str(event["id"]).endswith(tags):
                rows.outcomes.append((event["model"], *(event[name] for name in OUTCOME_NAMES), event["id"]))
        if not rows.outcomes:
            return 0
        self.database.execute("BEGIN IMMEDIATE")
        for row in rows.outcomes:
            self.database.execute(schema.INTERRUPT_ATTEMPTS, [row[-1]])
            rows.attempts += self.database.execute(schema.ATTEMPTS_OF, [row[-1]])
        self._add(rows)
        self.database.execute("COMMIT")
        return len(rows.outcomes)

    def close(self) -> None:
        """Sign a last checkpoint and close the file."""
        try:
            self.checkpoint("stop")
        except (sqlite3.Error, OSError):
            logger.exception("the last checkpoint could not be stored")
        self.database.close()
        if self._turn:
            self._turn.close()

    def write(self, rows: Rows) -> tuple[str | None, int]:
        """Commit the rows. Outcomes and finals that are settled are removed from them.

        Returns the reason of a failure, or None, and the number of rows lost because no database accepts them.
        """
        try:
            if self._identify() != self._identity:
                return "the audit file was moved or replaced; restore it or restart Wirekey", 0
            with self._turn or nullcontext():
                self._commit(rows)
        except (sqlite3.OperationalError, OSError) as error:
            self._roll_back()
            return schema.reason_of(error), 0
        except Exception as error:
            self._roll_back()
            lost = 0 if type(error) is sqlite3.DatabaseError else self._write_singly(rows)
            return schema.reason_of(error), lost
        rows.outcomes.clear()
        rows.finals.clear()
        rows.attempts.clear()
        return None, 0

    def checkpoint(self, reason: Reason) -> Checkpoint | None:
        """Sign and store a checkpoint of the last link, unless there is one already. Raises sqlite3.Error, OSError."""
        if self._key is None:
            return None
        chain, seq, last = self.database.execute(schema.READ_HEAD).fetchone()
        if seq == self._checked:
            return None
        found = Checkpoint(chain=chain, seq=seq, hash=last.hex(), time=rfc3339(time.time()), reason=reason)
        self._store(found)
        return found

    def _store(self, checkpoint: Checkpoint) -> None:
        assert self._key
        signed = self._key.signed(checkpoint)
        self.database.execute(schema.CHECKPOINT, [signed.seq, signed.document()])
        self._checked = signed.seq
        checkpoints.log(signed)
        if self._also_to:
            checkpoints.append(self._also_to, signed)

    def _begin_chain(self) -> None:
        if self.database.execute(schema.READ_HEAD).fetchone():
            return
        self.database.execute("BEGIN IMMEDIATE")
        if self.database.execute(schema.READ_HEAD).fetchone() is None:
            chain = uuid.uuid4().hex
            before, last = self.database.execute("SELECT count(*), max(id) FROM calls").fetchone()
            self.database.execute(schema.BEGIN_CHAIN, [chain, FIRST])
            if self._key:
                first = Checkpoint(
                    chain=chain,
                    seq=0,
                    hash=FIRST.hex(),
                    time=rfc3339(time.time()),
                    reason="begin",
                    first_id=f"{last}~" if last else None,
                    before=before,
                )
                self._store(first)
        self.database.execute("COMMIT")

    def _commit(self, rows: Rows) -> None:
        self.database.execute("BEGIN IMMEDIATE")
        if rows.trial:
            self.database.execute(schema.TRIAL)
        seq = self._add(rows)
        self.database.execute("COMMIT")
        if self._key and seq:
            self._checked = seq if self._checked is None else self._checked
            if seq - self._checked >= LINKS_BETWEEN_CHECKPOINTS:
                self._checkpoint_between()

    def _checkpoint_between(self) -> None:
        try:
            self.checkpoint("interval")
        except (sqlite3.Error, OSError) as error:
            logger.error("A checkpoint of the audit could not be stored: %s", error)  # noqa: TRY400  # the message is enough

    def _add(self, rows: Rows) -> int:
        """Write the rows and their links within the open transaction. Return the number of the last link."""
        # In this order, because a call that was abandoned while its intent was being written also has a final.
        for statement, given in (
            (schema.INSERT, rows.intents),
            (schema.ATTEMPT, [row for attempts in rows.next_attempts for row in attempts]),
        ):
            if given:
                self.database.executemany(statement, given)
        if rows.outcomes:
            changed = self.database.executemany(schema.UPDATE, map(schema.of_update, rows.outcomes)).rowcount
            if changed != len(rows.outcomes):
                raise MissingRowError
        for statement, given in ((schema.REPLACE, rows.finals), (schema.ATTEMPT, rows.attempts)):
            if given:
                self.database.executemany(statement, given)
        if not (rows.intents or rows.outcomes or rows.finals):
            return 0
        _, seq, last = self.database.execute(schema.READ_HEAD).fetchone()
        links, head = links_of(rows, LastLink(seq, last))
        self.database.executemany(schema.LINK, links)
        self.database.execute(schema.SET_HEAD, [head.seq, head.hash])
        return head.seq

    def _write_singly(self, rows: Rows) -> int:
        """Write the rows one by one and skip those that cannot be stored, so that they do not block the others.

        Return their number.
        """
        lost = 0
        attempts = {row[-1]: [one for one in rows.attempts if one[0] == row[-1]] for row in rows.outcomes}
        single = [Rows(outcomes=[row], attempts=attempts[row[-1]]) for row in rows.outcomes]
        single += [Rows(finals=[row]) for row in rows.finals]
        for one in single:
            try:
                self.database.execute("BEGIN IMMEDIATE")
                self._add(one)
                self.database.execute("COMMIT")
            except Exception as error:
                self._roll_back()
                lost += 1
                logger.debug("a row cannot be stored: %s", schema.reason_of(error))
        rows.outcomes.clear()
        rows.finals.clear()
        rows.attempts.clear()
        return lost

    def _roll_back(self) -> None:
        try:
            if self.database.in_transaction:
                self.database.execute("ROLLBACK")
        except sqlite3.Error:
            logger.exception("rolling back %s failed", self.path)

    def _identify(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino


class MissingRowError(Exception):
    """The row of a call that has ended is not in the file: somebody removed it."""
