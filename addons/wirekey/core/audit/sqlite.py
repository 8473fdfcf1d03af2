"""The audit log in an SQLite file."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wirekey.core.audit import pruning, schema
from wirekey.core.audit.chain import LastLink
from wirekey.core.audit.delivery_file import DeliveryFile
from wirekey.core.audit.file import AuditFile
from wirekey.core.audit.filters import Dialect
from wirekey.core.audit.sqlite_sums import FileSums
from wirekey.core.audit.stored_chain import StoredChain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from wirekey.core.audit.audit_log import AuditReader, AuditWriter
    from wirekey.core.audit.chain import ChainSource
    from wirekey.core.audit.checkpoints import CheckpointKey
    from wirekey.core.audit.filters import Filters
    from wirekey.core.audit.sums import GroupBy

BOUND = 5.0
"""Seconds of wall time, of which writing takes milliseconds: on a busy machine the writer waits for the processor."""
PATIENCE_SHARE = 0.8
"""Share of the bound for which the writer waits for a lock of another process."""


@dataclass(frozen=True, slots=True)
class SqliteAudit:
    """The audit log in the file `path`.

    `durability`: `commit` (committed rows survive the death of the process) or `fsync` (and the loss of power).
    `checkpoints_to`: a file to which each checkpoint is added.
    """

    path: Path
    durability: str = "commit"
    checkpoints_to: Path | None = None
    bound: float = BOUND

    @property
    def is_file(self) -> bool:
        """True."""
        return True

    @property
    def place(self) -> str:
        """The path."""
        return str(self.path)

    def exists(self) -> bool:
        """Return whether the file exists."""
        return self.path.exists()

    @contextlib.contextmanager
    def reading(self) -> Iterator[AuditReader]:
        """Open the file for reading, and close it at the end. Raises AuditFileError."""
        with sqlite_errors(), contextlib.closing(schema.open_for_reading(self.path)) as connection:
            yield SqliteReader(connection)

    def open_writer(self, key: CheckpointKey | None = None, *, alone: bool = True) -> AuditWriter:
        """Open the file for writing. Raises AuditFileError, CheckpointsError."""
        patience = self.bound * PATIENCE_SHARE
        return AuditFile(self.path, self.durability, patience, key, self.checkpoints_to, shared=not alone)

    def delivery_state(self) -> DeliveryFile:
        """Return the file of the delivery, `audit.db.delivery`."""
        return DeliveryFile(self.path.with_name(f"{self.path.name}.delivery"))

    def prune(self, moment: float, key: CheckpointKey, on_progress: Callable[[int], None] = lambda _: None) -> int:
        """Delete the events of calls that started before `moment` and have ended. Raises AuditFileError, OSError."""
        with sqlite_errors():
            return pruning.prune(self.path, moment, key, self.checkpoints_to, on_progress)


class SqliteReader:
    """An audit file that is open for reading. It has one chain."""

    dialect = Dialect("GLOB", lambda pattern: pattern, schema.LABEL)
    writer = "0"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Return the rows of a statement."""
        return self._connection.execute(statement, values)

    def has_attempts(self) -> bool:
        """Return whether there is a table of attempts."""
        return self._has_table("attempts")

    def _has_table(self, name: str) -> bool:
        return self.execute("SELECT 1 FROM sqlite_master WHERE name = ?", [name]).fetchone() is not None

    def sums(self, filters: Filters, starts: range, by: GroupBy | None) -> FileSums:  # as for others
        """Return the sums over some calls."""
        return FileSums(self, filters, starts)

    def chains(self) -> list[ChainSource]:
        """Return the chain of the file, in a transaction. Raises AuditFileError."""
        if not self._has_table("chain_head"):
            raise schema.AuditFileError("The audit file has no hash chain yet. Wirekey adds one when it next starts.")
        self.execute("BEGIN")
        # Without the row of the last link, which somebody may have removed, the links have no valid end.
        chain, seq, last = self.execute(schema.READ_HEAD).fetchone() or ("", 0, bytes(32))
        return [StoredChain(self, 0, chain, LastLink(seq, last), self._checkpoints)]

    def _checkpoints(self, _: str) -> list[tuple[int, str]]:
        return self.execute("SELECT seq, document FROM checkpoints ORDER BY rowid").fetchall()

    def without_writer(self) -> list[str]:
        """Return no call, as all calls belong to the one chain."""
        return []


@contextlib.contextmanager
def sqlite_errors() -> Iterator[None]:
    """Turn an error of SQLite into an AuditFileError."""
    try:
        yield
    except sqlite3.Error as error:
        raise schema.AuditFileError(f"the audit file cannot be read: {error}") from error
