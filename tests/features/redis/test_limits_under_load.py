"""Replicas keep their limits, and refuse nothing for Redis, while they are busy and while Redis pauses.

The short form of `python -m tests.benchmarks.shared_state`: three enforcers with the time limits of production in one
event loop, which is late as under many calls, and a Redis that pauses for 200 ms again and again.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from itertools import count

import pytest

from tests.support.redis_server import RedisServer
from wirekey.core.errors import Refusal
from wirekey.core.secret import Secret
from wirekey.features.quotas.definition import NANODOLLARS, Applied, Quota
from wirekey.features.quotas.enforcement import QuotaEnforcer
from wirekey.features.quotas.estimate import Use
from wirekey.features.quotas.hold import Hold
from wirekey.features.redis.state import RedisState

REPLICAS, CLIENTS = 3, 48
SECONDS = 3.0
LATE = 0.06
"""Seconds for which the loop is busy each time: longer than an early version let a step in Redis take."""
PAUSE, PAUSED_EVERY = 0.2, 1.0
NUMBERS = count(1)


class Fleet:
    """Replicas that call against one quota."""

    def __init__(self, server: RedisServer, quota: Quota) -> None:
        self.server, self.quota = server, quota
        self.states = [RedisState(Secret(server.url)) for _ in range(REPLICAS)]
        self.enforcers = [QuotaEnforcer(lambda state=state: state) for state in self.states]
        self.outcomes: Counter[str] = Counter()
        self.in_progress = self.most = 0

    async def call(self, enforcer: QuotaEnforcer, use: Use, seconds: float) -> str:
        hold = Hold(f"{next(NUMBERS)}/1", (Applied(self.quota, "alice"),), "gpt-5", use)
        waiting = enforcer.acquire(hold)
        assert waiting is not None
        try:
            await waiting
        except Refusal as refusal:
            self.outcomes[refusal.code] += 1
            return refusal.code
        self.outcomes["ok"] += 1
        self.in_progress += 1
        self.most = max(self.most, self.in_progress)
        await asyncio.sleep(seconds)
        self.in_progress -= 1
        enforcer.settle(hold, use)
        return "ok"

    async def load(self, use: Use, seconds: float, clients: int = CLIENTS) -> float:
        """Call from all clients at once, for some time. Return how long it was."""
        began = time.monotonic()

        async def client(number: int) -> None:
            while time.monotonic() < began + SECONDS:
                if await self.call(self.enforcers[number % REPLICAS], use, seconds) != "ok":
                    await asyncio.sleep(0.02)

        await asyncio.gather(*(client(number) for number in range(clients)))
        return time.monotonic() - began

    async def close(self) -> None:
        for enforcer, state in zip(self.enforcers, self.states, strict=True):
            await enforcer.finish()
            await state.close()


@pytest.fixture
async def fleet(tmp_path):
    """A function that makes replicas of a quota. Their connections are cold."""
    server = RedisServer(tmp_path)
    made: list[Fleet] = []

    def make(**limits) -> Fleet:
        made.append(Fleet(server, Quota("q", "all", **limits)))
        return made[-1]

    yield make
    for each in made:
        await each.close()
    server.stop()


@pytest.fixture(params=["well", "pausing"])
async def disturbed(request, fleet):
    """A function that keeps the loop late, and lets Redis pause in the second row."""
    tasks: list[asyncio.Task[None]] = []

    async def burden() -> None:
        while True:
            time.sleep(LATE)
            await asyncio.sleep(0.01)

    async def pause(server: RedisServer) -> None:
        while True:
            await asyncio.sleep(PAUSED_EVERY)
            await asyncio.to_thread(server.ask, "CLIENT", "PAUSE", str(round(PAUSE * 1000)), "ALL")

    def begin(server: RedisServer) -> None:
        tasks.append(asyncio.create_task(burden()))
        if request.param == "pausing":
            tasks.append(asyncio.create_task(pause(server)))

    yield begin
    for task in tasks:
        task.cancel()


async def test_no_call_with_a_budget_is_refused(fleet, disturbed):
    replicas = fleet(usd_per_day=100_000 * NANODOLLARS)
    disturbed(replicas.server)
    await replicas.load(Use(10, 1000), 0.02)
    assert set(replicas.outcomes) == {"ok"}


async def test_bursts_after_a_pause_are_not_refused(fleet, disturbed):
    replicas = fleet(usd_per_day=100_000 * NANODOLLARS)
    disturbed(replicas.server)
    for _ in range(2):
        await asyncio.gather(*(replicas.call(replicas.enforcers[n % REPLICAS], Use(10, 1000), 0.0) for n in range(60)))
        await asyncio.sleep(1.5)
    assert set(replicas.outcomes) == {"ok"}


async def test_ten_calls_at_once_are_never_eleven(fleet, disturbed):
    replicas = fleet(concurrent=10)
    disturbed(replicas.server)
    await replicas.load(Use(10, 0), 0.05)
    assert replicas.most == 10


async def test_a_rate_of_requests_is_kept_within_two_percent_of_a_minute(fleet, disturbed):
    limit = 6000
    replicas = fleet(requests_per_minute=limit)
    disturbed(replicas.server)
    elapsed = await replicas.load(Use(10, 0), 0.0)
    assert 0 < replicas.outcomes["ok"] <= limit * elapsed / 60 + limit * 0.02


async def test_a_rate_of_tokens_is_kept_within_two_percent_of_a_minute(fleet, disturbed):
    limit, size = 60_000, 50
    replicas = fleet(tokens_per_minute=limit)
    disturbed(replicas.server)
    elapsed = await replicas.load(Use(size, 0), 0.0)
    assert 0 < size * replicas.outcomes["ok"] <= limit * elapsed / 60 + limit * 0.02 + size
