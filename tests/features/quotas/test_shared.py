"""Processes that share a state enforce one limit together. Each row runs with SQLite and with a real Redis.

More processes and calls: WIREKEY_QUOTA_CALLS=2000 .venv/bin/pytest tests/features/quotas/test_shared.py
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from itertools import count

import pytest
from click.testing import CliRunner

from tests.features.quotas.making import usd
from tests.support.redis_server import RedisServer
from wirekey.cli.main import group
from wirekey.core.errors import Refusal
from wirekey.core.secret import Secret
from wirekey.core.shared_state.sqlite import SqliteState
from wirekey.features.quotas import enforcement
from wirekey.features.quotas.definition import Applied, Quota
from wirekey.features.quotas.enforcement import QuotaEnforcer
from wirekey.features.quotas.estimate import Use
from wirekey.features.quotas.hold import Hold
from wirekey.features.quotas.ledger import Ledger
from wirekey.features.redis.state import RedisState

PATIENT = 5.0
SECONDS = float(os.environ.get("WIREKEY_QUOTA_SECONDS", "1.5"))
CALLS = int(os.environ.get("WIREKEY_QUOTA_CALLS", "200"))
"""How many calls use up the budget of the test with three processes."""


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


class Replica:
    """A process: its enforcer, its state, and the ledger of its machine."""

    numbers = count(1)

    def __init__(self, state, ledger: Ledger, *quotas: Quota) -> None:
        self.state, self.quotas, self.ledger = state, quotas, ledger
        self.service = QuotaEnforcer(lambda: state, ledger)

    async def call(self, tokens: int = 0, usd_: float = 0.0) -> Hold:
        applied = tuple(Applied(quota, "alice") for quota in self.quotas)
        hold = Hold(f"{next(self.numbers)}/1", applied, "gpt-5", Use(tokens, usd(usd_)))
        waiting = self.service.acquire(hold)
        assert waiting is not None
        await waiting
        return hold

    async def end(self, hold: Hold, tokens: int = 0, usd_: float = 0.0) -> None:
        self.service.settle(hold, Use(tokens, usd(usd_)))
        await self.service.finish()

    async def refused(self, **use) -> Refusal:
        with pytest.raises(Refusal) as caught:
            await self.call(**use)
        return caught.value


@pytest.fixture(params=["sqlite", "redis"])
async def fleet(request, tmp_path):
    """Returns a function that starts replicas. Those with SQLite are workers of one machine."""
    started: list[Replica] = []
    server = request.getfixturevalue("redis_server") if request.param == "redis" else None
    if server:
        server.empty()

    async def start(*quotas: Quota, replicas: int = 2) -> list[Replica]:
        for number in range(replicas):
            state = RedisState(Secret(server.url), PATIENT) if server else SqliteState(tmp_path / "shared.db")
            await state.start()
            place = tmp_path / (f"quotas-{number}.db" if server else "quotas.db")
            started.append(Replica(state, Ledger(place), *quotas))
        return started

    yield start
    for replica in started:
        await replica.service.finish()
        await replica.state.close()
        replica.service.close()


async def test_a_budget_is_that_of_all_processes(fleet):
    one, two = await fleet(Quota("q", "agent", usd_per_month=usd(1)))
    await one.end(await one.call(usd_=0.6), usd_=0.6)
    await two.end(await two.call(usd_=0.4), usd_=0.4)
    for replica in (one, two):
        assert (await replica.refused(usd_=0.1)).code == "insufficient_quota"


async def test_reservations_are_those_of_all_processes(fleet):
    one, two = await fleet(Quota("q", "agent", usd_per_month=usd(1)))
    hold = await one.call(usd_=1.0)
    assert (await two.refused(usd_=0.1)).retry_after == 1
    await one.end(hold, usd_=0.1)
    await two.call(usd_=0.1)


async def test_calls_at_the_same_time_are_those_of_all_processes(fleet):
    one, two = await fleet(Quota("q", "agent", concurrent=1))
    hold = await one.call()
    assert "calls at the same time" in (await two.refused()).message
    await one.end(hold)
    await two.call()


async def test_rates_are_those_of_all_processes(fleet):
    one, two = await fleet(Quota("q", "agent", requests_per_minute=1, tokens_per_minute=100_000))
    hold = await one.call(tokens=10)
    assert "1 requests a minute" in (await two.refused(tokens=10)).message
    one.service.settle(hold, None)
    await one.service.finish()
    await two.call(tokens=10)


async def test_three_processes_use_no_more_than_two_percent_over_the_tokens_of_a_minute(fleet):
    """24 clients call again as soon as they may. A whole minute: WIREKEY_QUOTA_SECONDS=60."""
    limit, size = 60_000, 50
    replicas = await fleet(Quota("q", "all", tokens_per_minute=limit), replicas=3)
    used = dict.fromkeys(replicas, 0)
    began = time.monotonic()

    async def use(replica: Replica) -> None:
        while time.monotonic() < began + SECONDS:
            try:
                hold = await replica.call(tokens=size)
            except Refusal:
                await asyncio.sleep(0.01)
            else:
                used[replica] += size
                await replica.end(hold, tokens=size)

    await asyncio.gather(*(use(replica) for replica in replicas * 8))
    elapsed = time.monotonic() - began
    assert all(used.values())
    assert sum(used.values()) <= limit * elapsed / 60 + limit * 0.02 + size


async def test_an_exhausted_quota_takes_nothing_from_the_others(fleet):
    one, two = await fleet(
        Quota("a", "agent", concurrent=2, usd_per_day=usd(1)), Quota("b", "all", requests_per_minute=1)
    )
    hold = await one.call(usd_=0.9)
    for _ in range(5):
        assert "The quota b " in (await two.refused(usd_=0.01)).message
    await one.end(hold, usd_=0.1)
    assert [level.reserved for level in await one.state.levels([hold.budgets[1].budget.key]) if level] == [0]


async def test_the_reservations_of_a_dead_process_return(fleet, monkeypatch):
    dead, alive = await fleet(Quota("q", "agent", concurrent=1, usd_per_day=usd(1)))
    await dead.call(usd_=1.0)
    await alive.refused(usd_=0.1)
    monkeypatch.setattr(enforcement, "LEASE", 0.05)
    await dead.service.renew()  # for the last time
    monkeypatch.undo()
    await asyncio.sleep(0.1)
    await alive.call(usd_=0.1)


async def test_a_reservation_that_is_renewed_stays(fleet, monkeypatch):
    monkeypatch.setattr(enforcement, "LEASE", 1.5)
    one, two = await fleet(Quota("q", "agent", concurrent=1))
    await one.call()
    monkeypatch.undo()
    await one.service.renew()
    await asyncio.sleep(2)
    await two.refused()


async def test_a_further_attempt_takes_over_the_place_of_the_one_that_failed(fleet):
    one, _ = await fleet(Quota("q", "agent", concurrent=1, usd_per_day=usd(1)))
    failed = await one.call(usd_=0.4)
    following = Hold("next/2", failed.quotas, "gpt-5", Use(0, usd(0.2)), number=2)
    await one.service.exchange(failed, failed.use, following)
    await one.end(following, usd_=0.1)
    (level,) = await one.state.levels([following.budgets[1].budget.key])
    assert (level.spent, level.reserved) == (usd(0.5), 0)


# A server that loses its data, or is away.


async def test_a_server_that_restarts_empty_gets_the_totals_of_all_machines(redis_server, tmp_path):
    redis_server.empty()
    quota = Quota("q", "agent", usd_per_month=usd(1))
    replicas = [
        Replica(RedisState(Secret(redis_server.url), PATIENT), Ledger(tmp_path / f"{number}.db"), quota)
        for number in range(3)
    ]
    for replica, spent in zip(replicas, (0.5, 0.2, 0.2), strict=True):
        await replica.end(await replica.call(usd_=spent), usd_=spent)
    # Each has seen the totals of the others.
    holds = [await replica.call(usd_=0.001) for replica in replicas]
    redis_server.empty()
    for replica, hold in zip(replicas, holds, strict=True):
        await replica.end(hold, usd_=0.001)
        await replica.end(await replica.call(usd_=0.001), usd_=0.001)
    (level,) = await replicas[0].state.levels([holds[0].budgets[0].budget.key])
    assert usd(0.9) <= level.spent <= usd(0.9 + 0.02)
    for replica in replicas:
        await replica.state.close()
        replica.service.close()


@pytest.mark.parametrize(
    ("on_failure", "quota", "sent"),
    [
        (None, Quota("q", "agent", usd_per_day=usd(1)), False),
        ("refuse", Quota("q", "agent", usd_per_day=usd(1)), False),
        ("local", Quota("q", "agent", usd_per_day=usd(1)), True),
        (None, Quota("q", "agent", requests_per_minute=1), True),
        ("refuse", Quota("q", "agent", requests_per_minute=1), False),
        ("local", Quota("q", "agent", requests_per_minute=1), True),
        (None, Quota("q", "agent", concurrent=1), True),
        ("refuse", Quota("q", "agent", concurrent=1), False),
    ],
)
async def test_while_the_server_is_away_calls_are_refused_or_limited_by_each_process(on_failure, quota, sent, tmp_path):
    server = RedisServer(tmp_path)
    replica = Replica(RedisState(Secret(server.url), PATIENT), Ledger(tmp_path / "q.db"), quota)
    replica.service.on_failure = on_failure
    server.stop()
    try:
        if sent:
            await replica.call(usd_=1.0)
            assert (await replica.refused(usd_=1.0)).status == 429
        else:
            assert (await replica.refused(usd_=1.0)).code == "quota_unavailable"
    finally:
        await replica.state.close()
        replica.service.close()


@pytest.mark.parametrize(
    ("quota", "shares"),
    [
        ({"requests_per_minute": 9, "burst": 1.0}, {1: 9, 3: 3}),
        ({"requests_per_minute": 2, "burst": 1.0}, {1: 2, 3: 1}),
        ({"concurrent": 7}, {1: 7, 3: 2}),
        ({"usd_per_day": usd(6)}, {1: 6, 3: 2}),
    ],
    ids=["rate", "rate below one each", "concurrent", "budget"],
)
@pytest.mark.parametrize("replicas", [1, 3])
async def test_while_the_server_is_away_each_replica_enforces_its_share(quota, shares, replicas, tmp_path):
    server = RedisServer(tmp_path)
    quotas = [Quota("limit", "agent", **quota)]
    fleet = []
    for number in range(replicas):
        state = RedisState(Secret(server.url), PATIENT)
        fleet.append(Replica(state, Ledger(tmp_path / f"{number}.db"), *quotas))
        fleet[-1].service.on_failure = "local"
        await state.start()
    for replica in (*fleet, *fleet):
        await replica.service.count_processes()
    server.stop()
    for replica in fleet:
        assert await sent_before_a_refusal(replica, settled="usd_per_day" in quota) == shares[replicas]
        await replica.state.close()
        replica.service.close()


async def sent_before_a_refusal(replica, *, settled: bool) -> int:
    """Return how many calls of one dollar a replica sends until it refuses one. `settled`: each ends at once."""
    for number in range(20):
        try:
            hold = await replica.call(usd_=1)
        except Refusal:
            return number
        if settled:
            replica.service.settle(hold, Use(0, usd(1)))
    return 20


async def test_a_process_that_ends_is_counted_no_longer_and_one_that_dies_expires(fleet, monkeypatch):
    monkeypatch.setattr(enforcement, "COUNTED_FOR", 60.0)
    first, second, third = await fleet(replicas=3)
    for replica in (third, second, first):
        await replica.service.count_processes()
    assert first.service._totals.processes.known == 3
    await second.service.finish()
    await first.service.count_processes()
    assert first.service._totals.processes.known == 2
    monkeypatch.setattr(enforcement, "COUNTED_FOR", 0.05)
    await third.service.count_processes()
    monkeypatch.setattr(enforcement, "COUNTED_FOR", 60.0)
    await asyncio.sleep(0.1)
    await first.service.count_processes()
    assert first.service._totals.processes.known == 1


async def test_what_is_spent_while_the_server_is_away_is_added_when_it_is_back(tmp_path):
    server = RedisServer(tmp_path)
    quota = Quota("q", "agent", usd_per_day=usd(1))
    replica = Replica(RedisState(Secret(server.url), PATIENT), Ledger(tmp_path / "q.db"), quota)
    replica.service.on_failure = "local"
    await replica.end(await replica.call(usd_=0.1), usd_=0.1)
    in_progress = await replica.call(usd_=0.2)
    server.process.send_signal(19)  # SIGSTOP: it keeps what it has
    replica.state._time_limit = 0.05
    try:
        await replica.end(in_progress, usd_=0.2)
        await replica.end(await replica.call(usd_=0.3), usd_=0.3)
    finally:
        server.process.send_signal(18)  # SIGCONT
    replica.state._time_limit = PATIENT
    await asyncio.sleep(1.1)  # the pause after failures
    await replica.service.finish()
    (level,) = await replica.state.levels([in_progress.budgets[0].budget.key])
    assert level.spent == usd(0.6)
    await replica.state.close()
    replica.service.close()
    server.stop()


# Processes of their own.

CLIENTS = """
import asyncio, json, random, sys
from pathlib import Path
from tests.features.quotas.test_shared import *

async def main():
    where, folder, number = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    state = RedisState(Secret(where), PATIENT) if where.startswith("redis") else SqliteState(Path(where))
    await state.start()
    quota = Quota("q", "all", usd_per_day=usd(1), tokens_per_minute=10**9, burst=1.0, requests_per_minute=10**6)
    replica = Replica(state, Ledger(folder / (f"{number}.db" if where.startswith("redis") else "quotas.db")), quota)
    replica.numbers = (f"{number}-{each}" for each in count())
    spent, calls = 0, 0

    async def client(seed):
        nonlocal spent, calls
        chance = random.Random(f"{number}/{seed}")
        while True:
            largest = usd(2 / CALLS)
            try:
                hold = await replica.call(tokens=100, usd_=largest / 1e9)
            except Refusal as refusal:
                if refusal.code == "insufficient_quota":
                    return
                await asyncio.sleep(0.005)
                continue
            await asyncio.sleep(chance.random() / 50)
            used = chance.randrange(largest // 4, largest)
            replica.service.settle(hold, Use(50, used))
            spent, calls = spent + used, calls + 1

    print("ready", flush=True)
    sys.stdin.readline()
    await asyncio.gather(*(client(seed) for seed in range(64 // 3)))
    await replica.service.finish()
    print(json.dumps({"spent": spent, "calls": calls}))
    await state.close()
    replica.service.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("shared", ["sqlite", "redis"])
def test_three_processes_spend_no_more_than_a_dollar_and_one_reservation_for_each_client(shared, request, tmp_path):
    if shared == "redis":
        server = request.getfixturevalue("redis_server")
        server.empty()
        where = server.url
    else:
        where = str(tmp_path / "shared.db")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CLIENTS, where, str(tmp_path), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    results = [json.loads(process.communicate(timeout=120)[0]) for process in processes]
    assert all(result["calls"] for result in results)
    spent = sum(result["spent"] for result in results)
    reservation = usd(2 / CALLS)
    assert usd(1) <= spent <= usd(1) + 63 * reservation
    assert spent <= usd(1) + reservation, "the state is atomic: no more than one reservation is over"


async def test_usage_shows_what_all_machines_have_spent(tmp_path):
    server = RedisServer(tmp_path)
    quota = Quota("daily", "agent", usd_per_day=usd(10))
    for number, spent in enumerate((1.0, 2.5)):
        (tmp_path / str(number)).mkdir()
        state = RedisState(Secret(server.url), PATIENT)
        replica = Replica(state, Ledger(tmp_path / f"{number}/quotas.db"), quota)
        await replica.end(await replica.call(usd_=4.0), usd_=spent)
        await state.close()
        replica.service.close()
    configuration = {
        "state": str(tmp_path / "0"),
        "shared_state": server.url,
        "quotas": [{"name": "daily", "per": "agent", "usd_per_day": 10}],
    }
    file = tmp_path / "wirekey.yaml"
    file.write_text(json.dumps(configuration))

    def usage() -> tuple[float, str]:
        done = CliRunner().invoke(group, ["usage", "--json", "--config", str(file)])
        assert done.exit_code == 0, done.output
        (row,) = json.loads(done.stdout)["budgets"]
        return row["spent_usd"], done.stderr

    assert await asyncio.to_thread(usage) == (3.5, "")
    server.stop()
    spent, warning = await asyncio.to_thread(usage)
    assert spent == 1.0
    assert "only what this machine has spent" in warning
