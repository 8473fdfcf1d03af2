"""Deletes old events from a PostgreSQL database: whole months at once, and the rest in small transactions.

A signed checkpoint of each chain marks its new beginning first.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from wirekey.core.audit import checkpoints
from wirekey.core.audit.chain import FIRST
from wirekey.core.audit.checkpoints import Checkpoint
from wirekey.core.audit.event import rfc3339
from wirekey.core.audit.filters import first_id_at
from wirekey.features.postgresql.connection import database_errors, open_connection, place_of
from wirekey.features.postgresql.rollup import forget_before
from wirekey.features.postgresql.schema import LOCK, migrate, month_start

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import psycopg

    from wirekey.core.audit.checkpoints import CheckpointKey
    from wirekey.core.secret import Secret

logger = logging.getLogger(__name__)

ROWS_AT_ONCE = 5000
OLD = "FROM calls WHERE id < %s AND outcome IS NOT NULL"
PARTITION = re.compile(r"calls_(\d{4})_(\d{2})")


def prune(
    url: Secret,
    moment: float,
    key: CheckpointKey,
    also_to: Path | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Delete the events of calls that started before `moment` (Unix seconds) and have ended. Return their number.

    `also_to`: the file to which checkpoints are added. `on_progress` gets the number deleted so far.
    Raises AuditDatabaseError, OSError.
    """
    place, first_id = place_of(url), first_id_at(moment)
    with database_errors(place), contextlib.closing(open_connection(url)) as connection:
        migrate(connection, place)
        # One process at a time. It holds the lock until the connection ends.
        if connection.execute("SELECT pg_try_advisory_lock(%s, -1)", [LOCK]).fetchone() != (True,):
            return 0
        if connection.execute(f"SELECT 1 {OLD} LIMIT 1".encode(), [first_id]).fetchone() is None:
            return 0
        forget_before(connection, moment)
        mark_beginnings(connection, first_id, key, also_to)
        deleted = 0
        for name in old_months(connection, moment):
            deleted += drop_month(connection, name)
            on_progress(deleted)
        some = f"DELETE FROM calls WHERE id IN (SELECT id {OLD} ORDER BY id LIMIT {ROWS_AT_ONCE})"  # noqa: S608  # values are bound
        while True:
            changed = connection.execute(some.encode(), [first_id]).rowcount
            deleted += changed
            on_progress(deleted)
            if not changed:
                break
        connection.execute(
            "DELETE FROM attempts WHERE call_id < %s AND call_id NOT IN (SELECT id FROM calls)", [first_id]
        )
    logger.info("%d recorded calls from before %s were deleted", deleted, rfc3339(moment))
    return deleted


def old_months(connection: psycopg.Connection[Any], moment: float) -> list[str]:
    """Return the partitions that have only calls from before `moment`."""
    limit, found = datetime.fromtimestamp(moment, UTC), []
    rows = connection.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'wirekey.calls'::regclass"
    )
    for (name,) in rows.fetchall():
        parts = PARTITION.search(name)
        if parts and month_start(datetime(int(parts[1]), int(parts[2]), 1, tzinfo=UTC) + timedelta(days=32)) <= limit:
            found.append(parts[0])
    return sorted(found)


def drop_month(connection: psycopg.Connection[Any], name: str) -> int:
    """Drop a partition without open calls. Return the number of its calls."""
    with connection.transaction():
        counts = connection.execute(
            f"SELECT count(*), count(*) FILTER (WHERE outcome IS NULL) FROM {name}".encode()  # noqa: S608  # a name of ours
        ).fetchone()
        if not counts or counts[1]:
            return 0
        connection.execute(f"DROP TABLE {name}".encode())
    return int(counts[0])


def mark_beginnings(
    connection: psycopg.Connection[Any], first_id: str, key: CheckpointKey, also_to: Path | None
) -> None:
    """Sign where each chain begins after pruning, and delete the links before that."""
    for writer, chain, seq, last in connection.execute("SELECT writer, chain, seq, hash FROM chain_head").fetchall():
        kept = connection.execute(
            "SELECT min(seq) FROM chain WHERE writer = %s AND id >= %s", [writer, first_id]
        ).fetchone()
        base, digest = seq, last
        if kept and kept[0] is not None:
            base = kept[0] - 1
            digest = hash_at(connection, writer, chain, base)
        begin = Checkpoint(
            chain=chain, seq=base, hash=digest.hex(), time=rfc3339(time.time()), reason="prune", first_id=first_id
        )
        signed = key.signed(begin)
        connection.execute(
            "INSERT INTO checkpoints (chain, seq, document) VALUES (%s, %s, %s)", [chain, base, signed.document()]
        )
        checkpoints.log(signed)
        if also_to:
            checkpoints.append(also_to, signed)
        while connection.execute(
            "DELETE FROM chain WHERE writer = %s AND seq <= %s"
            " AND seq < (SELECT min(seq) FROM chain WHERE writer = %s) + %s",
            [writer, base, writer, ROWS_AT_ONCE],
        ).rowcount:
            pass


def hash_at(connection: psycopg.Connection[Any], writer: int, chain: str, seq: int) -> bytes:
    """Return the hash of a link. If it was pruned, the checkpoint that marks the beginning has it."""
    if seq == 0:
        return FIRST
    found = connection.execute("SELECT hash FROM chain WHERE writer = %s AND seq = %s", [writer, seq]).fetchone()
    if found:
        return bytes(found[0])
    marked = connection.execute(
        "SELECT document FROM checkpoints WHERE chain = %s AND seq = %s ORDER BY number DESC", [chain, seq]
    ).fetchone()
    assert marked
    return bytes.fromhex(checkpoints.decode(marked[0]).hash)
