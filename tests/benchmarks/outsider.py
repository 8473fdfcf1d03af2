"""The method of an outside harness: one request after the other, all systems in turn, the median of the medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping

from tests.benchmarks import load
from tests.benchmarks.idle import GATEWAYS
from tests.benchmarks.open_loop import percentile_ms
from tests.benchmarks.scenarios import Figure, Scenario
from tests.benchmarks.systems import System

REQUESTS, STREAMS, FEWEST = 200, 60, 10


async def measure(system: System, share: float) -> Mapping[str, float]:
    """Send small requests over one connection, then streams of three events, each after the end of the one before."""
    target, seconds = system.targets["gateway"], []
    reader, writer = await load.connect(target, target.context())
    data = load.request(target)
    for _ in range(max(FEWEST, int(REQUESTS * share))):
        began = time.perf_counter()
        writer.write(data)
        await load.read_answer(reader)
        seconds.append(time.perf_counter() - began)
    writer.close()
    return {
        "response, median": statistics.median(seconds) * 1000,
        "response, p95": percentile_ms(seconds, 95),
        "first token, median": await load.first_bytes(target, max(FEWEST, int(STREAMS * share))) * 1000,
    }


SCENARIO = Scenario(
    "outsider",
    (
        Figure("response, median", "ms", added=True),
        Figure("response, p95", "ms", added=True),
        Figure("first token, median", "ms", added=True),
    ),
    GATEWAYS,
    measure,
)
