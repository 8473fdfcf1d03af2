"""Returns recorded calls as they end, while the writer runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from wirekey.core.audit.audit_log import is_postgres
from wirekey.core.audit.reading import COLUMNS, event_from

if TYPE_CHECKING:
    import sqlite3

    from wirekey.core.audit.audit_log import AuditConnection, PostgresReader
    from wirekey.core.audit.reading import AuditEvent, Filters

ROWS_AT_ONCE = 500


class EventFollower(Protocol):
    """Returns calls as they end."""

    def look(self) -> list[AuditEvent]:
        """Return the calls that ended since the last look, in the order of their start."""


def follow(database: AuditConnection, filters: Filters, before: int = 0) -> EventFollower:
    """Return a follower whose first look has the last `before` ended calls."""
    if is_postgres(database):
        return DatabaseFollower(database, filters, before)
    return FileFollower(database, filters, before)


class FileFollower:
    """Returns calls as they end: first the last `before` ended ones, then those that ended since the previous look."""

    def __init__(self, database: sqlite3.Connection, filters: Filters, before: int = 0) -> None:
        self._database = database
        self._filters = filters
        database.execute("BEGIN")
        self._seen = database.execute("SELECT coalesce(max(rowid), 0) FROM calls").fetchone()[0]
        self._under_way = self._all_under_way()
        where, values = filters.where()
        where = f"{where} AND" if where else "WHERE"
        rows = database.execute(
            f"SELECT {COLUMNS} FROM calls {where} outcome IS NOT NULL ORDER BY id DESC LIMIT ?",  # noqa: S608  # values are bound
            [*values, before],
        ).fetchall()
        database.execute("COMMIT")
        self._ended = [event_from(row) for row in rows][::-1]

    def look(self) -> list[AuditEvent]:
        """Return the calls that ended since the last look, in the order of their start."""
        found, self._ended = self._ended, []
        self._database.execute("BEGIN")
        last = self._database.execute("SELECT coalesce(max(rowid), 0) FROM calls").fetchone()[0]
        under_way = self._all_under_way()
        ended = [*range(self._seen + 1, last + 1), *self._under_way]
        ended = [row for row in ended if row not in under_way]
        for start in range(0, len(ended), ROWS_AT_ONCE):
            found += self._events(ended[start : start + ROWS_AT_ONCE])
        self._database.execute("COMMIT")
        self._seen, self._under_way = last, under_way
        return sorted(found, key=lambda event: str(event["id"]))

    def _all_under_way(self) -> set[int]:
        return {row for (row,) in self._database.execute("SELECT rowid FROM calls WHERE outcome IS NULL")}

    def _events(self, rows: list[int]) -> list[AuditEvent]:
        where, values = self._filters.where()
        where = f"{where} AND" if where else "WHERE"
        places = ", ".join("?" * len(rows))
        statement = f"SELECT {COLUMNS} FROM calls {where} rowid IN ({places})"  # noqa: S608  # values are bound
        return [event_from(row) for row in self._database.execute(statement, [*values, *rows])]


class DatabaseFollower:
    """Follows the links of all chains in a PostgreSQL database: each call that ends adds one."""

    def __init__(self, database: PostgresReader, filters: Filters, before: int = 0) -> None:
        self._database = database
        self._filters = filters
        self._seen: dict[int, int] = dict(database.execute("SELECT writer, seq FROM chain_head"))
        where, values = filters.where(postgres=True)
        where = f"{where} AND" if where else "WHERE"
        rows = database.execute(
            f"SELECT {COLUMNS} FROM calls {where} outcome IS NOT NULL ORDER BY id DESC LIMIT ?",  # noqa: S608  # values are bound
            [*values, before],
        ).fetchall()
        self._database.execute("COMMIT")
        self._ended = [event_from(row) for row in rows][::-1]

    def look(self) -> list[AuditEvent]:
        """Return the calls that ended since the last look, in the order of their start."""
        found, self._ended = self._ended, []
        where, values = self._filters.where(postgres=True)
        where = f"{where} AND" if where else "WHERE"
        heads = self._database.execute("SELECT writer, seq FROM chain_head").fetchall()
        for writer, seq in heads:
            after = self._seen.get(writer, 0)
            if seq > after:
                statement = (
                    f"SELECT {COLUMNS} FROM calls {where} id IN"  # noqa: S608  # values are bound
                    " (SELECT id FROM chain WHERE writer = ? AND seq > ? AND seq <= ? AND kind <> 'intent')"
                )
                found += [event_from(row) for row in self._database.execute(statement, [*values, writer, after, seq])]
        self._database.execute("COMMIT")
        self._seen = dict(heads)
        return sorted(found, key=lambda event: str(event["id"]))
