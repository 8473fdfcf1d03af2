"""Connections to the audit database."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import conninfo, errors

from wirekey.core.audit.audit_log import AuditDatabaseError
from wirekey.features.postgresql.authentication import REFUSED, safe_authentication

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg.abc import PQGen

    from wirekey.core.secret import Secret

CONNECT_SECONDS = 3
SYNCHRONOUS = {"commit": "local", "fsync": "on"}
"""Both wait until an event is on the server's disk. `fsync` also waits for synchronous standbys, if there are any."""
REASONS: tuple[tuple[type[psycopg.Error], str], ...] = (
    (errors.QueryCanceled, "the audit database is too slow"),
    (errors.LockNotAvailable, "the audit database is locked"),
    (errors.DiskFull, "the disk of the audit database is full"),
    (errors.ReadOnlySqlTransaction, "the audit database is read-only"),
    (errors.InsufficientPrivilege, "the user of the audit database may not write"),
    (psycopg.OperationalError, "the audit database cannot be reached"),
)
NOT_YET = ("starting up", "shutting down", "recovery", "not yet accepting", "too many", "connection slots")
"""Words of a server that refuses connections only for now. libpq has no codes for errors of a connection."""


class LimitedConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection on which no operation takes longer than `limit` seconds, whatever the server or the network does.

    After that, the connection is closed, as its state is unknown.
    """

    limit: float | None = None

    def wait[RV](self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Run an operation to its end. Raises OperationalError when it takes too long."""
        limit = self.limit if timeout is None else timeout
        try:
            return super().wait(gen, interval, limit)
        except errors._WaitTimeout:  # noqa: SLF001  # it has no public name
            self.pgconn.finish()
            raise psycopg.OperationalError("no response in time") from None


def place_of(url: Secret) -> str:
    """Return the server and the database of a URL for messages. Raises AuditDatabaseError if it is not valid."""
    try:
        return f"The audit database {server_of(url)}"
    except ValueError as error:
        raise AuditDatabaseError(f"audit.store {error}") from None


def server_of(url: Secret) -> str:
    """Return the database and the server of a URL, as NAME at HOST:PORT. Raises ValueError if it is not valid."""
    try:
        parts = conninfo.conninfo_to_dict(url.reveal())
    except psycopg.ProgrammingError:
        raise ValueError("is not a valid URL of PostgreSQL: postgresql://USER@HOST/DATABASE.") from None
    server = parts.get("host") or parts.get("hostaddr") or "the default host"
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"{parts.get('dbname') or parts.get('user') or ''} at {server}{port}"


def open_connection(url: Secret, limit: float | None = None, durability: str = "fsync") -> LimitedConnection:
    """Connect. `limit`: seconds that each operation may take. Raises psycopg.Error."""
    settings = [f"-c synchronous_commit={SYNCHRONOUS[durability]}", "-c search_path=wirekey"]
    if limit is not None:
        settings.append(f"-c statement_timeout={int(limit * 1000)}")
    connection = LimitedConnection.connect(url.reveal(), **parameters(url, " ".join(settings), "wirekey"))
    connection.limit = limit
    connection.prepare_threshold = 1
    return connection


def parameters(url: Secret, settings: str, name: str) -> dict[str, Any]:
    """Return the parameters of all connections. `name`: of the program, as the server shows it."""
    return {
        "autocommit": True,
        "connect_timeout": CONNECT_SECONDS,
        "options": settings,
        "application_name": name,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        **safe_authentication(url),
    }


@contextlib.contextmanager
def database_errors(place: str) -> Iterator[None]:
    """Turn an error of PostgreSQL into an AuditDatabaseError."""
    try:
        yield
    except psycopg.Error as error:
        raise AuditDatabaseError(f"{place} cannot be used: {reason_of(error)} ({explanation(error)}).") from error


def may_pass(error: psycopg.Error) -> bool:
    """Return whether a failure to connect can end by itself: the server is unreachable, or still starting."""
    text = str(error)
    refused = REFUSED in text or ("FATAL" in text and not any(words in text for words in NOT_YET))
    return isinstance(error, psycopg.OperationalError) and not refused


def explanation(error: psycopg.Error) -> str:
    """Return the text of an error in one line, with what to do if the server wants the password in clear text."""
    text = " ".join(str(error).split())
    if REFUSED not in text:
        return text
    return f"{text}. Add ?sslmode=verify-full to the URL, or let the server use scram-sha-256"


def reason_of(error: Exception) -> str:
    """Return why PostgreSQL failed, without its address, because clients see it."""
    for kind, reason in REASONS:
        if isinstance(error, kind):
            return reason
    return "the audit database refused the event"
