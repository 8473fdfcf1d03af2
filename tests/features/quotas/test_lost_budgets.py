"""A Redis server that loses its data does not renew budgets: FLUSHALL, a restart without data, one with old data.

The last test runs in processes, under load, and prints its seed. More rounds, or one again:
WIREKEY_LOSS_ROUNDS=20 WIREKEY_LOSS_SEED=7 .venv/bin/pytest -s tests/features/quotas/test_lost_budgets.py
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from itertools import count

import pytest
import redis

from tests.features.quotas.making import usd
from tests.features.quotas.test_shared import PATIENT, Replica
from tests.support.redis_server import RedisServer
from wirekey.core.body import Body
from wirekey.core.errors import Refusal
from wirekey.core.operation import Kind, Operation, Usage
from wirekey.core.secret import Secret
from wirekey.core.shared_state import SharedStateUnavailableError
from wirekey.features.quotas.definition import Quota
from wirekey.features.quotas.estimate import Use, real_use
from wirekey.features.quotas.ledger import Ledger
from wirekey.features.redis.state import PREFIX, RedisState

ROUNDS = int(os.environ.get("WIREKEY_LOSS_ROUNDS", "2"))
SEED = int(os.environ.get("WIREKEY_LOSS_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
CHAT = Operation("chat.completions", Body.JSON, Kind.INFERENCE)
QUOTA = Quota("q", "agent", usd_per_month=usd(1))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
async def start(server, tmp_path):
    """Returns a function that starts a replica with a state folder of its own, or one that was used before."""
    server.empty()
    started: list[Replica] = []
    watching: list[asyncio.Task] = []
    numbers = count()

    async def start(*quotas: Quota, folder: int | None = None) -> Replica:
        number = next(numbers) if folder is None else folder
        state = RedisState(Secret(server.url), PATIENT)
        await state.start()
        replica = Replica(state, Ledger(tmp_path / f"{number}.db"), *(quotas or (QUOTA,)))
        started.append(replica)
        replica.watching = asyncio.create_task(replica.service.maintain())
        watching.append(replica.watching)
        await until(lambda: state.losses.epoch)
        return replica

    yield start
    for task in watching:
        task.cancel()
    for replica in started:
        await replica.state.close()
        replica.service.close()


async def until(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        await asyncio.sleep(0.01)


async def remove(replica: Replica) -> None:
    """End a replica at once, as SIGKILL does."""
    replica.watching.cancel()
    await replica.state.close()


async def spend(replica: Replica, dollars: float) -> None:
    await replica.end(await replica.call(usd_=dollars), usd_=dollars)


async def spent(replica: Replica) -> float:
    """Return what the shared state says was spent of the only budget that it has."""
    (amount,) = (await replica.state.totals()).values()
    return amount / usd(1)


def seen(replica: Replica) -> int:
    """Return the largest total that a replica has seen."""
    losses = replica.state.losses
    return max(map(losses.amount, losses.seen), default=0)


def forget(server: RedisServer, how: str) -> None:
    """Let the server lose its data."""
    if how == "FLUSHALL":
        server.empty()
    else:
        server.stop()
        server.start()


async def test_a_lifetime_total_is_kept_for_longer_than_anyone_asks_for_it_and_restored(start, server):
    quota = Quota("q", "agent", usd_lifetime=usd(1))
    one, two = await start(quota), await start(quota)
    await spend(one, 1.0)
    await until(lambda: seen(two) == usd(1))
    await remove(one)
    for _ in range(2):
        client = redis.Redis.from_url(server.url)
        assert client.pttl(f"{PREFIX}budget:quota:q:usd_lifetime:lifetime:alice:total") > 100 * 365 * 86_400_000
        client.close()
        with pytest.raises(Refusal, match="is used up"):
            await two.call(usd_=0.1)
        epoch = two.state.losses.epoch
        server.empty()
        await until(lambda epoch=epoch: two.state.losses.epoch != epoch)


@pytest.mark.parametrize("how", ["FLUSHALL", "restart"])
async def test_a_budget_that_one_replica_has_used_up_stays_used_up(start, server, how):
    first, second, third = [await start() for _ in range(3)]
    await spend(second, 1.0)
    forget(server, how)
    for replica in (first, third, second):
        refusal = await until_refused(replica)
        assert refusal.code == "insufficient_quota"


def withhold(replica: Replica, *, is_sent: bool) -> None:
    """Let the replica not hear whether its settlements were made: they were if `is_sent`."""
    settle = replica.state.settle

    async def settle_without_reply(reservation, used):
        if not is_sent:
            raise SharedStateUnavailableError("Redis does not respond")
        await settle(reservation, used)
        raise SharedStateUnavailableError("no response in time")

    replica.state.settle = settle_without_reply


async def lose_all(server: RedisServer, *replicas: Replica) -> None:
    """Let the server lose its data, and the replicas restore them and send what is left."""
    before = [replica.state.losses.epoch for replica in replicas]
    server.empty()
    for replica in replicas:
        vars(replica.state).pop("settle", None)
    await until(lambda: all(r.state.losses.epoch != old for r, old in zip(replicas, before, strict=True)))
    for replica in replicas:
        await replica.service.finish()


@pytest.mark.parametrize("others", ["all are there", "one has died"])
@pytest.mark.parametrize("is_sent", [True, False], ids=["made without a reply", "not sent"])
async def test_a_settlement_of_which_nothing_is_known_counts_once_after_a_loss(start, server, is_sent, others):
    one, two, three = [await start() for _ in range(3)]
    await spend(three, 0.2)
    await until(lambda: seen(one) == seen(two) == usd(0.2))
    withhold(one, is_sent=is_sent)
    one.service.settle(await one.call(usd_=0.3), Use(0, usd(0.3)))
    left = [one, two, three]
    if is_sent:
        await until(lambda: seen(one) == seen(two) == seen(three) == usd(0.5))
    if others == "one has died":
        await remove(three)
        left.remove(three)
    await lose_all(server, *left)
    assert await spent(two) == 0.5
    await lose_all(server, *left)
    assert await spent(two) == 0.5


async def test_a_settlement_that_is_restored_twice_counts_once(start, server):
    """The server loses its data again before the process that has restored them hears of it."""
    one, two = await start(), await start()
    withhold(one, is_sent=False)
    one.service.settle(await one.call(usd_=0.3), Use(0, usd(0.3)))
    finish = one.state.losses._finish

    async def finish_without_reply(epoch, known):
        await finish(epoch, known)
        raise SharedStateUnavailableError("no response in time")

    one.state.losses._finish = finish_without_reply
    epoch = two.state.losses.epoch
    server.empty()
    await until(lambda: two.state.losses.epoch != epoch and seen(two) == usd(0.3))
    del one.state.losses._finish
    await lose_all(server, one, two)
    assert await spent(two) == 0.3


async def until_refused(replica: Replica) -> Refusal:
    """Return the first refusal that is for another reason than a server that is away."""
    deadline = time.monotonic() + 30
    while (refusal := await replica.refused(usd_=0.1)).code == "quota_unavailable":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    return refusal


async def test_no_call_passes_before_the_loss_is_noticed(start, server, monkeypatch):
    """The first call finds out, and waits until all replicas have added what they know."""
    monkeypatch.setattr("wirekey.features.quotas.enforcement.WATCHED_EVERY", 0.2)
    first, second, third = [await start() for _ in range(3)]
    for replica in (first, second, third) * 2:
        await replica.service.count_processes()
    await spend(first, 0.4)
    await spend(second, 0.3)
    for _ in range(3):
        server.empty()
        await spend(third, 0.1)
    assert (await third.refused(usd_=0.1)).code == "insufficient_quota"
    assert await spent(first) == 1.0


async def test_what_a_replica_has_spent_that_is_gone_stays_spent(start, server):
    """The others have never used this budget. They read the totals of all."""
    gone, first, second = [await start() for _ in range(3)]
    await spend(gone, 1.0)
    await until(lambda: all(replica.state.losses.seen for replica in (first, second)))
    await remove(gone)
    server.empty()
    for replica in (first, second):
        assert (await replica.refused(usd_=0.1)).code == "insufficient_quota"


async def test_calls_that_clients_cut_stay_charged_at_their_reservations_after_a_loss(start, server):
    """Their events have no cost, or that of a part. The budgets are restored from what was charged, not from events.

    The replica that sent these calls is gone. The others have never used this budget.
    """
    gone, first, second = [await start() for _ in range(3)]
    for usage, cost in ((None, None), (Usage(100, 1), 0.001)):
        hold = await gone.call(usd_=0.5)
        used = real_use(hold.use, CHAT, 200, usage, cost, is_final=False)
        gone.service.settle(hold, used)
        await gone.service.finish()
    await until(lambda: all(seen(replica) == usd(1) for replica in (first, second)))
    await remove(gone)
    server.empty()
    for replica in (first, second):
        assert (await until_refused(replica)).code == "insufficient_quota"
    assert await spent(first) == 1.0


async def test_a_fleet_whose_processes_all_start_again_knows_what_cut_calls_were_charged(start, server):
    """Nothing is left of what they had in memory, and the folder of one of them is gone."""
    gone, restarted = await start(), await start()
    hold = await gone.call(usd_=1.0)
    gone.service.settle(hold, real_use(hold.use, CHAT, 200, None, None, is_final=False))
    await gone.service.finish()
    await until(lambda: seen(restarted) == usd(1))
    for replica in (gone, restarted):
        await remove(replica)
        await asyncio.to_thread(replica.service.close)
    server.empty()
    again = await start(folder=1)
    assert (await until_refused(again)).code == "insufficient_quota"


async def test_a_replica_that_starts_again_after_the_loss_knows_what_the_others_had_spent(start, server):
    gone, restarted = await start(), await start()
    await spend(gone, 0.8)
    await spend(restarted, 0.1)
    await until(lambda: restarted.state.losses.amount(next(iter(restarted.state.losses.seen))) == usd(0.9))
    await asyncio.sleep(0.5)  # twice the time until it is written
    for replica in (gone, restarted):
        await remove(replica)
        replica.service.close()
    server.empty()
    again = await start(folder=1)
    await spend(again, 0.05)
    assert await spent(again) == 0.95


async def test_a_replica_that_comes_late_adds_what_only_it_has_spent(start, server, tmp_path):
    first, late = await start(), await start()
    await spend(late, 0.7)
    await remove(late)
    late.service.close()
    await remove(first)
    server.empty()
    (tmp_path / "5.db").unlink(missing_ok=True)
    newcomer = await start(folder=5)
    await spend(newcomer, 0.1)
    again = await start(folder=1)
    assert await spent(again) == 0.8
    await spend(newcomer, 0.1)
    assert (await again.call(usd_=0.1)).reserved_in
    assert await spent(again) == 0.9


async def test_a_loss_counts_nothing_twice(start, server):
    replicas = [await start() for _ in range(3)]
    for _ in range(4):
        for replica in replicas:
            await spend(replica, 0.01)
        server.empty()
    await spend(replicas[0], 0.01)
    await until(lambda: len({replica.state.losses.epoch for replica in replicas}) == 1)
    assert await spent(replicas[0]) == 0.13


async def test_a_server_that_went_back_to_older_data_is_restored(start, server):
    """As after a restart from a snapshot, or the loss of a master whose replica was late."""
    first, second = await start(), await start()
    await spend(first, 0.2)
    await until(lambda: second.state.losses.changes >= 1)
    (key,) = second.state.losses.seen
    await spend(second, 0.5)
    await spend(first, 0.3)
    server.ask("SET", f"{PREFIX}budget:{key}:total", str(usd(0.2)), "KEEPTTL")
    server.ask("HSET", f"{PREFIX}budgets", "seq", "1")
    assert (await second.refused(usd_=0.1)).code == "insufficient_quota"
    assert await spent(first) == 1.0


async def test_a_total_that_only_the_servers_clock_has_removed_is_not_renewed(start, server):
    first, second = await start(), await start()
    await spend(first, 1.0)
    await until(lambda: second.state.losses.seen)
    (key,) = second.state.losses.seen
    server.ask("DEL", f"{PREFIX}budget:{key}:total")
    assert (await second.refused(usd_=0.1)).code == "insufficient_quota"


async def test_reservations_of_calls_in_progress_survive_a_loss(start, server):
    first, second = await start(), await start()
    for replica in (first, second) * 2:
        await replica.service.count_processes()
    hold = await first.call(usd_=0.9)
    await spend(second, 0.1)
    server.empty()
    assert (await second.refused(usd_=0.1)).retry_after == 1
    await first.end(hold, usd_=0.2)
    await spend(second, 0.1)
    assert await spent(first) == 0.4


async def test_calls_that_were_open_at_a_loss_are_charged_if_nothing_was_spent_before(start, server):
    first, second = await start(), await start()
    for replica in (first, second) * 2:
        await replica.service.count_processes()
    hold, before = await first.call(usd_=1.0), first.state.losses.epoch
    server.empty()
    await until(lambda: first.state.losses.epoch == second.state.losses.epoch != before)
    await first.end(hold, usd_=1.0)
    assert await spent(second) == 1.0
    assert (await second.refused(usd_=0.1)).code == "insufficient_quota"


async def test_calls_at_the_same_time_survive_a_loss(start, server):
    quota = Quota("q", "agent", concurrent=1)
    first, second = await start(quota), await start(quota)
    for replica in (first, second) * 2:
        await replica.service.count_processes()
    await first.call()
    server.empty()
    assert "calls at the same time" in (await second.refused()).message


async def test_a_call_waits_no_longer_than_a_second(start, server, monkeypatch):
    replica = await start()
    monkeypatch.setattr("wirekey.features.redis.losses.GRACE", 30.0)
    replica.service._totals.processes.known = 9  # none of which will come
    replica.watching.cancel()
    server.empty()
    began = time.monotonic()
    assert (await replica.refused(usd_=0.1)).code == "quota_unavailable"
    assert time.monotonic() - began < 10, "the machine is busy, but it must not wait for half a minute"


async def test_the_share_of_each_process_is_right_at_once_after_the_server_is_back(start, server, monkeypatch):
    """The server comes back empty, and goes away again before processes are counted once more."""
    quota = Quota("q", "agent", requests_per_minute=300)
    replicas = [await start(quota) for _ in range(3)]
    for replica in replicas * 2:
        await replica.service.count_processes()
    assert [replica.service._totals.processes.known for replica in replicas] == [3, 3, 3]
    server.stop()
    server.start()
    epochs = {replica.state.losses.epoch for replica in replicas}
    await until(lambda: all(replica.state.losses.epoch not in epochs for replica in replicas))
    for replica in replicas:
        await replica.service.count_processes()
        assert replica.service._totals.processes.known == 3


# Processes of their own, under load.

CLIENTS = """
import asyncio, random, sys
from pathlib import Path
from tests.features.quotas.test_lost_budgets import *
from wirekey.features.quotas.estimate import Use

async def main():
    url, folder, number, limit, largest = sys.argv[1], Path(sys.argv[2]), sys.argv[3], *map(int, sys.argv[4:])
    state = RedisState(Secret(url))
    await state.start()
    quota = Quota("q", "all", usd_per_month=limit)
    replica = Replica(state, Ledger(folder / f"{number}.db"), quota)
    replica.numbers = (f"{number}-{each}" for each in count())
    watching = asyncio.create_task(replica.service.maintain())
    chance = random.Random(number)
    refused = 0

    async def client():
        nonlocal refused
        while True:
            try:
                hold = await replica.call(usd_=largest / usd(1))
            except Refusal as refusal:
                if refusal.code == "insufficient_quota":
                    return
                refused += refusal.code == "quota_unavailable"
                await asyncio.sleep(0.02)
                continue
            await asyncio.sleep(chance.random() / 50)
            used = chance.randrange(largest // 2, largest)
            print("spent", used, flush=True)
            replica.service.settle(hold, Use(50, used))

    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await asyncio.gather(*(client() for _ in range(CLIENTS_EACH)))
    await replica.service.finish()
    print("refused", refused, flush=True)
    watching.cancel()
    await state.close()
    replica.service.close()

asyncio.run(main())
"""
CLIENTS_EACH = 16
LIMIT, LARGEST = usd(1), usd(0.0006)
"""Some 2,200 calls, which take several seconds."""


class Fleet:
    """Three processes under load. What they have spent is read from what they print."""

    def __init__(self, url: str, folder) -> None:
        folder.mkdir()
        self.output = [folder / f"{number}.txt" for number in range(3)]
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-c", CLIENTS, url, str(folder), str(number), str(LIMIT), str(LARGEST)],
                stdin=subprocess.PIPE,
                stdout=self.output[number].open("w"),
                text=True,
            )
            for number in range(3)
        ]

    def begin(self) -> None:
        deadline = time.monotonic() + 60
        while not all(output.read_text().startswith("ready") for output in self.output):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        for process in self.processes:
            assert process.stdin
            process.stdin.write("\n")
            process.stdin.flush()

    def numbers(self, word: str) -> list[int]:
        lines = [line.split() for output in self.output for line in output.read_text().splitlines()]
        return [int(line[1]) for line in lines if line[0] == word and len(line) == 2]

    def spent(self) -> int:
        return sum(self.numbers("spent"))

    def is_over(self) -> bool:
        return all(process.poll() is not None for process in self.processes)

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_fleet_that_loses_a_replica_and_then_its_budgets_spends_no_more_than_one_reservation_for_each_client(
    number, server, tmp_path
):
    seed = SEED + number
    chance = random.Random(seed)
    server.empty()
    fleet = Fleet(server.url, tmp_path / "fleet")
    losses: list[str] = []
    try:
        fleet.begin()
        while fleet.spent() < LIMIT * chance.uniform(0.1, 0.3):
            time.sleep(0.02)
        fleet.processes[0].kill()
        deadline = time.monotonic() + 120
        while not fleet.is_over():
            assert time.monotonic() < deadline, (seed, losses, fleet.spent())
            time.sleep(chance.uniform(0.0, 1.0))
            losses.append(chance.choice(["FLUSHALL", "restart"]))
            forget(server, losses[-1])
    finally:
        fleet.stop()
    spent, clients = fleet.spent(), CLIENTS_EACH * 3
    print(f"seed {seed}: {losses}: ${spent / usd(1):.4f} of $1, {sum(fleet.numbers('refused'))} refused for Redis")
    assert len(losses) > 1
    assert LIMIT <= spent <= LIMIT + clients * LARGEST, (seed, losses)
