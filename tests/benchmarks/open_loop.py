"""Requests that arrive when they arrive, whether or not earlier ones have a response: an open loop.

A latency begins at the time of the arrival, so time in which the load or the proxy falls behind counts.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.benchmarks import load
from tests.benchmarks.load import Target

LIMIT = 10.0
"""Seconds after which a client gives up."""
FAILURES = (OSError, RuntimeError, TimeoutError, asyncio.IncompleteReadError)


@dataclass
class Latencies:
    """Seconds of the requests with a response, and how many had none."""

    whole: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    """Of streams: until the first event."""
    failed: int = 0

    def ms(self, percentile: int) -> float:
        """Return a percentile of the whole responses."""
        return percentile_ms(self.whole, percentile)


def percentile_ms(seconds: list[float], percentile: int) -> float:
    """Return a percentile in milliseconds; NaN without values."""
    if len(seconds) < 2:
        return seconds[0] * 1000 if seconds else float("nan")
    return statistics.quantiles(seconds, n=100, method="inclusive")[percentile - 1] * 1000


def poisson(rate: float, seconds: float, chance: random.Random) -> Iterator[float]:
    """Yield the times of independent arrivals, from 0."""
    at = chance.expovariate(rate)
    while at < seconds:
        yield at
        at += chance.expovariate(rate)


def on_off(rate: float, seconds: float, on: float, off: float, chance: random.Random) -> Iterator[float]:
    """Yield the times of arrivals at `rate` while it is on, with pauses between."""
    began = 0.0
    while began < seconds:
        yield from (began + at for at in poisson(rate, min(on, seconds - began), chance))
        began += on + off


class Clients:
    """Clients of one target. Each keeps its connection, and a new one comes if all are busy."""

    def __init__(self, target: Target) -> None:
        self.target, self.context = target, target.context()
        self.idle: list = []
        self.found = Latencies()

    async def call(self, data: bytes, arrived: float, *, stream: bool) -> None:
        """Send one request, and note its latency."""
        opened = None
        try:
            async with asyncio.timeout(LIMIT):
                opened = self.idle.pop() if self.idle else await load.connect(self.target, self.context)
                reader, writer = opened
                writer.write(data)
                if stream:
                    await reader.readuntil(b"data: ")
                    self.found.first.append(time.monotonic() - arrived)
                    await load.rest_of_stream(reader)
                else:
                    await load.read_answer(reader)
            self.found.whole.append(time.monotonic() - arrived)
            self.idle.append(opened)
        except FAILURES:
            self.found.failed += 1
            if opened:
                opened[1].close()

    async def run(self, times: Iterable[float], requests: list[tuple[bytes, bool]]) -> Latencies:
        """Send a request at each time, in turn one of `requests`, each with whether it is streamed."""
        began, calls = time.monotonic(), []
        for number, at in enumerate(times):
            if (early := began + at - time.monotonic()) > 0:
                await asyncio.sleep(early)
            data, stream = requests[number % len(requests)]
            calls.append(asyncio.create_task(self.call(data, began + at, stream=stream)))
        await asyncio.gather(*calls)
        for _, writer in self.idle:
            writer.close()
        self.idle.clear()
        return self.found
