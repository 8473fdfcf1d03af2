"""The audit file as its only writer sees it. For one thread; rows are written in whole transactions."""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wirekey.audit import schema

if TYPE_CHECKING:
    from pathlib import Path

    from wirekey.audit.event import EventValue

logger = logging.getLogger(__name__)

type AuditRow = tuple[EventValue, ...]


@dataclass(slots=True)
class Rows:
    """The rows of one transaction: intents (starts of calls), outcomes, and finals (calls without an intent)."""

    intents: list[AuditRow] = field(default_factory=list)
    outcomes: list[AuditRow] = field(default_factory=list)
    finals: list[AuditRow] = field(default_factory=list)
    attempts: list[AuditRow] = field(default_factory=list)
    """Rows of calls with several attempts. They accompany the outcomes and are not counted."""
    next_attempts: list[list[AuditRow]] = field(default_factory=list)
    """For each call that is about to be retried: the rows of all its attempts, including the next."""
    trial: bool = False
    """Whether to write even without rows, to test whether the file is writable."""

    def __bool__(self) -> bool:
        return bool(self.intents or self.next_attempts or self.outcomes or self.finals)

    @property
    def ends(self) -> int:
        """The number of calls that end with these rows."""
        return len(self.outcomes) + len(self.finals)


class AuditFile:
    """The audit file, open for writing. `patience`: seconds to wait for a lock of another process.

    Raises AuditFileError.
    """

    def __init__(self, path: Path, durability: str, patience: float) -> None:
        self.path = path
        self.database = schema.open_for_writing(path, durability, patience)
        self._identity = self._identify()

    def recover(self) -> int:
        """Mark the calls that were in progress when a previous process died as interrupted, and return their number."""
        self.database.execute(schema.INTERRUPT_ATTEMPTS)
        return self.database.execute(schema.INTERRUPT).rowcount

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    def write(self, rows: Rows) -> tuple[str | None, int]:
        """Commit the rows. Outcomes and finals that are settled are removed from them.

        Returns the reason of a failure, or None, and the number of rows lost because no database accepts them.
        """
        try:
            if self._identify() != self._identity:
                return "the audit file was moved or replaced; restore it or restart Wirekey", 0
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

    def _commit(self, rows: Rows) -> None:
        self.database.execute("BEGIN IMMEDIATE")
        if rows.trial:
            self.database.execute(schema.TRIAL)
        # In this order, because a call that was abandoned while its intent was being written also has a final.
        for statement, given in (
            (schema.INSERT, rows.intents),
            (schema.ATTEMPT, [row for attempts in rows.next_attempts for row in attempts]),
            (schema.UPDATE, rows.outcomes),
            (schema.REPLACE, rows.finals),
            (schema.ATTEMPT, rows.attempts),
        ):
            if given:
                self.database.executemany(statement, given)
        self.database.execute("COMMIT")

    def _write_singly(self, rows: Rows) -> int:
        """Write the rows one by one and skip those that cannot be stored, so that they do not block the others.

        Return their number.
        """
        lost = 0
        for statement, given, counted in (
            (schema.UPDATE, rows.outcomes, 1),
            (schema.REPLACE, rows.finals, 1),
            (schema.ATTEMPT, rows.attempts, 0),
        ):
            for row in given:
                try:
                    self.database.execute(statement, row)
                except Exception as error:
                    lost += counted
                    logger.debug("a row cannot be stored: %s", schema.reason_of(error))
            given.clear()
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
