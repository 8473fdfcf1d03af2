"""Returns recorded calls as they end, while writers run. Each call that ends adds a link to its writer's chain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.audit.reading import COLUMNS, event_from

if TYPE_CHECKING:
    from wirekey.core.audit.audit_log import AuditReader
    from wirekey.core.audit.event import AuditEvent
    from wirekey.core.audit.filters import Filters


class EventFollower:
    """Returns calls as they end: first the last `before` ended ones, then those that ended since the previous look."""

    def __init__(self, database: AuditReader, filters: Filters, before: int = 0) -> None:
        self._database = database
        where, self._values = filters.where(database.dialect)
        self._where = f"{where} AND" if where else "WHERE"
        database.execute("BEGIN")
        self._seen = self._heads()
        rows = database.execute(
            f"SELECT {COLUMNS} FROM calls {self._where} outcome IS NOT NULL ORDER BY id DESC LIMIT ?",  # noqa: S608  # values are bound
            [*self._values, before],
        ).fetchall()
        database.execute("COMMIT")
        self._ended = [event_from(row) for row in rows][::-1]

    def look(self) -> list[AuditEvent]:
        """Return the calls that ended since the last look, in the order of their start."""
        found, self._ended = self._ended, []
        database = self._database
        statement = (
            f"SELECT {COLUMNS} FROM calls {self._where} id IN"  # noqa: S608  # values are bound
            f" (SELECT id FROM chain WHERE {database.writer} = ? AND seq > ? AND seq <= ? AND kind <> 'intent')"
        )
        database.execute("BEGIN")
        heads = self._heads()
        for writer, seq in heads.items():
            after = self._seen.get(writer, 0)
            if seq > after:
                found += map(event_from, database.execute(statement, [*self._values, writer, after, seq]))
        database.execute("COMMIT")
        self._seen = heads
        return sorted(found, key=lambda event: str(event["id"]))

    def _heads(self) -> dict[int, int]:
        return dict(self._database.execute(f"SELECT {self._database.writer}, seq FROM chain_head"))  # noqa: S608  # of our own names
