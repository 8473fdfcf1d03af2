"""Reads the audit log in PostgreSQL."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

import psycopg

from wirekey.core.audit.audit_log import AuditDatabaseError
from wirekey.core.audit.chain import LastLink
from wirekey.core.audit.filters import Dialect
from wirekey.core.audit.stored_chain import MOST_NAMED, StoredChain
from wirekey.features.postgresql.connection import database_errors, open_connection, place_of
from wirekey.features.postgresql.schema import LABEL, check_version
from wirekey.features.postgresql.totals import PostgresSums

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wirekey.core.audit.audit_log import Cursor
    from wirekey.core.audit.chain import ChainSource
    from wirekey.core.audit.filters import Filters
    from wirekey.core.audit.sums import GroupBy
    from wirekey.core.secret import Secret

ROWS_AT_ONCE = 2000


def glob_expression(pattern: str) -> str:
    """Return a glob with `*`, `?` and `[…]` as a regular expression of PostgreSQL."""
    parts = re.split(r"(\*|\?|\[\^?\]?[^\]]*\])", pattern)
    plain = {"*": ".*", "?": "."}
    inside = "".join(plain.get(part) or (part if place % 2 else re.escape(part)) for place, part in enumerate(parts))
    return f"^(?:{inside})$"


class PostgresReader:
    """The audit log in a PostgreSQL database, open for reading. The connection is in a transaction."""

    dialect = Dialect("~", glob_expression, LABEL)
    writer = "writer"

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._connection = connection
        self._cursors = 0

    def execute(self, statement: str, values: Sequence[Any] = ()) -> Cursor:
        """Return the rows of a statement. They are fetched in portions, so that memory does not grow with them.

        BEGIN is implicit. COMMIT ends the view of one moment.
        """
        if statement == "BEGIN":
            return self._connection.cursor()
        if statement == "COMMIT":
            self._connection.commit()
            return self._connection.cursor()
        self._cursors += 1
        cursor = self._connection.cursor(name=f"rows{self._cursors}", scrollable=False)
        cursor.itersize = ROWS_AT_ONCE
        cursor.execute(statement.replace("%", "%%").replace("?", "%s").encode(), list(values))
        return cursor

    def has_attempts(self) -> bool:
        """Return True: the table of attempts is as old as the others."""
        return True

    def sums(self, filters: Filters, starts: range, by: GroupBy | None) -> PostgresSums:
        """Return the sums over some calls."""
        return PostgresSums(self, filters, starts, by)

    def chains(self) -> list[ChainSource]:
        """Return the chain of each writer, in the order in which they began."""
        rows = self.execute("SELECT writer, chain, seq, hash FROM chain_head ORDER BY writer").fetchall()
        return [
            StoredChain(self, writer, chain, LastLink(seq, last), self._checkpoints)
            for writer, chain, seq, last in rows
        ]

    def _checkpoints(self, chain: str) -> list[tuple[int, str]]:
        rows = self.execute("SELECT seq, document FROM checkpoints WHERE chain = ? ORDER BY number", [chain])
        return rows.fetchall()

    def without_writer(self) -> list[str]:
        """Return the first calls that no writer can have recorded."""
        rows = self.execute(
            "SELECT id FROM calls WHERE writer NOT IN (SELECT writer FROM chain_head) ORDER BY id LIMIT ?", [MOST_NAMED]
        )
        return [call_id for (call_id,) in rows]


@contextlib.contextmanager
def reading(url: Secret) -> Iterator[PostgresReader]:
    """Connect to read at one moment, and close the connection at the end. Raises AuditDatabaseError."""
    place = place_of(url)
    with database_errors(place), contextlib.closing(open_connection(url)) as connection:
        if connection.execute("SELECT to_regclass('wirekey.schema_version')").fetchone() == (None,):
            raise AuditDatabaseError(f"{place} has no audit log yet. Start Wirekey with it once.")
        found = connection.execute("SELECT version FROM schema_version").fetchone()
        check_version(found[0] if found else 0, place)
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        connection.autocommit = False
        yield PostgresReader(connection)
