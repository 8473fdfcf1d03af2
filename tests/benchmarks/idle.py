"""Connections that are open and idle, as those of many programs are: their memory, and new calls beside them."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from tests.benchmarks import load, proxies, systems
from tests.benchmarks.load import Target
from tests.benchmarks.open_loop import percentile_ms
from tests.benchmarks.scenarios import Figure, Scenario, Start
from tests.benchmarks.systems import Cores, System

MANY = 100_000
AT_ONCE = 32
CALLS = 300
WARM_UP = 20


@contextlib.contextmanager
def direct(folder: Path, port: int, _: Cores) -> Iterator[System]:
    """Start nothing: the provider itself, over TLS."""
    yield System("direct", 0, {"gateway": Target(port, "localhost", port, str(folder / "ca.pem"), tunnel=False)})


@contextlib.contextmanager
def mitmdump(folder: Path, port: int, cores: Cores) -> Iterator[System]:
    """Start mitmdump in reverse mode, streaming."""
    with systems.bare("reverse streaming", folder, port, cores) as running:
        yield replace(running, name="mitmdump")


@contextlib.contextmanager
def wirekey(folder: Path, port: int, cores: Cores) -> Iterator[System]:
    """Start Wirekey as it comes, except that one client may open many connections."""
    with systems.wirekey(folder, port, cores, limits={"connections_per_client": MANY}) as running:
        yield running


PROXIES: Mapping[str, Start] = {"mitmdump": mitmdump, "wirekey": wirekey, "litellm": systems.litellm}
GATEWAYS: Mapping[str, Start] = {"direct": direct, **PROXIES}


def possible(count: int) -> int:
    """Return how many connections to open: `count`, or as many as a proxy with two files for each may have."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(count, (limit - 500) // 2)


async def call(target: Target) -> tuple[float, asyncio.StreamWriter]:
    """Make one call over a new connection. Return its seconds and the connection, which is left open."""
    began = time.monotonic()
    reader, writer = await load.connect(target, target.context())
    writer.write(load.request(target))
    await load.read_answer(reader)
    return time.monotonic() - began, writer


async def opened(target: Target, count: int) -> list[asyncio.StreamWriter]:
    """Open connections with one call each, some at a time."""
    kept, left = [], iter(range(count))

    async def some() -> None:
        for _ in left:
            kept.append((await call(target))[1])

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return kept


async def measure(system: System, share: float, *, count: int) -> Mapping[str, float]:
    """Open connections, and measure the memory and new calls while they are idle."""
    target, count = system.targets["gateway"], possible(max(WARM_UP, int(count * share)))
    kept = await opened(target, WARM_UP)
    before = proxies.memory_of_all_mib(system.pid)
    kept += await opened(target, count)
    await asyncio.sleep(1)
    memory = (proxies.memory_of_all_mib(system.pid) - before) * 1024 / count
    seconds = []
    for _ in range(max(20, int(CALLS * share))):
        taken, writer = await call(target)
        seconds.append(taken)
        writer.close()
        await asyncio.sleep(0.005)
    for writer in kept:
        writer.close()
    return {
        "memory of a connection": memory,
        "new call, p50": statistics.median(seconds) * 1000,
        "new call, p99": percentile_ms(seconds, 99),
    }


FIGURES = (
    Figure("memory of a connection", "KiB", 1),
    Figure("new call, p50", "ms"),
    Figure("new call, p99", "ms"),
)
SCENARIOS = tuple(
    Scenario(f"{count} idle connections", FIGURES, PROXIES, partial(measure, count=count), starts_anew=True)
    for count in (1000, 10000)
)
