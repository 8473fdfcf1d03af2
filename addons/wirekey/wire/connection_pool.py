"""Idle upstream connections, lent to whichever client connection asks next for the same place."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wirekey.wire.pooled_connection import Origin, PooledConnection


@dataclass(frozen=True, slots=True)
class Bounds:
    """Counts of idle connections, and seconds. Providers close idle ones themselves, most after a minute or more."""

    per_place: int = 100
    in_all: int = 256
    idle: float = 30.0
    life: float = 600.0


@dataclass(slots=True)
class Counts:
    """Since the start: connections dialled, lent to another client connection, and closed instead of being lent."""

    new: int = 0
    lent: int = 0
    dropped: int = 0


class ConnectionPool:
    """One per process. What lies here has no holder, no request under way and no byte unread."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self.bounds = bounds or Bounds()
        self.counts = Counts()
        self.generation = 0
        """Connections of an earlier one are not lent: they were dialled by a configuration that is no more."""
        self.is_open = True
        self.idle: dict[PooledConnection, asyncio.TimerHandle] = {}
        """The longest idle one first."""
        self.places: dict[Origin, list[PooledConnection]] = {}

    def __len__(self) -> int:
        return len(self.idle)

    def dialled(self, link: PooledConnection) -> None:
        self.counts.new += 1
        link.generation = self.generation

    def take(self, origin: Origin) -> PooledConnection | None:
        """Give the connection that was used last: the likeliest to be alive, and the others may grow old."""
        while found := self.places.get(origin):
            link = found[-1]
            self._remove(link)
            if link.is_silent and not self._is_old(link):
                self.counts.lent += 1
                return link
            self._drop(link)
        return None

    def give(self, link: PooledConnection) -> None:
        """Take back a connection between two requests. It is closed where it cannot be lent."""
        if not self.is_open or link.generation != self.generation or self._is_old(link) or not link.is_silent:
            self._drop(link)
            return
        alike = self.places.setdefault(link.origin, [])
        if len(alike) >= self.bounds.per_place:
            self._give_up(alike[0])
        if len(self.idle) >= self.bounds.in_all:
            self._give_up(next(iter(self.idle)))
        self.places.setdefault(link.origin, []).append(link)
        link.on_end = self._give_up
        self.idle[link] = asyncio.get_running_loop().call_later(self.bounds.idle, self._give_up, link)

    def renew(self) -> None:
        """Lend none of the present connections any more."""
        self.generation += 1
        for link in list(self.idle):
            self._give_up(link)

    async def close(self) -> None:
        """End the lending: once this returns, no idle connection is left."""
        self.is_open = False
        left = list(self.idle)
        for link in left:
            self._remove(link)
            link.abort()
        for link in left:
            await link.stirred.wait()

    def _is_old(self, link: PooledConnection) -> bool:
        return time.monotonic() - link.begun_at > self.bounds.life

    def _give_up(self, link: PooledConnection) -> None:
        self._remove(link)
        self._drop(link)

    def _remove(self, link: PooledConnection) -> None:
        self.idle.pop(link).cancel()
        link.on_end = None
        alike = self.places[link.origin]
        alike.remove(link)
        if not alike:
            del self.places[link.origin]

    def _drop(self, link: PooledConnection) -> None:
        self.counts.dropped += 1
        link.close() if self.is_open else link.abort()
