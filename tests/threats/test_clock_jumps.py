"""The time of the machine is set while Wirekey runs: by a person, by NTP, or because a virtual machine was resumed."""

from __future__ import annotations

import time

import pytest

from tests.features.quotas.making import usd
from tests.support.redis_server import RedisServer
from wirekey.core.errors import Refusal
from wirekey.core.secret import Secret
from wirekey.core.shared_state import Budget, MemoryState, Rate
from wirekey.core.shared_state.sqlite import SqliteState
from wirekey.features.quotas.definition import Applied, Quota
from wirekey.features.quotas.enforcement import QuotaEnforcer
from wirekey.features.quotas.estimate import Use
from wirekey.features.quotas.hold import Hold
from wirekey.features.quotas.ledger import Ledger
from wirekey.features.redis import scripts as redis_scripts
from wirekey.features.redis.state import RedisState

DAY = 86400.0
YEARS = 3650 * DAY
PATIENT = 5.0
RATE = Rate("calls", 1, limit=60, burst=2)
SCRIPTS = {name: source for name, source in vars(redis_scripts).items() if name.isupper() and name != "CLOCK"}


@pytest.fixture
def set_clock(monkeypatch):
    """Returns a function that sets the time so many seconds ahead, in this process and in the scripts of Redis."""
    true_time = time.time

    def set_clock(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: true_time() + seconds)
        moved = f"{redis_scripts.CLOCK}clock[1] = clock[1] + {seconds:.0f}\n"
        for name, source in SCRIPTS.items():
            monkeypatch.setattr(redis_scripts, name, source.replace(redis_scripts.CLOCK, moved))

    return set_clock


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def state(request, tmp_path):
    server = RedisServer(tmp_path) if request.param == "redis" else None
    if server:
        state = RedisState(Secret(server.url), PATIENT)
    else:
        state = MemoryState() if request.param == "memory" else SqliteState(tmp_path / "shared.db")
    await state.start()
    yield state
    await state.close()
    if server:
        server.stop()


@pytest.fixture
def enforcer(state, tmp_path):
    def now() -> float:
        return time.time()

    service = QuotaEnforcer(lambda: state, Ledger(tmp_path / "quotas.db", now), now)
    yield service
    service.close()


async def spend(enforcer: QuotaEnforcer, number: int, quota: Quota) -> None:
    hold = Hold(f"{number}/1", (Applied(quota, "alice"),), "gpt-5", Use(0, usd(1)))
    waiting = enforcer.acquire(hold)
    if waiting:
        await waiting
    enforcer.settle(hold, Use(0, usd(1)))
    await enforcer.finish()


@pytest.mark.parametrize("jump", [DAY, YEARS])
async def test_R43_a_clock_that_was_ahead_and_is_set_back_locks_nobody_out(state, set_clock, jump):
    set_clock(jump)
    assert [(await state.take([RATE])).allowed for _ in range(3)] == [True, True, False]
    set_clock(0)
    refused = (await state.take([RATE])).levels[0]
    assert refused.retry_after <= 1
    assert refused.reset <= 2
    began = time.monotonic()
    while not (await state.take([RATE])).allowed:
        assert time.monotonic() - began < PATIENT, "refused for much longer than the bucket takes to fill"
        time.sleep(0.05)


async def test_R43_setting_the_clock_back_forgives_no_debt(state, set_clock):
    await state.charge([RATE._replace(amount=62)])
    set_clock(-DAY)
    assert 58 < (await state.take([RATE])).levels[0].retry_after <= 61


async def test_R43_the_place_of_a_process_that_died_returns_after_the_clock_was_set_back(state, set_clock):
    place = Budget("calls", 1, 1, counts_total=False)
    set_clock(YEARS)
    assert (await state.reserve("dead", [place], 0.2)).allowed
    set_clock(0)
    await state.reserve("alive", [place], 0.2)
    set_clock(61)  # Redis knows no other clock: it gives the place back after a minute
    time.sleep(0.3)
    assert (await state.reserve("alive", [place], 0.2)).allowed


@pytest.mark.parametrize("jump", [40 * DAY, YEARS])
async def test_R43_setting_the_clock_forward_and_back_renews_no_budget(enforcer, set_clock, jump):
    quota = Quota("q", "agent", usd_per_month=usd(1))
    await spend(enforcer, 1, quota)
    set_clock(jump)
    await spend(enforcer, 2, quota)  # another month
    assert enforcer.ledger
    enforcer.ledger.forget_ended()
    await enforcer._state().set("any", b"", DAY)  # a step that removes what has expired
    set_clock(0)
    with pytest.raises(Refusal, match="is used up"):
        await spend(enforcer, 3, quota)


def test_R43_a_start_while_the_clock_is_ahead_removes_no_total(tmp_path, set_clock):
    def now() -> float:
        return time.time()

    path = tmp_path / "quotas.db"
    ledger = Ledger(path, now)
    ledger.add("month", 1, time.time() + DAY)
    ledger.close()
    set_clock(YEARS)
    Ledger(path, now).close()
    set_clock(0)
    again = Ledger(path, now)
    assert again.spent("month") == 1
    again.close()
