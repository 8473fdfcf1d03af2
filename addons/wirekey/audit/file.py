"""The audit file as its one writer, of one thread, has it open: rows go in by whole transactions."""

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
    """What is to be written: how calls begin, how those end, and calls that end before they began."""

    intents: list[AuditRow] = field(default_factory=list)
    outcomes: list[AuditRow] = field(default_factory=list)
    finals: list[AuditRow] = field(default_factory=list)
    attempts: list[AuditRow] = field(default_factory=list)
    """Of calls that were sent more than once; come with their outcomes, and are not counted."""
    next_attempts: list[list[AuditRow]] = field(default_factory=list)
    """Of calls that are about to be sent once more: all attempts of one call so far, and the coming one."""
    trial: bool = False
    """Whether something is to be written even where there is nothing, to see whether it can be."""

    def __bool__(self) -> bool:
        return bool(self.intents or self.next_attempts or self.outcomes or self.finals)

    @property
    def ends(self) -> int:
        return len(self.outcomes) + len(self.finals)


class AuditFile:
    """Open for writing. `patience`: seconds to wait for another process that holds it. Raises AuditFileError."""

    def __init__(self, path: Path, durability: str, patience: float) -> None:
        self.path = path
        self.database = schema.open_for_writing(path, durability, patience)
        self._identity = self._identify()

    def recover(self) -> int:
        """Mark the calls that were under way when a former process died as interrupted, and say how many."""
        self.database.execute(schema.INTERRUPT_ATTEMPTS)
        return self.database.execute(schema.INTERRUPT).rowcount

    def close(self) -> None:
        self.database.close()

    def write(self, rows: Rows) -> tuple[str | None, int]:
        """Commit the rows; outcomes and finals that are settled leave them; the caller answers what is waited for.

        Gives the reason of a failure, and how many rows were lost, as no database takes them.
        """
        try:
            if self._identify() != self._identity:
                return "the audit file was moved or replaced under way; put it back, or start Wirekey anew", 0
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
        # In this order: a call that was given up while its intent was on the way has a final besides.
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
        """Write around a row that cannot be stored, so that it does not hold up the others for ever; count such."""
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
