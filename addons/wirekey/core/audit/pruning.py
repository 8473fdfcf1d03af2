"""Deletes old events from an audit file in small transactions, so that the writer never waits for long.

A signed checkpoint marks the new beginning first, so that the rest of the chain can be verified at any moment.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING

from wirekey.core.audit import checkpoints, schema
from wirekey.core.audit.chain import FIRST
from wirekey.core.audit.checkpoints import Checkpoint
from wirekey.core.audit.event import rfc3339
from wirekey.core.audit.filters import first_id_at

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

    from wirekey.core.audit.audit_log import AuditDatabase
    from wirekey.core.audit.checkpoints import CheckpointKey

logger = logging.getLogger(__name__)

ROWS_AT_ONCE = 1000
"""Rows deleted in one transaction, which takes some milliseconds."""
PAUSE = 0.01
PATIENCE = 10.0
OLD = "FROM calls WHERE id < ? AND outcome IS NOT NULL"
"""An open call of any age is kept."""


def count_before(audit_log: AuditDatabase, moment: float) -> int:
    """Return the number of events that pruning deletes. Raises AuditDatabaseError."""
    with audit_log.reading() as database:
        return int(database.execute(f"SELECT count(*) {OLD}", [first_id_at(moment)]).fetchone()[0])


def prune(
    path: Path,
    moment: float,
    key: CheckpointKey,
    also_to: Path | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Delete the events of calls that started before `moment` (Unix seconds) and have ended. Return their number.

    `also_to`: the file to which the checkpoint is added. `on_progress` gets the number deleted so far.
    Raises AuditFileError, sqlite3.Error, and OSError if the checkpoint cannot be added to the file.
    """
    first_id = first_id_at(moment)
    with contextlib.closing(schema.open_for_writing(path, "commit", PATIENCE)) as database:
        if database.execute(f"SELECT 1 {OLD} LIMIT 1", [first_id]).fetchone() is None:
            return 0
        base = mark_beginning(database, first_id, key, also_to)
        deleted = 0
        while ids := database.execute(f"SELECT id {OLD} ORDER BY id LIMIT {ROWS_AT_ONCE}", [first_id]).fetchall():
            with transaction(database):
                database.executemany("DELETE FROM attempts WHERE call_id = ?", ids)
                database.executemany("DELETE FROM calls WHERE id = ?", ids)
            deleted += len(ids)
            on_progress(deleted)
            time.sleep(PAUSE)
        changed = -1
        while changed:
            with transaction(database):
                changed = database.execute(
                    "DELETE FROM chain WHERE seq IN (SELECT seq FROM chain WHERE seq <= ? ORDER BY seq LIMIT ?)",
                    [base, ROWS_AT_ONCE],
                ).rowcount
            time.sleep(PAUSE)
    logger.info("%d recorded calls from before %s were deleted", deleted, rfc3339(moment))
    return deleted


class transaction(contextlib.AbstractContextManager[None]):  # noqa: N801  # used as a function
    """A transaction that commits at its end, or rolls back after an exception."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._database.execute("COMMIT" if error is None else "ROLLBACK")


def hash_at(database: sqlite3.Connection, seq: int) -> bytes:
    """Return the hash of a link. If it was pruned, the checkpoint that marks the beginning has it."""
    if seq == 0:
        return FIRST
    found: tuple[bytes] | None = database.execute("SELECT hash FROM chain WHERE seq = ?", [seq]).fetchone()
    if found:
        return found[0]
    marked = database.execute("SELECT document FROM checkpoints WHERE seq = ? ORDER BY rowid DESC", [seq]).fetchone()
    return bytes.fromhex(checkpoints.decode(marked[0]).hash)


def mark_beginning(database: sqlite3.Connection, first_id: str, key: CheckpointKey, also_to: Path | None) -> int:
    """Sign and store where the chain begins after pruning. Return the number of the last link before that."""
    with transaction(database):
        found = database.execute(schema.READ_HEAD).fetchone()
        if found is None:
            return 0
        chain, seq, last = found
        kept = database.execute("SELECT seq FROM chain WHERE id >= ? ORDER BY seq LIMIT 1", [first_id]).fetchone()
        if kept:
            seq = kept[0] - 1
            last = hash_at(database, seq)
        begin = Checkpoint(
            chain=chain, seq=seq, hash=last.hex(), time=rfc3339(time.time()), reason="prune", first_id=first_id
        )
        signed = key.signed(begin)
        database.execute(schema.CHECKPOINT, [signed.seq, signed.document()])
    # Only what the database has: a checkpoint that is kept elsewhere and not in the database counts as removed.
    if also_to:
        checkpoints.append(also_to, signed)
    checkpoints.log(signed)
    return int(seq)
