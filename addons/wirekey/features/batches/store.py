"""Remembers batches until their results are read, and which of them are settled.

They are in a file of the state folder, which the workers of a machine share, so that they survive a restart. If several
machines share a state on a server, they are there, too, so that each machine knows the batches of all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import time
from typing import TYPE_CHECKING

from wirekey.core.shared_state import SharedStateUnavailableError
from wirekey.core.sqlite_file import create_private
from wirekey.features.batches.record import decoded, encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from wirekey.core.shared_state import SharedState
    from wirekey.features.batches.record import BatchRecord

logger = logging.getLogger(__name__)

FILE = "batches.db"
KEPT = 90 * 86400.0
"""Seconds for which a batch is remembered. Providers keep results for 30 days or less, unless a program asks."""
CLAIMED_FOR = 300.0
"""Seconds in which a batch is settled. After them, a claim that is not finished is void: its process was killed."""
PATIENCE = 5.0
"""Seconds to wait for another process that writes."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, value BLOB NOT NULL, expires REAL NOT NULL);
CREATE INDEX IF NOT EXISTS kept_by_expiry ON kept (expires);
"""
PRUNE = "DELETE FROM kept WHERE expires <= ?"
DONE = b"1"


class BatchStoreError(Exception):
    """The batches can be neither read nor written at present."""


class BatchStore:
    """The batches that calls of this state folder, or of all that share a state, have made.

    `path` is the file, which is created with the first batch. `state` returns the shared state.
    """

    def __init__(self, path: Path, state: Callable[[], SharedState], clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._state = state
        self._clock = clock
        self._claim = os.urandom(16)
        """The value of the claims of this process on the server. One may be there although no response said so."""

    async def remember(self, provider: str, name: str, record: BatchRecord) -> None:
        """Keep the record of a batch under its id, or under the name of its results.

        Raises BatchStoreError if neither the file nor the server has it now.
        """
        key, value = made_key(provider, name), encoded(record)
        failures: list[Exception] = []
        try:
            await asyncio.to_thread(self._add, key, value)
        except (sqlite3.Error, OSError) as error:
            failures.append(error)
        if self._state().is_remote:
            try:
                await self._state().add(key, value, KEPT)
            except SharedStateUnavailableError as error:
                failures.append(error)
        if failures:
            raise BatchStoreError(str(failures[0])) from failures[0]

    async def find(self, provider: str, name: str) -> BatchRecord | None:
        """Return the record of a batch by its id or the name of its results, or None. Raises BatchStoreError."""
        key = made_key(provider, name)
        try:
            value = await asyncio.to_thread(self._get, key)
            if value is None and self._state().is_remote:
                value = await self._state().get(key)
        except (sqlite3.Error, OSError, SharedStateUnavailableError) as error:
            raise BatchStoreError(str(error)) from error
        return None if value is None else decoded(value)

    async def claim(self, provider: str, batch: str) -> bytes | None:
        """Begin to settle a batch. Return what `finish` needs; None if it is settled, or another process settles it.

        Unless it is finished, the batch can be claimed again after `CLAIMED_FOR` seconds. Raises BatchStoreError.
        """
        key, claim = settled_key(provider, batch), self._claim
        try:
            if self._state().is_remote and await self._state().add(key, claim, CLAIMED_FOR) not in (None, claim):
                return None
            return claim if await asyncio.to_thread(self._add, key, claim, CLAIMED_FOR) else None
        except (sqlite3.Error, OSError, SharedStateUnavailableError) as error:
            raise BatchStoreError(str(error)) from error

    async def finish(self, provider: str, batch: str, claim: bytes) -> None:
        """Note that a batch is settled. `claim`: what `claim` returned. Raises BatchStoreError."""
        key = settled_key(provider, batch)
        try:
            await asyncio.to_thread(self._finish, key)
            if self._state().is_remote:
                await self._state().replace(key, claim, DONE, KEPT)
        except (sqlite3.Error, OSError, SharedStateUnavailableError) as error:
            raise BatchStoreError(str(error)) from error

    # In a thread.

    def _get(self, key: str) -> bytes | None:
        if not self.path.exists():
            return None
        with self._opened() as database:
            row = database.execute("SELECT value FROM kept WHERE key = ? AND expires > ?", (key, self._clock()))
            found: tuple[bytes] | None = row.fetchone()
        return found[0] if found else None

    def _add(self, key: str, value: bytes, ttl: float = KEPT) -> bool:
        """Set a value that is not there. Return False if it is."""
        now = self._clock()
        with self._opened() as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute(PRUNE, (now,))
            changed = database.execute("INSERT OR IGNORE INTO kept VALUES (?, ?, ?)", (key, value, now + ttl))
            database.execute("COMMIT")
        return changed.rowcount > 0

    def _finish(self, key: str) -> None:
        with self._opened() as database:
            database.execute("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", (key, DONE, self._clock() + KEPT))

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        create_private(self.path)
        with contextlib.closing(sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)) as database:
            # Not WAL: SQLite does not wait for its lock while several threads change a new file to that mode.
            if not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                database.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
            yield database


def made_key(provider: str, name: str) -> str:
    """Return the key of the record of a batch."""
    return f"batch:{provider}:{name}"


def settled_key(provider: str, name: str) -> str:
    """Return the key that says that a batch is settled, or is being settled."""
    return f"batch-settled:{provider}:{name}"
