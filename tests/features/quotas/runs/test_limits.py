"""The limits of a run, reserved and settled as those of quotas."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import pytest
from msgspec.structs import replace

from tests.features.quotas.making import START, Clock
from wirekey.core.errors import Refusal
from wirekey.core.identity.runs import RunRecord
from wirekey.core.shared_state import MemoryState
from wirekey.core.shared_state.sqlite import SqliteState
from wirekey.features.quotas.definition import Quota
from wirekey.features.quotas.enforcement import QuotaEnforcer
from wirekey.features.quotas.estimate import NOTHING, Use
from wirekey.features.quotas.hold import Hold
from wirekey.features.quotas.ledger import Ledger
from wirekey.features.quotas.runs.quota import RunQuotas, applied_to
from wirekey.features.quotas.runs.used import RunUse, reached

RUN = RunRecord(name="nightly", token="0123456789ab", created=datetime.fromtimestamp(START, UTC))
DOLLAR = 10**9


class Run:
    """A run in one process. `limits`: of its record."""

    def __init__(self, ledger=None, **limits) -> None:
        self.clock = Clock()
        self.state = MemoryState(self.clock)
        self.service = QuotaEnforcer(lambda: self.state, ledger, self.clock, self.clock)
        self.quotas = RunQuotas()
        self.record = replace(RUN, **limits)
        self.made = 0

    def hold(self, usd: float | None = 0.5, tokens: int = 1000) -> Hold:
        self.made += 1
        applied = self.quotas.applied("nightly", {"nightly": self.record})
        cost = None if usd is None else round(usd * DOLLAR)
        return Hold(f"{self.made}/1", (applied,), "gpt-5", Use(10, cost, tokens))

    def begin(self, **use) -> Hold:
        hold = self.hold(**use)
        assert self.service.acquire(hold) is None
        return hold

    def end(self, hold: Hold, used: Use | None = None) -> None:
        self.service.settle(hold, hold.use if used is None else used)


@pytest.mark.parametrize(
    ("limits", "calls", "words"),
    [
        ({"budget": DOLLAR}, 2, r"\$1.00 of \$1.00. To extend it: .* runs extend nightly --budget \+5"),
        ({"budget": DOLLAR + 1}, 3, r"\$1.50 of \$1.00. .* --budget"),
        ({"calls": 3}, 3, r"3 calls of 3 calls. .* --calls \+100"),
        ({"tokens": 2500}, 3, r"3,000 tokens of 2,500 tokens. .* --tokens \+1M"),
        ({"budget": 100 * DOLLAR, "calls": 9, "tokens": 1000}, 1, "1,000 tokens of 1,000 tokens"),
    ],
)
def test_calls_are_allowed_until_a_limit_is_reached(limits, calls, words):
    run = Run(**limits)
    for _ in range(calls):
        run.end(run.begin())
    with pytest.raises(Refusal, match=words) as caught:
        run.begin()
    assert (caught.value.status, caught.value.code) == (429, "insufficient_quota")
    assert "The run nightly has used" in caught.value.message


@pytest.mark.parametrize(
    ("limits", "calls"),
    [({"budget": DOLLAR}, 2), ({"calls": 3}, 3), ({"tokens": 2500}, 3)],
)
def test_open_calls_reserve_their_largest_use(limits, calls):
    run = Run(**limits)
    holds = [run.begin() for _ in range(calls)]
    with pytest.raises(Refusal, match="its open calls have reserved what is left") as caught:
        run.begin()
    assert (caught.value.code, caught.value.retry_after) == ("rate_limit_exceeded", 1)
    run.end(holds[0], NOTHING)
    if "calls" not in limits:  # an error of the provider is a call that costs nothing
        run.begin()


@pytest.mark.parametrize("limits", [{"budget": DOLLAR}, {"calls": 2}, {"tokens": 2000}])
def test_an_extended_run_continues_with_what_it_has_used(limits):
    run = Run(**limits)
    for _ in range(2):
        run.end(run.begin())
    with pytest.raises(Refusal):
        run.begin()
    run.record = replace(run.record, **{name: limit * 3 // 2 for name, limit in limits.items()})
    run.end(run.begin())
    with pytest.raises(Refusal):
        run.begin()


def test_a_run_has_no_calls_after_its_time():
    run = Run(ends_at=RUN.created + timedelta(minutes=30))
    run.clock.now += 1799
    run.end(run.begin())
    run.clock.now += 1
    with pytest.raises(Refusal, match=r"run nightly was over at 2026-01-01 00:30 UTC. .* --for \+30m") as caught:
        run.begin()
    assert caught.value.code == "insufficient_quota"
    run.record = replace(run.record, ends_at=RUN.created + timedelta(hours=1))
    run.begin()


def test_a_call_with_retries_counts_once():
    run = Run(calls=2)
    first = run.begin()
    second = run.hold()
    assert run.service.exchange(first, first.use, second) is None
    run.end(second)
    assert [level.spent for level in levels(run)] == [DOLLAR, 1, 2000]


def test_a_call_that_is_not_sent_counts_nothing():
    run = Run(calls=1)
    run.service.settle(run.begin(), None)
    run.end(run.begin())
    with pytest.raises(Refusal):
        run.begin()


def levels(run: Run):
    quota = applied_to(run.record)
    keys = [quota.budget_key(name, period.label) for name, _, period in quota.period_limits(0)]
    return asyncio.run(run.state.levels(keys))


def test_a_run_without_limits_is_counted():
    run = Run()
    for _ in range(3):
        run.end(run.begin())
    assert [level.spent for level in levels(run)] == [3 * DOLLAR // 2, 3, 3000]


def test_a_model_without_a_price_is_refused_if_the_run_has_a_budget():
    Run().begin(usd=None)
    with pytest.raises(Refusal, match=r"The run nightly limits dollars\. Use a model with a price, or a run without"):
        Run(budget=1).begin(usd=None)


def test_a_later_run_of_the_same_name_begins_with_nothing():
    run = Run(calls=1)
    run.end(run.begin())
    run.record = replace(run.record, token="ba9876543210")
    run.end(run.begin())


def test_what_a_run_has_used_survives_a_restart(tmp_path):
    ledger = Ledger(tmp_path / "quotas.db", Clock())
    run = Run(ledger, calls=2)
    run.end(run.begin())
    ledger.close()
    again = Run(Ledger(tmp_path / "quotas.db", Clock()), calls=2)
    again.end(again.begin())
    with pytest.raises(Refusal):
        again.begin()
    again.service.close()


def test_a_quota_that_has_the_name_of_a_run_is_another_one():
    run = Run(budget=DOLLAR)
    quota = Quota("run", "agent", usd_per_day=DOLLAR)
    applied = run.service.applied([quota], {"agent_id": "nightly"})
    hold = run.hold()
    hold.quotas = (*applied, *hold.quotas)
    assert run.service.acquire(hold) is None
    run.end(hold)
    spend, _ = run.service.view.for_policy(hold.quotas)
    assert spend == {"run": {"usd_per_day": 0.5}}
    assert next(iter(run.service.view.rows([quota]))).used == DOLLAR // 2


def test_policies_see_what_is_left_of_a_run():
    run = Run(budget=DOLLAR, calls=4)
    hold = run.begin()
    run.end(hold)
    spend, remaining = run.service.view.for_policy(hold.quotas)
    assert spend == {"run": {"usd": 0.5, "calls": 1, "tokens": 1000}}
    assert remaining == {"run": {"usd": 0.5, "calls": 3}}


def test_a_run_that_ended_a_moment_ago_has_no_calls():
    with pytest.raises(Refusal) as caught:
        RunQuotas().applied("nightly", MappingProxyType({}))
    assert caught.value.code == "run_ended"


@pytest.mark.parametrize(
    ("limits", "use", "seconds", "words"),
    [
        ({"budget": 5 * DOLLAR}, RunUse(5 * DOLLAR - 1), 0, None),
        ({"budget": 5 * DOLLAR}, RunUse(5 * DOLLAR), 0, "$5.00 of $5.00"),
        ({"calls": 2}, RunUse(0, 3, 0), 0, "3 calls of 2 calls"),
        ({"tokens": 1000}, RunUse(0, 0, 1000), 0, "1,000 tokens of 1,000 tokens"),
        ({"ends_at": RUN.created + timedelta(seconds=9)}, RunUse(), 8, None),
        ({"ends_at": RUN.created + timedelta(seconds=9)}, RunUse(), 9, "its time was over at"),
        ({}, RunUse(10**15, 10**9, 10**12), 10**6, None),
    ],
)
def test_a_limit_that_is_reached_is_named(limits, use, seconds, words):
    found = reached(replace(RUN, **limits), use, RUN.created + timedelta(seconds=seconds))
    assert found == words or (words is not None and found is not None and found.startswith(words))


@pytest.mark.parametrize("seed", range(3))
def test_concurrent_calls_of_two_processes_never_exceed_the_limits_and_one_call(tmp_path, seed):
    """64 sub-agents of one run call in turns, in two processes that share the state of one machine."""
    chance = random.Random(seed)
    print(f"seed {seed}")
    record = replace(RUN, created=datetime.now(UTC), budget=DOLLAR, calls=200, tokens=150_000)
    spent, refused = RunUse(), 0
    largest = DOLLAR // 20, 4000

    async def sub_agent(service: QuotaEnforcer, number: int) -> None:
        nonlocal spent, refused
        for turn in range(8):
            use = Use(10, chance.randint(1, largest[0]), chance.randint(1, largest[1]))
            hold = Hold(f"{id(service)}.{number}.{turn}/1", (applied_to(record),), "gpt-5", use)
            try:
                await service.acquire(hold)
            except Refusal:
                refused += 1
                continue
            await asyncio.sleep(chance.random() / 100)
            used = Use(10, chance.randint(0, use.cost), chance.randint(0, use.all_tokens))
            spent = RunUse(spent.usd + used.cost, spent.calls + 1, spent.tokens + used.all_tokens)
            service.settle(hold, used)

    async def run() -> tuple:
        states = [SqliteState(tmp_path / "shared.db") for _ in range(2)]
        services = [QuotaEnforcer(lambda state=state: state, Ledger(tmp_path / "quotas.db")) for state in states]
        for state in states:
            await state.start()
        await asyncio.gather(*(sub_agent(services[number % 2], number) for number in range(64)))
        for service in services:
            await service.finish()
        applied = applied_to(record)
        keys = [applied.budget_key(name, period.label) for name, _, period in applied.period_limits(0)]
        found = await states[0].levels(keys)
        for state, service in zip(states, services, strict=True):
            service.close()
            await state.close()
        return found

    found = asyncio.run(run())
    assert tuple(level.spent for level in found) == spent
    assert all(level.reserved == 0 for level in found)
    assert refused
    assert spent.usd < DOLLAR + largest[0]
    assert spent.calls <= 200
    assert spent.tokens < 150_000 + largest[1]
