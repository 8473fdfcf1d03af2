"""How far the events of the audit log in PostgreSQL were delivered elsewhere, and which process delivers them.

The claim is an advisory lock of a connection, so it ends with the process, or with the connection.
"""

from __future__ import annotations

import contextlib
import json
import threading
from typing import TYPE_CHECKING

import psycopg

from wirekey.core.audit.audit_log import AuditDatabaseError
from wirekey.features.postgresql.connection import database_errors, open_connection, place_of
from wirekey.features.postgresql.schema import LOCK, migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.core.audit.delivery_state import DeliveryDocument
    from wirekey.core.secret import Secret
    from wirekey.features.postgresql.connection import LimitedConnection

DELIVERY = -1
"""The object of the advisory lock. No writer has this number."""
LIMIT = 3.0
"""Seconds that a step may take."""
STORE = """
INSERT INTO deliveries (name, document) VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET document = excluded.document
"""


class PostgresDelivery:
    """The state in a table, with one connection for all threads."""

    def __init__(self, url: Secret) -> None:
        self._url = url
        self._turn = threading.Lock()
        self._connection: LimitedConnection | None = None
        self._claims = 0
        self._has_lock = False
        self._is_closed = False

    def claim(self) -> int:
        """Return the number of the claim, or 0 if another process has it. Raises AuditDatabaseError."""
        if self._is_closed:
            return 0
        with self._connected() as connection:
            if self._has_lock:
                connection.execute("SELECT 1")  # fails if the connection, and with it the lock, is gone
                return self._claims
            found = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", [LOCK, DELIVERY]).fetchone()
            if found == (True,):
                self._has_lock = True
                self._claims += 1
                return self._claims
            return 0

    def read(self) -> dict[str, DeliveryDocument]:
        """Return the documents. Raises AuditDatabaseError."""
        with self._connected() as connection:
            rows = connection.execute("SELECT name, document FROM deliveries").fetchall()
        return {name: self._document(text) for name, text in rows}

    def _document(self, text: str) -> DeliveryDocument:
        with contextlib.suppress(ValueError):
            if isinstance(found := json.loads(text), dict):
                return found
        raise AuditDatabaseError(
            f"{place_of(self._url)}: a row of the table deliveries is damaged. Delete it: then events that wait are "
            "not delivered."
        )

    def write(self, name: str, document: DeliveryDocument) -> None:
        """Replace the document of a name. Raises AuditDatabaseError, also if the claim was lost."""
        with self._connected() as connection:
            if not self._has_lock:
                raise AuditDatabaseError(f"{place_of(self._url)}: another process may deliver events now.")
            connection.execute(STORE, [name, json.dumps(document)])

    def close(self) -> None:
        """Disconnect for good, which ends the claim: a thread that has not ended does not claim it again."""
        with self._turn:
            self._is_closed = True
            self._disconnect()

    @contextlib.contextmanager
    def _connected(self) -> Iterator[LimitedConnection]:
        """Hold the connection for one step. After a failure it is closed. Raises AuditDatabaseError."""
        place = place_of(self._url)
        with self._turn, database_errors(place):
            if self._is_closed:
                raise AuditDatabaseError(f"{place}: the delivery has ended.")
            try:
                if self._connection is None or self._connection.closed:
                    self._disconnect()
                    self._connection = open_connection(self._url, LIMIT)
                    migrate(self._connection, place)
                yield self._connection
            except psycopg.Error:
                self._disconnect()
                raise

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        self._has_lock = False
        if connection:
            with contextlib.suppress(psycopg.Error):
                connection.close()
