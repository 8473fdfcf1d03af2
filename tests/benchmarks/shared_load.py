"""Clients of the benchmark of the shared state, and a Redis that pauses."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from typing import TYPE_CHECKING

from tests.benchmarks.load import Target, connect, read_chunks, request

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.redis_server import RedisServer

PAUSE, PAUSED_EVERY = 0.2, 2.0
CODE = re.compile(rb'"code": ?"([^"]+)"')
SENT = re.compile(rb'"sent":"(\d+)"')


class Client:
    """Calls over one connection that is kept, and counts what becomes of the calls."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.outcomes: Counter[str] = Counter()
        self.spans: list[tuple[int, int]] = []
        """When the provider sent the first and the last event of each call that had a duration. Nanoseconds."""

    async def connect(self) -> None:
        self.reader, self.writer = await connect(self.target, self.target.context())

    def close(self) -> None:
        self.writer.close()

    async def call(self, duration: float) -> str:
        """Make a call that takes the provider so many seconds. Return `ok`, or the code of the refusal."""
        if duration:
            self.writer.write(request(self.target, stream=True, events=2, pace=duration))
        else:
            self.writer.write(request(self.target))
        status, body = await read_any(self.reader)
        if status == 200:
            outcome = "ok"
            if sent := SENT.findall(body):
                self.spans.append((int(sent[0]), int(sent[-1])))
        else:
            found = CODE.search(body)
            outcome = found[1].decode() if found else str(status)
        self.outcomes[outcome] += 1
        return outcome

    async def call_until(self, until: float, duration: float, pause: float = 0.0) -> None:
        """Call again and again. `pause`: seconds after a refusal."""
        while time.monotonic() < until:
            if await self.call(duration) != "ok":
                await asyncio.sleep(pause)


async def read_any(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read a response of any status. Return its status and its body."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head.split(b" ", 2)[1])
    if b"transfer-encoding: chunked" in head:
        return status, await read_chunks(reader)
    return status, await reader.readexactly(int(head.split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0]))


def outcomes(clients: Iterable[Client]) -> Counter[str]:
    """Return how many calls of all clients had each outcome."""
    return sum((client.outcomes for client in clients), Counter())


def most_at_once(clients: Iterable[Client]) -> int:
    """Return how many calls the provider had at the same time at most."""
    changes = sorted(
        change for client in clients for first, last in client.spans for change in ((first, 1), (last, -1))
    )
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


class Pauses:
    """Lets a Redis pause again and again while it is entered."""

    def __init__(self, redis: RedisServer) -> None:
        self._redis = redis

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._pause())

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _pause(self) -> None:
        while True:
            await asyncio.to_thread(self._redis.ask, "CLIENT", "PAUSE", str(round(PAUSE * 1000)), "ALL")
            await asyncio.sleep(PAUSED_EVERY)
