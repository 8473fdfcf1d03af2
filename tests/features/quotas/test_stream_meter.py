"""The reservation of a stream grows as it writes, in all states, and the stream ends only if more is refused."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import replace

import pytest
from msgspec import structs

from tests.features.quotas.making import Enforced, usd
from tests.features.quotas.runs.test_limits import RUN
from tests.features.quotas.test_shared import Replica, fleet, redis_server  # noqa: F401  # fixtures
from wirekey.core.errors import Refusal
from wirekey.core.metering.deltas import starts_of
from wirekey.core.operation import Usage
from wirekey.core.shared_state import SharedStateUnavailableError
from wirekey.features.quotas.definition import Applied, Quota, SubjectLimits
from wirekey.features.quotas.estimate import Use
from wirekey.features.quotas.expected_output import CallKind
from wirekey.features.quotas.growth import Growth
from wirekey.features.quotas.hold import Hold
from wirekey.features.quotas.runs.quota import RunQuotas
from wirekey.features.quotas.stream_meter import STEP, StreamMeter

CENT = usd(0.01)
MOST = 100_000
KIND = CallKind("alice", "gpt-5", "responses")


class Reader:
    """A stream whose text is counted."""

    texts = starts_of("text")
    finished = False
    error_type = None
    is_between_events = True

    def __init__(self) -> None:
        self.usage = Usage()
        self.deltas = None

    def write(self, tokens: int) -> None:
        self.deltas.feed(b'"text":"' + b"x" * (3 * tokens) + b'"')


def use_of(tokens: int) -> Use:
    """A token costs a ten thousandth of a cent."""
    return Use(tokens, tokens * CENT // 10_000, tokens)


def growing(name: str, quotas: tuple[Quota, ...], tokens: int, hidden: int = 0) -> Hold:
    growth = Growth(KIND, use_of, MOST, hidden, tokens, use_of(tokens))
    return Hold(name, tuple(Applied(quota, "alice") for quota in quotas), "gpt-5", use_of(MOST), growth)


def budget(tokens: int, **more) -> Quota:
    """A quota whose budget is the cost of so many tokens."""
    return Quota("q", "agent", usd_per_day=use_of(tokens).cost, reserves_expected=True, **more)


def streamed(enforced: Enforced, tokens: int, hidden: int = 0) -> tuple[Hold, Reader, StreamMeter]:
    enforced.made += 1
    hold = growing(f"{enforced.made}/1", enforced.quotas, tokens, hidden)
    assert enforced.service.acquire(hold) is None
    reader = Reader()
    return hold, reader, StreamMeter(enforced.service, hold, hold.growth, reader)


def reserved(enforced: Enforced) -> int:
    """The tokens that are reserved."""
    (level,) = [total for key, total in enforced.state._totals.items() if "usd" in key]
    return level.reserved * 10_000 // CENT


@pytest.mark.parametrize(
    ("expected", "writes", "in_the_end"),
    [
        (1000, [100, 600], 1000),
        (1000, [750], 1750),
        (1000, [750, 500], 1750),
        (1000, [750, 562], 1750),
        (1000, [750, 563], 2313),
        (1000, [5000], 6000),
        (200, [10], 200),
        (200, [150], 1150),
        (1000, [MOST], MOST),
    ],
)
def test_a_reservation_is_extended_by_a_step_before_it_is_used_up(expected, writes, in_the_end):
    enforced = Enforced(budget(MOST))
    hold, reader, meter = streamed(enforced, expected)
    for tokens in writes:
        reader.write(tokens)
        meter.note()
        assert meter.refusal is None
        assert hold.growth.tokens >= min(hold.growth.written, MOST)
    assert reserved(enforced) == hold.growth.tokens == in_the_end
    enforced.service.settle(hold, Use(10, use_of(10).cost, 10))
    assert reserved(enforced) == 0
    assert enforced.service.in_progress == 0


def test_a_stream_ends_when_more_is_refused_and_its_reservation_is_used_up():
    enforced = Enforced(budget(2500))
    _, reader, meter = streamed(enforced, 1000)
    written = 0
    while meter.refusal is None:
        reader.write(50)
        written += 50
        meter.note()
        assert written < 5000
    assert 2500 <= written <= 2500 + STEP
    assert meter.refusal.code == "insufficient_quota"
    assert meter.refusal.message.startswith("The quota q is used up, or reserved by open calls: $0.0025 a day for the")


def test_a_stream_continues_if_another_call_returns_what_it_reserved():
    enforced = Enforced(budget(2000))
    _, reader, meter = streamed(enforced, 1000)
    other, *_ = streamed(enforced, 1000)
    reader.write(900)
    meter.note()
    assert meter.refusal is None, "it has not used up its own reservation"
    enforced.service.settle(other, None)
    reader.write(150)
    meter.note()
    assert meter.refusal is None


def test_a_raise_reaches_a_stream_that_is_open():
    enforced = Enforced(budget(2000))
    _, reader, meter = streamed(enforced, 1000)
    reader.write(1700)
    meter.note()
    assert meter.refusal is None
    enforced.service.use_limits(lambda *_: SubjectLimits(usd_per_day=use_of(9000).cost))
    reader.write(6000)
    meter.note()
    assert meter.refusal is None
    enforced.service.use_limits(Quota.limits_of)
    reader.write(1500)
    meter.note()
    assert meter.refusal is not None, "the raise has ended"
    assert "$0.002 a day" in meter.refusal.message


@pytest.mark.parametrize("is_same_run", [True, False])
def test_an_extended_run_reaches_a_stream_that_is_open(is_same_run):
    record = structs.replace(RUN, budget=use_of(2000).cost, reserve="expected")
    runs, records = RunQuotas(), {RUN.name: record}
    enforced = Enforced()
    enforced.service.latest = lambda applied: runs.latest(applied, records)
    hold = growing("1/1", (), 1000)
    hold.quotas = (runs.applied(RUN.name, records),)
    assert enforced.service.acquire(hold) is None
    reader = Reader()
    meter = StreamMeter(enforced.service, hold, hold.growth, reader)
    token = record.token if is_same_run else "another"
    records[RUN.name] = structs.replace(record, budget=use_of(9000).cost, token=token)
    for _ in range(2):
        reader.write(2500)
        meter.note()
    assert (meter.refusal is None) == is_same_run


def test_reasoning_that_is_not_shown_counts_from_the_beginning():
    enforced = Enforced(budget(MOST))
    hold, reader, meter = streamed(enforced, 5000, hidden=4500)
    reader.write(100)
    meter.note()
    assert (hold.growth.written, hold.growth.tokens) == (4600, 5600)
    reader.usage.output_tokens = 9000
    meter.note()
    assert hold.growth.written == 9000


@pytest.mark.parametrize(
    "ended", [{"finished": True}, {"error_type": "overloaded"}, {"usage": Usage(1, 2, finish_reason="stop")}]
)
def test_a_stream_that_has_ended_itself_is_not_ended(ended):
    enforced = Enforced(budget(500))
    _, reader, meter = streamed(enforced, 1000)
    for name, value in ended.items():
        setattr(reader, name, value)
    reader.write(5000)
    meter.note()
    assert meter.refusal is None


def test_only_quotas_that_reserve_what_is_expected_grow():
    worst = replace(budget(1), name="worst", reserves_expected=False)
    enforced = Enforced(budget(MOST), worst)
    hold, reader, meter = streamed(enforced, 1000)
    reader.write(5000)
    meter.note()
    assert meter.refusal is None
    amounts = {limit.applied.quota.name: limit.budget.amount for limit in hold.budgets}
    assert amounts == {"q": use_of(1000).cost, "worst": use_of(MOST).cost}
    enforced.service.settle(hold, use_of(MOST), use_of(5000))
    spent = {key.split(":")[1]: total.spent for key, total in enforced.state._totals.items()}
    assert spent == {"q": use_of(5000).cost, "worst": use_of(MOST).cost}


@pytest.mark.parametrize("seed", range(3))
def test_64_streams_in_one_process_spend_at_most_the_limit_and_a_step(seed):
    chosen = random.Random(seed)
    enforced = Enforced(budget(40_000))
    live, spent = [], 0
    for _ in range(20_000):
        if len(live) < 64 and chosen.random() < 0.1:
            with contextlib.suppress(Refusal):
                live.append(streamed(enforced, chosen.choice((200, 600, STEP))))
        if not live:
            continue
        hold, reader, meter = chosen.choice(live)
        reader.write(30)
        meter.note()
        if meter.refusal or chosen.random() < 0.01:
            live.remove((hold, reader, meter))
            enforced.service.settle(hold, use_of(MOST), use_of(hold.growth.written))
            spent += hold.growth.written
    spent += sum(hold.growth.written for hold, *_ in live)
    assert 40_000 * 0.9 < spent <= 40_000 + STEP + 64 * 30, "each stream has written 30 tokens when it is refused"


# Several processes.


async def write_all(replica: Replica, name: str, quotas) -> tuple[int, Refusal | None]:
    """Return what one stream wrote until it was ended."""
    hold = growing(name, quotas, 500)
    try:
        await replica.service.acquire(hold)
    except Refusal as refusal:
        return 0, refusal
    reader = Reader()
    meter = StreamMeter(replica.service, hold, hold.growth, reader)
    while meter.refusal is None and hold.growth.written < 20_000:
        reader.write(20)
        meter.note()
        await asyncio.sleep(0.002)
    replica.service.settle(hold, use_of(MOST), use_of(hold.growth.written))
    return hold.growth.written, meter.refusal


async def test_streams_of_several_processes_spend_at_most_the_limit_and_a_step_each(fleet):  # noqa: F811
    quota = budget(20_000)
    replicas = await fleet(quota, replicas=2)
    ended = await asyncio.gather(*(write_all(replicas[n % 2], f"{n}/1", (quota,)) for n in range(16)))
    for replica in replicas:
        await replica.service.finish()
    written = sum(tokens for tokens, _ in ended)
    assert all(refusal is not None for _, refusal in ended)
    assert 20_000 * 0.9 < written <= 20_000 + 16 * STEP
    (key,) = {limit.budget.key for limit in (await limits_of(replicas[0], quota))}
    (level,) = await replicas[0].state.levels([key])
    assert (level.spent, level.reserved) == (use_of(written).cost, 0)


async def limits_of(replica: Replica, quota: Quota):
    from wirekey.features.quotas.limits import budget_limits

    return tuple(budget_limits((Applied(quota, "alice"),), use_of(1), replica.service._clock()))


async def test_an_extension_that_comes_after_the_end_is_returned(fleet):  # noqa: F811
    quota = budget(MOST)
    (replica,) = await fleet(quota, replicas=1)
    hold = growing("1/1", (quota,), 500)
    await replica.service.acquire(hold)
    reader = Reader()
    meter = StreamMeter(replica.service, hold, hold.growth, reader)
    reader.write(5000)
    meter.note()
    assert not hold.growth.extending.done()
    replica.service.settle(hold, use_of(5000))
    await replica.service.finish()
    (key,) = {limit.budget.key for limit in (await limits_of(replica, quota))}
    (level,) = await replica.state.levels([key])
    assert (level.spent, level.reserved) == (use_of(5000).cost, 0)


class Unreachable:
    """A state that stops responding."""

    is_local, is_remote, losses = False, True, None

    def __init__(self, state) -> None:
        self.state, self.fails = state, False

    async def reserve(self, *words):
        if self.fails:
            raise SharedStateUnavailableError("no response")
        return await self.state.reserve(*words)

    def __getattr__(self, name):
        return getattr(self.state, name)


@pytest.mark.parametrize(
    ("on_failure", "code"), [(None, "quota_unavailable"), ("refuse", "quota_unavailable"), ("local", None)]
)
async def test_without_the_shared_state_a_stream_writes_what_it_has_reserved(on_failure, code):
    enforced = Enforced(budget(MOST))
    state = enforced.state = Unreachable(enforced.state)
    enforced.service.on_failure = on_failure
    hold = growing("1/1", enforced.quotas, 1000)
    await enforced.service.acquire(hold)
    reader = Reader()
    meter = StreamMeter(enforced.service, hold, hold.growth, reader)
    state.fails = True
    for _ in range(30):
        assert meter.refusal is None or hold.growth.written >= 1000
        reader.write(100)
        meter.note()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert (meter.refusal and meter.refusal.code) == code


async def test_what_was_extended_is_kept_and_renewed():
    enforced = Enforced(budget(MOST))
    hold, reader, meter = streamed(enforced, 1000)
    reader.write(4000)
    meter.note()
    held = enforced.service._held()
    assert sum(amount for amounts in held.values() for amount in amounts.values()) == use_of(5000).cost
    for _ in range(3):
        enforced.clock.now += 50
        await enforced.service.renew()
    assert reserved(enforced) == 5000
    enforced.service.settle(hold, None)
    assert reserved(enforced) == 0
