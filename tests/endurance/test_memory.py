"""Memory does not grow: over many calls, after many idle connections, and after many streams at once.

All limits are relative to what the same process needed before, so that they hold on any machine. The long form writes
its curve: python -m tests.promises --long --only 7
"""

from __future__ import annotations

import asyncio
import csv
import os
import resource
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.benchmarks import load, proxies
from tests.benchmarks.connections import opened
from tests.benchmarks.load import Target
from tests.endurance.memory import fresh

pytestmark = pytest.mark.alone

CALLS = int(os.environ.get("WIREKEY_MEMORY_CALLS", "4000"))
CONNECTIONS = int(os.environ.get("WIREKEY_MEMORY_CONNECTIONS", "300"))
STREAMS = int(os.environ.get("WIREKEY_MEMORY_STREAMS", "100"))
CURVE = os.environ.get("WIREKEY_MEMORY_CURVE")
"""The file that the curve is written to."""
STEPS = 20
CLIENTS = 16
MOST_GROWTH = 0.05
"""Share by which a process may grow from the middle to the end, or from one round to the next: noise of its memory."""
MIB = 1024 * 1024
SETTLED = 0.5
"""Seconds in which connections that were closed end in the process."""


@pytest.fixture(scope="module", autouse=True)
def open_files():
    """Each connection needs two files in a process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def some_calls(target: Target, count: int) -> int:
    """Make calls: most on kept connections, some on new ones, some that stream. Return how many there were."""
    few = max(1, count // 10 // CLIENTS) * CLIENTS
    most = max(1, count - 2 * few) // CLIENTS * CLIENTS
    await load.plain(target, CLIENTS, most)
    await fresh(target, few)
    await load.event_streams(target, CLIENTS, few, events=10)
    return most + 2 * few


def measured(folder: Path, run: Callable[[Target, Callable[[], float]], Awaitable[None]], **settings) -> None:
    """Run against a Wirekey of its own, with what reads its memory. MiB."""
    with (
        proxies.upstream(folder) as port,
        proxies.wirekey(folder / "wirekey", port, **settings) as (pid, target),
    ):
        asyncio.run(run(target, lambda: proxies.memory_mib(pid)))


def test_memory_does_not_grow_over_many_calls(tmp_path, record_property):
    curve: list[tuple[int, float]] = []

    async def run(target: Target, memory: Callable[[], float]) -> None:
        await some_calls(target, CALLS // 4 if CALLS < 10_000 else 10_000)  # warms up
        made = 0
        curve.append((made, memory()))
        for _ in range(STEPS):
            made += await some_calls(target, CALLS // STEPS)
            curve.append((made, memory()))

    measured(tmp_path, run)
    if CURVE:
        write(Path(CURVE), curve)
    (half, at_half), (made, at_end) = curve[STEPS // 2], curve[-1]
    record_property("calls", made)
    record_property("bytes for each call of the second half", max(0, round((at_end - at_half) * MIB / (made - half))))
    assert at_end <= at_half * (1 + MOST_GROWTH), curve


def write(file: Path, curve: list[tuple[int, float]]) -> None:
    """Write a curve as CSV."""
    with file.open("w", newline="") as content:
        rows = csv.writer(content, lineterminator="\n")
        rows.writerow(["calls", "resident memory in MiB"])
        rows.writerows((made, f"{mib:.1f}") for made, mib in curve)


def test_memory_of_idle_connections_is_used_again(tmp_path, record_property):
    sizes = opened_three_times(tmp_path, CONNECTIONS, stream=False)
    record_property("idle connections", CONNECTIONS)
    assert sizes[2] <= sizes[1] * (1 + MOST_GROWTH), sizes


def test_memory_of_streams_at_once_is_used_again(tmp_path, record_property):
    sizes = opened_three_times(tmp_path, STREAMS, stream=True)
    record_property("streams at once", STREAMS)
    assert sizes[2] <= sizes[1] * (1 + MOST_GROWTH), sizes


def opened_three_times(folder: Path, count: int, *, stream: bool) -> list[float]:
    """Open all connections and close them, three times. Return the memory with all of them open, each time. MiB."""
    sizes: list[float] = []

    async def run(target: Target, memory: Callable[[], float]) -> None:
        for _ in range(3):
            kept = await opened(target, count, stream=stream)
            assert len(kept) == count
            sizes.append(memory())
            for writer in kept:
                writer.close()
            await asyncio.sleep(SETTLED)
            await some_calls(target, 10 * CLIENTS)

    measured(folder, run, gateway=True, limits={"connections_per_client": 2 * count + 100})
    return sizes
