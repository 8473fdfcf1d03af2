"""The shared state of the workers of one machine: a SQLite file in the state folder.

A thread of each worker runs the statements, so that the event loop never waits for a lock. The file needs no protection
against a power failure, after which everything in it is old.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from wirekey.core.shared_state import buckets
from wirekey.core.shared_state.protocol import BudgetLevel, Reserved, SharedStateUnavailableError, Taken
from wirekey.core.shared_state.receivers import Receivers
from wirekey.core.shared_state.sqlite_clock import machine_clock
from wirekey.core.shared_state.sqlite_tables import (
    RESERVE,
    SET,
    SET_BUCKET,
    clean,
    end,
    full_at_of,
    opened,
    reserved_of,
    spent_of,
    value_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from wirekey.core.shared_state.protocol import Budget, Rate

logger = logging.getLogger(__name__)

FILE = "shared.db"
POLL_INTERVAL = 0.1
"""Seconds between two looks for messages of other workers."""
CLEAN_INTERVAL = 60.0
SETTLED_FOR = 3600.0


class SqliteState:
    """The `SharedState` of the workers of one machine. `path` is the file, which is created if it does not exist."""

    is_local = False
    is_remote = False
    losses = None

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sender = os.urandom(8).hex()
        self._receivers = Receivers()
        self._thread = ThreadPoolExecutor(1, "wirekey-shared-state")
        self._database: sqlite3.Connection | None = None
        self._now: Callable[[], float] = time.time
        self._cleaned = 0.0
        self._watching: sqlite3.Connection | None = None
        """Notices what other processes write. It is used on the event loop, and reads and writes no table."""
        self._last_message: int | None = None
        self._polling: asyncio.Task[None] | None = None
        self._trouble: str | None = None

    async def _run[Result](self, statements: Callable[[sqlite3.Connection, float], Result]) -> Result:
        """Run statements in the thread, as one transaction."""
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, statements)
        except (sqlite3.Error, OSError) as error:
            self._note(f"{self._path.name} in the state folder cannot be used ({error})")
            raise SharedStateUnavailableError(self._trouble) from error
        self._note(None)
        return result

    def _transact[Result](self, statements: Callable[[sqlite3.Connection, float], Result]) -> Result:
        if self._database is None:
            self._database = opened(self._path)
            self._now = machine_clock(self._database)
        database, now = self._database, self._now()
        database.execute("BEGIN IMMEDIATE")
        try:
            if now - self._cleaned >= CLEAN_INTERVAL:
                self._cleaned = now
                clean(database, now)
            result = statements(database, now)
            database.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                database.execute("ROLLBACK")
            raise
        return result

    def _note(self, trouble: str | None) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            if trouble:
                logger.error("The shared state is not available: %s.", trouble)
            else:
                logger.warning("The shared state is available again.")

    # Values that expire.

    async def get(self, key: str) -> bytes | None:
        """Return the value of a key, or None if it has none or it has expired."""
        return await self._run(lambda database, now: value_of(database, key, now))

    async def set(self, key: str, value: bytes, ttl: float) -> None:
        """Set the value of a key for `ttl` seconds."""
        await self._run(lambda database, now: database.execute(SET, (key, value, now + ttl)))

    async def add(self, key: str, value: bytes, ttl: float) -> bytes | None:
        """Set the value of a key that has none. Return None if it was set, otherwise the value that it has."""

        def add(database: sqlite3.Connection, now: float) -> bytes | None:
            found = value_of(database, key, now)
            if found is None:
                database.execute(SET, (key, value, now + ttl))
            return found

        return await self._run(add)

    async def replace(self, key: str, expected: bytes, value: bytes, ttl: float) -> bool:
        """Set the value of a key if its value is `expected`. Return whether it was set."""

        def replace(database: sqlite3.Connection, now: float) -> bool:
            is_expected = value_of(database, key, now) == expected
            if is_expected:
                database.execute(SET, (key, value, now + ttl))
            return is_expected

        return await self._run(replace)

    async def delete(self, key: str) -> None:
        """Remove the value of a key, if it has one."""
        await self._run(lambda database, _: database.execute("DELETE FROM stored WHERE key = ?", (key,)))

    # Rates.

    async def take(self, rates: Sequence[Rate]) -> Taken:
        """Remove all amounts if each fits into its bucket, otherwise none of them."""

        def take(database: sqlite3.Connection, now: float) -> Taken:
            full_at = [full_at_of(database, rate.key, now) for rate in rates]
            waits = [buckets.wait_for(rate, full, now) for rate, full in zip(rates, full_at, strict=True)]
            allowed = not any(waits)
            if allowed:
                full_at = [buckets.taken(rate, full, now) for rate, full in zip(rates, full_at, strict=True)]
                taken = [(rate.key, full) for rate, full in zip(rates, full_at, strict=True) if rate.amount]
                database.executemany(SET_BUCKET, taken)
            levels = map(buckets.level, rates, full_at, [now] * len(rates), waits)
            return Taken(allowed, tuple(levels))

        return await self._run(take)

    async def charge(self, rates: Sequence[Rate]) -> None:
        """Remove amounts whether or not they fit. A negative amount is given back."""

        def charge(database: sqlite3.Connection, now: float) -> None:
            for rate in rates:
                full_at = buckets.taken(rate, full_at_of(database, rate.key, now), now)
                database.execute(SET_BUCKET, (rate.key, full_at))

        await self._run(charge)

    # Budgets.

    async def reserve(self, reservation: str, budgets: Sequence[Budget], ttl: float) -> Reserved:
        """Reserve all amounts under the id `reservation` if each fits, otherwise none of them."""

        def reserve(database: sqlite3.Connection, now: float) -> Reserved:
            end(database, reservation)
            unopened, exhausted, levels = [], [], []
            for index, budget in enumerate(budgets):
                spent, reserved = spent_of(database, budget.key, now), reserved_of(database, budget.key, now)
                levels.append(BudgetLevel(spent or 0, reserved))
                if budget.counts_total and spent is None:
                    unopened.append(index)
                elif (spent or 0) + reserved + budget.amount > budget.limit:
                    exhausted.append(index)
            if not (unopened or exhausted):
                held = [(reservation, budget.key, budget.amount, now + ttl) for budget in budgets]
                database.executemany(RESERVE, held)
                levels = [
                    BudgetLevel(level.spent, level.reserved + budget.amount)
                    for level, budget in zip(levels, budgets, strict=True)
                ]
            return Reserved(tuple(levels), tuple(exhausted), tuple(unopened))

        return await self._run(reserve)

    async def renew(self, reservation: str, ttl: float) -> bool:
        """Keep a reservation for `ttl` seconds from now. Return False if it has ended."""
        statement = "UPDATE reservations SET expires = ? WHERE id = ? AND expires > ?"
        changed = await self._run(lambda database, now: database.execute(statement, (now + ttl, reservation, now)))
        return changed.rowcount > 0

    async def settle(self, reservation: str, used: Mapping[str, int]) -> None:
        """End a reservation and add what was used to the totals, by key."""

        def settle(database: sqlite3.Connection, now: float) -> None:
            mark = f"settled:{reservation}"
            if value_of(database, mark, now) is not None:
                return
            database.execute(SET, (mark, b"1", now + SETTLED_FOR))
            end(database, reservation)
            spent = [(amount, key, now) for key, amount in used.items()]
            database.executemany("UPDATE totals SET spent = spent + ? WHERE key = ? AND expires > ?", spent)

        await self._run(settle)

    async def open_total(self, key: str, spent: int, ttl: float) -> bool:
        """Set the total of a budget that has none, for `ttl` seconds. Return False if it has one."""

        def open_total(database: sqlite3.Connection, now: float) -> bool:
            is_new = spent_of(database, key, now) is None
            if is_new:
                database.execute("INSERT OR REPLACE INTO totals VALUES (?, ?, ?)", (key, spent, now + ttl))
            return is_new

        return await self._run(open_total)

    async def levels(self, keys: Sequence[str]) -> tuple[BudgetLevel | None, ...]:
        """Return the level of each budget, or None where the total is not known."""

        def levels(database: sqlite3.Connection, now: float) -> Iterator[BudgetLevel | None]:
            for key in keys:
                spent = spent_of(database, key, now)
                yield None if spent is None else BudgetLevel(spent, reserved_of(database, key, now))

        return await self._run(lambda database, now: tuple(levels(database, now)))

    # Messages.

    async def publish(self, topic: str, message: bytes) -> None:
        """Send a message to the other workers."""
        insert = "INSERT INTO messages (sender, topic, message, sent) VALUES (?, ?, ?, ?)"
        await self._run(lambda database, now: database.execute(insert, (self._sender, topic, message, now)))

    def subscribe(self, topic: str, receive: Callable[[bytes], None]) -> None:
        """Call `receive` in the event loop with each message of other workers about a topic."""
        self._receivers.add(topic, receive)

    async def start(self) -> None:
        """Begin to receive messages. Raises SharedStateUnavailableError if the file cannot be used."""
        await self._run(lambda database, _: self._new_messages(database))
        self._watching = sqlite3.connect(self._path, timeout=0, isolation_level=None)
        self._polling = asyncio.create_task(self._poll(self._watching))

    async def _poll(self, watching: sqlite3.Connection) -> None:
        version = None
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            try:
                # This reads a number in memory that is shared, and waits for nothing.
                (latest,) = watching.execute("PRAGMA data_version").fetchone()
                if latest == version:
                    continue
                found = await self._run(lambda database, _: self._new_messages(database))
            except (sqlite3.Error, SharedStateUnavailableError) as error:
                self._note(f"{self._path.name} in the state folder cannot be used ({error})")
                continue
            version = latest
            for topic, message in found:
                self._receivers.deliver(topic, message)

    def _new_messages(self, database: sqlite3.Connection) -> list[tuple[str, bytes]]:
        if self._last_message is None:
            (last,) = database.execute("SELECT max(number) FROM messages").fetchone()
            self._last_message = last or 0
            return []
        query = "SELECT number, sender, topic, message FROM messages WHERE number > ? ORDER BY number"
        rows = database.execute(query, (self._last_message,)).fetchall()
        if rows:
            self._last_message = rows[-1][0]
        return [(topic, message) for _, sender, topic, message in rows if sender != self._sender]

    async def close(self) -> None:
        """Stop receiving messages and close the file."""
        if self._polling:
            self._polling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._polling
            self._polling = None
        if self._watching:
            self._watching.close()
            self._watching = None
        database, self._database = self._database, None
        if database:
            await asyncio.get_running_loop().run_in_executor(self._thread, database.close)
        self._thread.shutdown(wait=False)

    def trouble(self) -> str | None:
        """Return why the file cannot be used, or None."""
        return self._trouble
