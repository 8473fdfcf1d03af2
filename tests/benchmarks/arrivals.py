"""Calls that arrive by chance and in bursts, and twice as many as a system can serve."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Mapping

from tests.benchmarks import load
from tests.benchmarks.idle import PROXIES
from tests.benchmarks.open_loop import Clients, on_off, poisson
from tests.benchmarks.scenarios import Figure, Scenario
from tests.benchmarks.systems import System

CLIENTS = 32
REQUESTS = 1600
SECONDS = 6.0
ON, OFF = 0.25, 0.75
"""Seconds of a burst, and between two. The rate within a burst is twice the capacity, so the mean is half of it."""
AFTER = 20.0
"""Calls a second when the overload has ended."""


async def measure(system: System, share: float) -> Mapping[str, float]:
    """Measure the capacity in a closed loop, then the latencies of arrivals in multiples of it."""
    target, chance = system.targets["gateway"], random.Random(28)
    requests, seconds = [(load.request(target), False)], max(1.0, SECONDS * share)
    count = max(CLIENTS, int(REQUESTS * share) // CLIENTS * CLIENTS)
    capacity = count / await load.plain(target, CLIENTS, count)
    steady = await Clients(target).run(poisson(capacity / 2, seconds, chance), requests)
    bursts = await Clients(target).run(on_off(capacity * 2, seconds, ON, OFF, chance), requests)
    overload = await Clients(target).run(poisson(capacity * 2, seconds / 2, chance), requests)
    await asyncio.sleep(0.5)
    after = await Clients(target).run(poisson(AFTER, seconds / 2, chance), requests)
    sent = len(overload.whole) + overload.failed
    return {
        "capacity": capacity,
        "Poisson at half of it, p50": steady.ms(50),
        "Poisson at half of it, p99": steady.ms(99),
        "bursts of twice the capacity, p50": bursts.ms(50),
        "bursts of twice the capacity, p99": bursts.ms(99),
        "overload: p99 of responses": overload.ms(99),
        "overload: without a response": overload.failed / sent * 100 if sent else math.nan,
        "after the overload, p99": after.ms(99),
    }


SCENARIO = Scenario(
    "arrivals",
    (
        Figure("capacity", "requests/s", 0),
        Figure("Poisson at half of it, p50", "ms"),
        Figure("Poisson at half of it, p99", "ms"),
        Figure("bursts of twice the capacity, p50", "ms", 1),
        Figure("bursts of twice the capacity, p99", "ms", 1),
        Figure("overload: p99 of responses", "ms", 0),
        Figure("overload: without a response", "%", 1),
        Figure("after the overload, p99", "ms"),
    ),
    PROXIES,
    measure,
)
