"""The pool of idle upstream connections, shared by all client connections of a process."""

from __future__ import annotations

import asyncio
import time
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

    def release(self, connection: PooledConnection) -> None:
        """Keep a connection between two requests, or close it if it cannot be reused."""
        is_current = self.is_open and connection.generation == self.generation
        if not is_current or self._is_too_old(connection) or not connection.is_reusable:
            self._close(connection)
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
