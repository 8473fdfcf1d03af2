"""The audit log in PostgreSQL, as the configuration names it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.features.postgresql import pruning, reading
from wirekey.features.postgresql.connection import place_of
from wirekey.features.postgresql.delivery import PostgresDelivery
from wirekey.features.postgresql.spool import SpooledAudit, SpoolFile, WriterName
from wirekey.features.postgresql.writer import PostgresAudit

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from wirekey.core.audit.audit_log import AuditReader, AuditWriter
    from wirekey.core.audit.checkpoints import CheckpointKey
    from wirekey.core.secret import Secret

LIMIT_SHARE = 0.6
"""Share of the bound that one step may take, so that a failure is reported, or spooled, before it has passed."""
SPOOL_PATIENCE = 0.05


@dataclass(frozen=True, slots=True)
class PostgresDatabase:
    """The audit log in the database of a URL.

    `state`: the folder with the writer's name, and with its spool if it `spools`. `checkpoints_to`: a file to which
    each checkpoint is added.
    """

    url: Secret
    state: Path
    bound: float = 1.0
    durability: str = "commit"
    spools: bool = False
    checkpoints_to: Path | None = None

    @property
    def is_file(self) -> bool:
        """False."""
        return False

    @property
    def place(self) -> str:
        """The server and the database. Raises AuditDatabaseError if the URL is not valid."""
        return place_of(self.url)

    def exists(self) -> bool:
        """Return True. Whether it does is known when it is opened."""
        return True

    def reading(self) -> AbstractContextManager[AuditReader]:
        """Connect to read at one moment, and close the connection at the end. Raises AuditDatabaseError."""
        return reading.reading(self.url)

    def open_writer(self, key: CheckpointKey | None = None, *, alone: bool = True) -> AuditWriter:
        """Connect, unless the server is unreachable, and create or update the tables. Raises AuditDatabaseError."""
        writer = WriterName(self.state)
        database = PostgresAudit(
            self.url,
            writer.name,
            durability=self.durability,
            limit=self.bound * LIMIT_SHARE,
            key=key,
            also_to=self.checkpoints_to,
        )
        if not self.spools:
            database.open()
            return database
        database.connect_patience = SPOOL_PATIENCE
        return SpooledAudit(database, SpoolFile(writer.spool), writer.name)

    def delivery_state(self) -> PostgresDelivery:
        """Return the table of the delivery. Nothing is connected yet."""
        return PostgresDelivery(self.url)

    def prune(self, moment: float, key: CheckpointKey, on_progress: Callable[[int], None] = lambda _: None) -> int:
        """Delete the events of calls that started before `moment`. Raises AuditDatabaseError, OSError."""
        return pruning.prune(self.url, moment, key, self.checkpoints_to, on_progress)
