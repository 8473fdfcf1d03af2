"""Opens the audit log for reading, in a file or in a PostgreSQL database.

Statements are written for SQLite. `PostgresReader` accepts the same ones, with `?` for values. The differences are
chosen with `is_postgres`.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from wirekey.core.audit.schema import open_for_reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg
    from typing_extensions import TypeIs

    from wirekey.core.secret import Secret

type AuditAddress = Path | Secret
"""An audit file, or the URL of a PostgreSQL database."""
type AuditConnection = sqlite3.Connection | PostgresReader

ROWS_AT_ONCE = 2000


class PostgresReader:
    """Reads a PostgreSQL database with the methods of a connection of SQLite that the audit log uses."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._connection = connection
        self._cursors = 0

    def execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Return the rows of a statement. They are fetched in portions, so that memory does not grow with them.

        BEGIN is implicit. COMMIT ends the view of one moment.
        """
        if statement == "BEGIN":
            return cast("sqlite3.Cursor", self._connection.cursor())
        if statement == "COMMIT":
            self._connection.commit()
            return cast("sqlite3.Cursor", self._connection.cursor())
        self._cursors += 1
        cursor = self._connection.cursor(name=f"rows{self._cursors}", scrollable=False)
        cursor.itersize = ROWS_AT_ONCE
        cursor.execute(statement.replace("%", "%%").replace("?", "%s").encode(), list(values))
        return cast("sqlite3.Cursor", cursor)


def is_postgres(database: AuditConnection) -> TypeIs[PostgresReader]:
    """Return whether a connection is to PostgreSQL."""
    return isinstance(database, PostgresReader)


@contextlib.contextmanager
def open_audit_log(address: AuditAddress) -> Iterator[AuditConnection]:
    """Open the audit log, and close it at the end. Raises AuditFileError, AuditDatabaseError."""
    if isinstance(address, Path):
        with contextlib.closing(open_for_reading(address)) as database:
            yield database
        return
    from wirekey.core.audit.postgres_connection import reading

    with reading(address) as connection:
        yield PostgresReader(connection)


def glob_expression(pattern: str) -> str:
    """Return a glob with `*`, `?` and `[…]` as a regular expression of PostgreSQL."""
    parts = re.split(r"(\*|\?|\[\^?\]?[^\]]*\])", pattern)
    plain = {"*": ".*", "?": "."}
    inside = "".join(plain.get(part) or (part if place % 2 else re.escape(part)) for place, part in enumerate(parts))
    return f"^(?:{inside})$"
