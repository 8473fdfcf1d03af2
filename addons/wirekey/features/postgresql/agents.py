"""The agents of several machines in PostgreSQL, one row for each agent. See `AgentStore` for how it is used.

The tables are in the schema `wirekey`, beside those of the audit log if that is in the same database. Every change is
one transaction, which holds the row of `agents_revision`, so changes come one after another. It increases the revision
and sends a notification.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import psycopg

from wirekey.core.errors import UserError
from wirekey.core.identity import agents_format
from wirekey.core.identity.agents_format import AgentRecords, AgentRecordsError
from wirekey.features.postgresql.connection import LimitedConnection, explanation, may_pass, parameters, server_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from psycopg.abc import PQGen

    from wirekey.core.secret import Secret

LIMIT = 10.0
"""Seconds for one operation."""
CHANNEL = "wirekey_agents"
LOCK = 0x776B6167
"""The advisory lock of the migrations."""
MIGRATIONS = (
    """
CREATE TABLE wirekey.agents (
    id text COLLATE "C" PRIMARY KEY, number bigint GENERATED ALWAYS AS IDENTITY, record jsonb NOT NULL
);
CREATE TABLE wirekey.agents_revision (revision bigint NOT NULL);
INSERT INTO wirekey.agents_revision VALUES (0);
""",
)
"""Each is applied once, in order. Only new ones are added, at the end."""
SAVE = "INSERT INTO wirekey.agents (id, record) VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET record = excluded.record"


class AgentsDatabaseError(UserError):
    """The database of the agents cannot be used. The message names it, without a password, and the fix."""


class AgentsConnection(LimitedConnection):
    """A connection that may also wait for notifications, with a time-out of the caller."""

    def wait[RV](self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Run an operation to its end. Without a time-out of the caller, it is closed after `limit` seconds."""
        if timeout is not None:
            return psycopg.Connection.wait(self, gen, interval, timeout)
        return super().wait(gen, interval)


class AgentsDatabase:
    """The agents in the database of a URL. Each operation opens a connection, and blocks for at most some seconds."""

    def __init__(self, url: Secret) -> None:
        """Note the URL. Raises AgentsDatabaseError if it is not valid."""
        self._url = url
        try:
            self.place = f"The database of the agents {server_of(url)}"
        except ValueError as error:
            raise AgentsDatabaseError(f"agents.store {error}") from None

    def read(self) -> AgentRecords:
        """Return all agents. Raises AgentsDatabaseError."""
        with self.connected() as connection:
            return self.read_on(connection)

    def read_on(self, connection: AgentsConnection) -> AgentRecords:
        """Return all agents, on an open connection. Raises AgentsDatabaseError, psycopg.Error."""
        rows = connection.execute("SELECT record::text FROM wirekey.agents ORDER BY number").fetchall()
        try:
            return agents_format.decode(
                b'{"version":%d,"agents":[%s]}' % (agents_format.VERSION, ",".join(row[0] for row in rows).encode())
            )
        except AgentRecordsError as error:
            raise AgentsDatabaseError(f"{self.place} {error}. Use the Wirekey that wrote it.") from error

    def change(self, change: Callable[[AgentRecords], AgentRecords]) -> None:
        """Replace the agents with what `change` makes of them, as one transaction.

        Raises AgentsDatabaseError, and the errors of `change`; then nothing has changed.
        """
        with self.connected() as connection, connection.transaction():
            connection.execute("SELECT revision FROM wirekey.agents_revision FOR UPDATE")
            before = self.read_on(connection)
            after = change(before)
            known = {agent.id: agent for agent in before.agents}
            changed = [
                (agent.id, agents_format.encode_agent(agent).decode())
                for agent in after.agents
                if known.get(agent.id) != agent
            ]
            if not changed:
                return
            with connection.cursor() as cursor:
                cursor.executemany(SAVE, changed)
            connection.execute("UPDATE wirekey.agents_revision SET revision = revision + 1")
            connection.execute("SELECT pg_notify(%s, '')", [CHANNEL])

    def may_pass(self, error: UserError) -> bool:
        """Return whether the cause of an error can end by itself."""
        return isinstance(error.__cause__, psycopg.Error) and may_pass(error.__cause__)

    @contextlib.contextmanager
    def connected(self) -> Iterator[AgentsConnection]:
        """Connect, create or update the tables, and close the connection at the end. Raises AgentsDatabaseError."""
        try:
            settings = f"-c statement_timeout={int(LIMIT * 1000)}"
            connection = AgentsConnection.connect(
                self._url.reveal(), **parameters(self._url, settings, "wirekey agents")
            )
            connection.limit = LIMIT
            with contextlib.closing(connection):
                self._migrate(connection)
                yield connection
        except psycopg.Error as error:
            raise AgentsDatabaseError(f"{self.place} cannot be used: {explanation(error)}.") from error

    def _migrate(self, connection: AgentsConnection) -> None:
        if connection.execute("SELECT to_regclass('wirekey.agents_schema')").fetchone() == (None,):
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
                connection.execute("CREATE SCHEMA IF NOT EXISTS wirekey")
                connection.execute("CREATE TABLE IF NOT EXISTS wirekey.agents_schema (version integer NOT NULL)")
        if self._version(connection) == len(MIGRATIONS):
            return
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
            version = self._version(connection)
            if version > len(MIGRATIONS):
                raise AgentsDatabaseError(
                    f"{self.place} has tables of version {version}; this Wirekey knows versions up to "
                    f"{len(MIGRATIONS)}. Nothing was changed: use the newer Wirekey that made them."
                )
            for statements in MIGRATIONS[version:]:
                connection.execute(statements.encode())
            connection.execute("DELETE FROM wirekey.agents_schema")
            connection.execute("INSERT INTO wirekey.agents_schema VALUES (%s)", [len(MIGRATIONS)])

    def _version(self, connection: AgentsConnection) -> int:
        found = connection.execute("SELECT version FROM wirekey.agents_schema").fetchone()
        return found[0] if found else 0

    def revision(self, connection: AgentsConnection) -> Any:
        """Return a value that differs after every change. Raises psycopg.Error."""
        return connection.execute("SELECT revision FROM wirekey.agents_revision").fetchone()
