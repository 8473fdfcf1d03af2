"""The rows of the benchmark: what is measured of each system, against which other, and the goal."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass

from tests.benchmarks import load, proxies
from tests.benchmarks.agent_session import agent_sessions
from tests.benchmarks.comparison import Measurements
from tests.benchmarks.load import Target
from tests.benchmarks.systems import System

type Measure = Callable[[int, Target, float], Awaitable[float]]
"""Gets the process, the target, and the share of the usual requests to make."""

MIB = 1 << 20
STREAM_MIB = 1024


@dataclass(frozen=True)
class Row:
    """One row. The goal is about the ratio to the other system, or about Wirekey's own value."""

    name: str
    unit: str
    against: str
    """The mitmdump that Wirekey is compared with: forward or reverse, with or without "streaming"."""
    way: str
    """How Wirekey is called: forward, gateway or bedrock."""
    measure: Measure
    goal: float
    is_ratio: bool = True
    places: int = 2


async def cpu_ms(pid: int, work: Awaitable[object], count: int) -> float:
    """Return the CPU time of a process, in milliseconds for each of `count` requests or streams."""
    before = proxies.cpu_seconds(pid)
    await work
    return (proxies.cpu_seconds(pid) - before) * 1000 / count


def kept(clients: int, requests: int = 1600) -> Measure:
    """Requests over connections that are kept open."""

    async def measure(pid: int, target: Target, share: float) -> float:
        count = max(1, int(requests * share) // clients) * clients
        return await cpu_ms(pid, load.plain(target, clients, count), count)

    return measure


async def signed(pid: int, target: Target, share: float) -> float:
    """Bedrock requests, each signed by the agent before the measurement, over 16 connections."""
    requests = [load.bedrock_request(target) for _ in range(int(800 * share))]
    return await cpu_ms(pid, load.each_once(target, 16, requests), len(requests))


async def event_streams(pid: int, target: Target, share: float) -> float:
    """Streams of 200 events, as fast as they come, 8 at a time."""
    streams = max(1, int(20 * share)) * 8
    return await cpu_ms(pid, load.event_streams(target, 8, streams, events=200), streams)


def transit(percentile: int) -> Measure:
    """100 streams with an event every 20 ms: the time from an event's sending to its arrival."""

    async def measure(_: int, target: Target, share: float) -> float:
        delays = await load.transit(target, streams=100, events=max(10, int(100 * share)), pace=0.02)
        return statistics.quantiles(delays, n=100)[percentile - 1] * 1000

    return measure


async def cold(pid: int, target: Target, share: float) -> float:
    """A connection, with TLS through the proxy, for each request, from 16 clients."""
    count = int(320 * share)
    return await cpu_ms(pid, load.short_lived(target, 16, count), count)


async def large_requests(pid: int, target: Target, share: float) -> float:
    """Requests of 1 MB over 4 connections."""
    count = int(120 * share)
    return await cpu_ms(pid, load.large_requests(target, 4, count), count)


def sessions(*, stream: bool) -> Measure:
    """Requests of 360 KB, as a coding agent sends them, over 8 connections."""

    async def measure(pid: int, target: Target, share: float) -> float:
        count = max(8, int(240 * share))
        return await cpu_ms(pid, agent_sessions(target, 8, count, stream=stream), count)

    return measure


async def long_stream(pid: int, target: Target, share: float) -> float:
    """One stream of 1 GB. CPU seconds, of the whole even if only a share of it is measured."""
    size = int(STREAM_MIB * share) * MIB
    before = proxies.cpu_seconds(pid)
    received = await load.large_stream(target, size)
    assert received >= size
    return (proxies.cpu_seconds(pid) - before) * STREAM_MIB * MIB / size


async def memory(pid: int, target: Target, share: float) -> float:
    """Resident memory after all other rows and 3200 more requests."""
    await load.plain(target, 64, max(64, int(3200 * share)))
    await asyncio.sleep(1)
    return proxies.memory_mib(pid)


ROWS = (
    Row("forward, 1 client", "ms/request", "forward", "forward", kept(1, 800), 0.80),
    Row("forward, 16 clients", "ms/request", "forward", "forward", kept(16), 0.62),
    Row("forward, 64 clients", "ms/request", "forward", "forward", kept(64), 0.55),
    Row("gateway, 16 clients", "ms/request", "reverse", "gateway", kept(16), 0.64),
    Row("Bedrock, signed again, 16 clients", "ms/request", "forward", "bedrock", signed, 0.75),
    Row("stream of 200 events, forward", "ms/stream", "forward streaming", "forward", event_streams, 0.40),
    Row("stream of 200 events, gateway", "ms/stream", "reverse streaming", "gateway", event_streams, 0.55),
    Row("event transit, 100 streams, p50", "ms", "forward streaming", "forward", transit(50), 0.8, is_ratio=False),
    Row("event transit, 100 streams, p99", "ms", "forward streaming", "forward", transit(99), 15.0, is_ratio=False),
    Row("a connection for each request, forward", "ms/request", "forward", "forward", cold, 0.48),
    Row("request of 1 MB, gateway", "ms/request", "reverse", "gateway", large_requests, 0.90),
    Row("agent's session of 360 KB, gateway", "ms/request", "reverse", "gateway", sessions(stream=False), 1.10),
    Row("the same, streamed, gateway", "ms/request", "reverse streaming", "gateway", sessions(stream=True), 0.70),
    Row("stream of 1 GB, forward", "CPU s", "forward streaming", "forward", long_stream, 0.85),
    Row("memory after load", "MiB", "forward streaming", "forward", memory, 125.0, is_ratio=False, places=0),
)


async def measure_all(
    chosen: list[Row], running: Iterable[System], others: Collection[str], rounds: int, share: float
) -> dict[str, Measurements]:
    """Measure all rows in each round: the systems in one order, and in the next round in the other.

    For each row these are the mitmdump that it is compared with, and the `others` that can be called in its way.
    """
    found = {row.name: Measurements() for row in chosen}
    began = time.monotonic()
    for number in range(-1, rounds):
        for row in chosen:
            compared = [one for one in running if one.name in (row.against, *others) and row.way in one.targets]
            for system in compared[:: -1 if number % 2 else 1]:
                value = await row.measure(system.pid, system.targets[row.way], share)
                if number >= 0:  # the first round warms up
                    found[row.name].note(system.name, value)
        print(f"round {number + 1} of {rounds}, {time.monotonic() - began:.0f} s", file=sys.stderr)
    return found
