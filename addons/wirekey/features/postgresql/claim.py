"""Claims a hash chain in PostgreSQL for one process, so that no other process writes it.

The owner of a chain is a state folder. A new process of that folder continues the chain of the process before it.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from wirekey.core.audit.chain import FIRST, LastLink
from wirekey.features.postgresql.schema import LOCK

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.features.postgresql.connection import LimitedConnection

ZOMBIE_SECONDS = 2.0
"""Time for the server to end an earlier connection of the owner, whose process is gone."""


@dataclass(frozen=True)
class ClaimedChain:
    """A chain that this process may write until its connection ends."""

    writer: int
    """Its number in `calls.writer`."""
    chain: str
    """Its name in checkpoints."""
    head: LastLink
    moved: int
    """The number of the last entry of the owner's spool that was moved to the database."""


def claim(connection: LimitedConnection, owner: str, begin: Callable[[LimitedConnection, str], None]) -> ClaimedChain:
    """Claim the chain of this owner, or begin a new one. `begin` is called in the transaction that begins it.

    Raises psycopg.OperationalError if another process has claimed the chain.
    """
    read = "SELECT writer, chain, seq, hash FROM chain_head WHERE owner = %s"
    found = connection.execute(read, [owner]).fetchone()
    if found is None:
        chain = uuid.uuid4().hex
        with connection.transaction():
            connection.execute(
                "INSERT INTO chain_head (chain, seq, hash, owner) VALUES (%s, 0, %s, %s)", [chain, FIRST, owner]
            )
            begin(connection, chain)
        found = connection.execute(read, [owner]).fetchone()
    assert found
    lock(connection, found[0])
    found = connection.execute(read, [owner]).fetchone()
    assert found
    moved = connection.execute("SELECT moved FROM spools WHERE spool = %s", [owner]).fetchone()
    return ClaimedChain(found[0], found[1], LastLink(found[2], found[3]), moved[0] if moved else 0)


def lock(connection: LimitedConnection, writer: int) -> None:
    """Lock a writer for this connection, and end an earlier connection that has the lock.

    Raises psycopg.OperationalError if that connection cannot be ended.
    """
    until = time.monotonic() + ZOMBIE_SECONDS
    while connection.execute("SELECT pg_try_advisory_lock(%s, %s)", [LOCK, writer]).fetchone() != (True,):
        if time.monotonic() > until:
            raise psycopg.OperationalError("another process writes this chain")
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND classid = %s AND objid = %s",
            [LOCK, writer],
        )
        time.sleep(0.05)
