"""The pool of idle upstream connections, shared by all client connections of a process."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wirekey.core.wire.pooled_connection import Origin, PooledConnection


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Limits of idle connections, as counts and seconds. Most providers close an idle one after a minute or more."""

    per_origin: int = 100
    total: int = 256
    idle_seconds: float = 30.0
    max_age: float = 600.0
    """Seconds since a connection was opened, after which it is not reused."""
    opening: int = 32
    """Connections to an origin that are opened at the same time. The next call takes what comes first: a connection
    that another call has ended with, or its turn to open one."""


@dataclass(slots=True)
class PoolCounts:
    """Connections since the start: opened, reused by another client connection, and closed by the pool."""

    opened: int = 0
    reused: int = 0
    closed: int = 0


class ConnectionPool:
    """Holds upstream connections between two requests. One per process.

    A client connection acquires one for its requests and releases it afterwards. A connection in the pool has no
    open request and no unread byte; one that receives a byte or ends is closed and removed.
    """

    def __init__(self, limits: PoolLimits | None = None) -> None:
        self.limits = limits or PoolLimits()
        self.counts = PoolCounts()
        self.generation = 0
        """Raised by `drain`. Connections that were opened in an earlier generation are not reused."""
        self.is_open = True
        self._idle: dict[PooledConnection, asyncio.TimerHandle] = {}
        """With the timer that closes each; the one that is idle for the longest time is first."""
        self._idle_by_origin: dict[Origin, list[PooledConnection]] = {}
        self._opening: Counter[Origin] = Counter()
        """How many connections are being opened. Origins without any are left out: clients choose some hosts."""
        self._waiting: dict[Origin, deque[asyncio.Future[PooledConnection | None]]] = {}
        """The calls that wait for a connection, the first one first. Some may have been cancelled."""

    def __len__(self) -> int:
        """Return the number of idle connections."""
        return len(self._idle)

    def register(self, connection: PooledConnection) -> None:
        """Count a connection that was opened, and mark it with the present generation."""
        self.counts.opened += 1
        connection.generation = self.generation

    def acquire(self, origin: Origin) -> PooledConnection | None:
        """Remove and return an idle connection to `origin`, or None if a new one must be opened.

        The connection used last comes first: it is most likely alive, and the others reach their idle time.
        """
        while found := self._idle_by_origin.get(origin):
            connection = found[-1]
            self._remove(connection)
            if connection.is_reusable and not self._is_too_old(connection):
                self.counts.reused += 1
                return connection
            self._close(connection)
        return None

    async def acquire_or_wait(self, origin: Origin) -> PooledConnection | None:
        """Return an idle connection, or None if the caller must open one, and call `end_opening` afterwards.

        Waits while many connections are being opened. Opening costs more than a request: a burst of calls that each
        opened one would all be served at its end.
        """
        while True:
            if connection := self.acquire(origin):
                return connection
            if self._opening[origin] < self.limits.opening:
                self.begin_opening(origin)
                return None
            waiter: asyncio.Future[PooledConnection | None] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(origin, deque()).append(waiter)
            try:
                connection = await waiter
            except asyncio.CancelledError:
                if not waiter.cancelled():
                    self._return(origin, waiter.result())
                raise
            if connection is None or connection.is_reusable:
                return connection
            self._close(connection)

    def is_wanted(self, origin: Origin) -> bool:
        """Return whether a call waits for a connection."""
        return origin in self._waiting

    def begin_opening(self, origin: Origin) -> None:
        """Count a connection that is being opened."""
        self._opening[origin] += 1

    def end_opening(self, origin: Origin) -> None:
        """Allow the next call to open a connection, as one was opened or has failed."""
        if waiter := self._next_waiter(origin):
            waiter.set_result(None)
        else:
            self._opening[origin] -= 1
            if not self._opening[origin]:
                del self._opening[origin]

    def release(self, connection: PooledConnection) -> None:
        """Hand a connection to the next call, keep it between two requests, or close it if it cannot be reused."""
        is_current = self.is_open and connection.generation == self.generation
        if not is_current or self._is_too_old(connection) or not connection.is_reusable:
            self._close(connection)
            return
        if waiter := self._next_waiter(connection.origin):
            self.counts.reused += 1
            waiter.set_result(connection)
            return
        same_origin = self._idle_by_origin.get(connection.origin, [])
        if len(same_origin) >= self.limits.per_origin:
            self._evict(same_origin[0])
        if len(self._idle) >= self.limits.total:
            self._evict(next(iter(self._idle)))
        self._idle_by_origin.setdefault(connection.origin, []).append(connection)
        connection.on_close = self._evict
        loop = asyncio.get_running_loop()
        self._idle[connection] = loop.call_later(self.limits.idle_seconds, self._evict, connection)

    def drain(self) -> None:
        """Close all idle connections, and those in use when they are released."""
        self.generation += 1
        for connection in list(self._idle):
            self._evict(connection)

    async def close(self) -> None:
        """Close the pool. No idle connection is left when this returns."""
        self.is_open = False
        idle = list(self._idle)
        for connection in idle:
            self._remove(connection)
            connection.abort()
        for connection in idle:
            await connection.state_changed.wait()

    def _next_waiter(self, origin: Origin) -> asyncio.Future[PooledConnection | None] | None:
        waiting = self._waiting.get(origin)
        while waiting:
            waiter = waiting.popleft()
            if not waiting:
                del self._waiting[origin]
            if not waiter.done():
                return waiter
        return None

    def _return(self, origin: Origin, connection: PooledConnection | None) -> None:
        """Pass on what was given to a call that has been cancelled."""
        self.release(connection) if connection else self.end_opening(origin)

    def _is_too_old(self, connection: PooledConnection) -> bool:
        return time.monotonic() - connection.opened_at > self.limits.max_age

    def _evict(self, connection: PooledConnection) -> None:
        self._remove(connection)
        self._close(connection)

    def _remove(self, connection: PooledConnection) -> None:
        self._idle.pop(connection).cancel()
        connection.on_close = None
        same_origin = self._idle_by_origin[connection.origin]
        same_origin.remove(connection)
        if not same_origin:
            del self._idle_by_origin[connection.origin]

    def _close(self, connection: PooledConnection) -> None:
        self.counts.closed += 1
        connection.close() if self.is_open else connection.abort()
