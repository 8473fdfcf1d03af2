"""Limits are taken before a call is sent and settled when it has ended. The clock is that of the test."""

from __future__ import annotations

import logging
import re
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.features.quotas.making import START, Enforced, usd
from wirekey.core.errors import Refusal
from wirekey.core.shared_state.sqlite import SqliteState
from wirekey.features.quotas import thresholds
from wirekey.features.quotas.definition import Applied, Quota, SubjectLimits
from wirekey.features.quotas.enforcement import QuotaEnforcer
from wirekey.features.quotas.estimate import NOTHING, Use
from wirekey.features.quotas.periods import Calendar


def refused(enforced: Enforced, *, tokens: int = 0, usd: float | None = 0.0, subject: str = "alice") -> Refusal:
    with pytest.raises(Refusal) as caught:
        enforced.call(tokens, usd, subject)
    return caught.value


# Requests and tokens a minute.


def test_requests_are_spread_over_the_minute():
    enforced = Enforced(Quota("q", "agent", requests_per_minute=60))
    enforced.call()
    refusal = refused(enforced)
    assert (refusal.status, refusal.code, refusal.retry_after) == (429, "rate_limit_exceeded", 1)
    assert refusal.message == "The quota q allows 60 requests a minute for the agent alice. Retry in 1 s."
    enforced.clock.now += refusal.retry_after
    enforced.call()


def test_burst_is_what_may_be_used_at_once():
    enforced = Enforced(Quota("q", "agent", requests_per_minute=60, burst=0.5))
    for _ in range(30):
        enforced.call()
    assert refused(enforced).retry_after == 1


def test_each_subject_has_its_own_limit():
    enforced = Enforced(Quota("q", "agent", requests_per_minute=1))
    enforced.call(subject="alice")
    enforced.call(subject="bob")
    assert refused(enforced, subject="bob").retry_after == 60


def test_unused_tokens_are_given_back():
    enforced = Enforced(Quota("q", "agent", tokens_per_minute=6000))
    hold = enforced.call(tokens=3000)
    assert refused(enforced, tokens=120).retry_after == 30
    enforced.end(hold, tokens=100)
    assert refused(enforced, tokens=120).retry_after == 1
    enforced.clock.now += 1
    enforced.call(tokens=120)


def test_a_call_larger_than_the_limit_is_sent_when_nothing_else_is_used_and_delays_the_next():
    enforced = Enforced(Quota("q", "agent", tokens_per_minute=6000))
    enforced.end(enforced.call(tokens=12_000), tokens=12_000)
    assert refused(enforced, tokens=120).retry_after == 120


def test_a_response_longer_than_expected_is_charged_when_it_ends():
    enforced = Enforced(Quota("q", "agent", tokens_per_minute=6000))
    enforced.end(enforced.call(tokens=100), tokens=6000)
    assert refused(enforced, tokens=120).retry_after == 60


@settings(max_examples=4)
@given(
    st.lists(st.tuples(st.integers(1, 1000), st.floats(0, 1), st.floats(0, 0.5)), min_size=64, max_size=64),
    st.integers(20_000, 100_000),
)
def test_in_no_minute_more_than_two_percent_over_the_limit_is_used(clients, limit):
    """64 clients call again as soon as they may. Each has its size, the share that it uses, and its pause."""
    enforced = Enforced(Quota("q", "all", tokens_per_minute=limit))
    used: list[tuple[float, int]] = []
    in_progress: list[tuple[float, object, int]] = []
    while enforced.clock.now < START + 120:
        in_progress.sort(key=lambda entry: entry[0])
        while in_progress and in_progress[0][0] <= enforced.clock.now:
            _, hold, tokens = in_progress.pop(0)
            enforced.end(hold, tokens=tokens)
            used.append((enforced.clock.now, tokens))
        for size, share, pause in clients:
            try:
                hold = enforced.call(tokens=size)
            except Refusal:
                continue
            in_progress.append((enforced.clock.now + pause, hold, int(size * share)))
        enforced.clock.now += 0.5
    for start in range(0, 60, 7):
        minute = sum(tokens for at, tokens in used if START + start <= at < START + start + 60)
        assert minute <= limit * 1.02 + 1000


def test_a_full_minute_can_be_used():
    enforced = Enforced(Quota("q", "all", tokens_per_minute=60_000))
    used = 0
    while enforced.clock.now < START + 60:
        for _ in range(64):
            try:
                enforced.end(enforced.call(tokens=50), tokens=50)
            except Refusal:
                break
            used += 50
        enforced.clock.now += 0.05
    assert 60_000 * 0.98 <= used <= 60_000 * 1.02


# Calls at the same time.


def test_a_call_at_the_limit_of_calls_waits_for_another_to_end():
    enforced = Enforced(Quota("q", "agent", concurrent=2))
    first = enforced.call()
    enforced.call()
    refusal = refused(enforced)
    assert (refusal.status, refusal.code, refusal.retry_after) == (429, "rate_limit_exceeded", 1)
    assert "allows 2 calls at the same time for the agent alice" in refusal.message
    enforced.end(first)
    enforced.call()


async def test_the_place_of_a_long_call_is_kept_as_long_as_it_is_renewed():
    enforced = Enforced(Quota("q", "agent", concurrent=1))
    enforced.call()
    for _ in range(10):
        enforced.clock.now += 50
        await enforced.service.renew()
    refused(enforced)


# Dollars.


def test_a_spent_budget_refuses_without_a_hint_to_retry_until_the_next_day():
    enforced = Enforced(Quota("q", "agent", usd_per_day=usd(1.0)))
    enforced.end(enforced.call(usd=0.6), usd=0.6)
    enforced.end(enforced.call(usd=0.6), usd=0.4)
    refusal = refused(enforced, usd=0.1)
    assert (refusal.status, refusal.code, refusal.retry_after) == (429, "insufficient_quota", None)
    assert refusal.message == (
        "The quota q is used up: $1.00 a day for the agent alice. The next day begins at 2026-01-02 00:00 UTC. "
        "Ask the operator for more."
    )
    enforced.call(usd=0.0)  # a list of models costs nothing
    enforced.clock.now += 86_399
    refused(enforced, usd=0.1)
    enforced.clock.now += 1
    enforced.call(usd=0.1)


def test_a_month_is_that_of_the_time_zone():
    calendar = Calendar(ZoneInfo("America/New_York"), "America/New_York")
    enforced = Enforced(Quota("q", "all", usd_per_month=usd(5.0), calendar=calendar))
    enforced.end(enforced.call(usd=5.0), usd=5.0)
    assert "begins at 2026-01-01 00:00 America/New_York" in refused(enforced, usd=1.0).message
    enforced.clock.now += 5 * 3600
    enforced.call(usd=1.0)


def test_what_calls_in_progress_may_cost_is_reserved():
    enforced = Enforced(Quota("q", "agent", usd_per_day=usd(1.0)))
    hold = enforced.call(usd=1.5)
    refusal = refused(enforced, usd=0.1)
    assert (refusal.code, refusal.retry_after) == ("rate_limit_exceeded", 1)
    assert "open calls have reserved what is left" in refusal.message
    enforced.end(hold, usd=0.2)
    enforced.call(usd=0.1)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 63), st.integers(1, 100_000), st.floats(0, 1)), min_size=100, max_size=400))
def test_64_clients_never_spend_more_than_the_budget_and_one_reservation(steps):
    """Each step ends the call of a client, if it has one, and begins its next."""
    limit, largest = 1_000_000, 100_000
    enforced = Enforced(Quota("q", "all", usd_per_day=limit))
    in_progress: dict[int, tuple[object, int]] = {}
    spent = 0
    for client, cost, share in steps:
        if client in in_progress:
            hold, used = in_progress.pop(client)
            enforced.service.settle(hold, Use(0, used))
            spent += used
        hold = enforced.hold(usd=cost / 1e9)
        try:
            enforced.service.acquire(hold)
        except Refusal:
            continue
        in_progress[client] = hold, int(cost * share)
    spent += sum(used for _, used in in_progress.values())
    assert spent <= limit + largest


@pytest.mark.parametrize(
    ("limits", "words", "lasts"),
    [
        ({"usd_per_hour": usd(1)}, "$1.00 an hour for the agent alice. The next hour begins at 2026-01-01 01:00", 3600),
        ({"usd_per_week": usd(1)}, "$1.00 a week for the agent alice. The next week begins at 2026-01-05", 4 * 86_400),
        ({"usd_lifetime": usd(1)}, "$1.00 in total for the agent alice. Ask the operator for more.", None),
        ({"tokens_per_day": 900}, "900 tokens a day for the agent alice. The next day begins at 2026-01-02", 86_400),
        ({"tokens_lifetime": 900}, "900 tokens in total for the agent alice. Ask", None),
        ({"requests_per_hour": 2}, "2 requests an hour for the agent alice. The next hour begins at", 3600),
        ({"requests_lifetime": 2}, "2 requests in total for the agent alice. Ask", None),
    ],
)
def test_a_total_is_used_up_until_its_period_ends(limits, words, lasts):
    enforced = Enforced(Quota("q", "agent", **limits))
    for _ in range(2):
        hold = enforced.hold()
        hold.use = Use(500, usd(0.5), 500)
        assert enforced.service.acquire(hold) is None
        enforced.service.settle(hold, hold.use)

    def admit() -> None:
        hold = enforced.hold()
        hold.use = Use(1, 1, 1)
        enforced.service.acquire(hold)

    with pytest.raises(Refusal, match=re.escape(words)):
        admit()
    enforced.clock.now += (lasts or 100 * 365 * 86_400) - 1
    with pytest.raises(Refusal, match="is used up"):
        admit()
    if lasts:
        enforced.clock.now += 1
        admit()


def test_a_subject_with_an_override_has_limits_of_its_own():
    quota = Quota("q", "agent", usd_per_day=usd(1), overrides={"alice": SubjectLimits(usd_per_day=usd(2))})
    enforced = Enforced(quota)
    for subject, allowed in (("alice", 2), ("bob", 1)):
        for _ in range(allowed):
            enforced.end(enforced.call(usd=1.0, subject=subject), usd=1.0)
        with pytest.raises(Refusal, match=f"is used up: \\${allowed}.00 a day for the agent {subject}"):
            enforced.call(usd=1.0, subject=subject)
    assert {row.subject: row.allowed for row in enforced.service.view.rows([quota])} == {
        "alice": usd(2),
        "bob": usd(1),
    }


def test_a_budget_in_an_override_alone_refuses_models_without_a_price():
    quota = Quota("q", "agent", concurrent=9, overrides={"alice": SubjectLimits(concurrent=9, usd_per_day=usd(2))})
    enforced = Enforced(quota)
    with pytest.raises(Refusal) as caught:
        enforced.call(usd=None, subject="alice")
    assert caught.value.code == "unknown_price"
    enforced.call(usd=None, subject="bob")


def test_a_model_without_a_price_is_refused_unless_the_quota_allows_it():
    enforced = Enforced(Quota("q", "agent", usd_per_day=usd(1.0)))
    refusal = refused(enforced, usd=None)
    assert (refusal.status, refusal.code) == (403, "unknown_price")
    assert "'gpt-5-mini' has no list price" in refusal.message
    allowing = Enforced(Quota("q", "agent", usd_per_day=usd(1.0), refuses_unknown_price=False))
    allowing.end(allowing.call(usd=None))
    Enforced(Quota("q", "agent", requests_per_minute=1)).call(usd=None)


def test_a_warning_is_logged_once_when_a_share_of_a_budget_is_spent(caplog):
    enforced = Enforced(Quota("q", "agent", usd_per_day=usd(1.0), warn_at=(0.5,)))
    for _ in range(4):
        with caplog.at_level(logging.WARNING):
            enforced.end(enforced.call(usd=0.3), usd=0.2)
    assert [record.getMessage() for record in caplog.records] == [
        "60 % of the quota q is spent: usd_per_day 2026-01-01 for the agent alice"
    ]


def test_a_call_that_ends_after_a_raise_warns_of_the_raised_limit(caplog):
    enforced = Enforced(Quota("q", "agent", usd_per_day=usd(1.0), warn_at=(0.5, 1.0)))
    holds = [enforced.call(usd=0.1) for _ in range(2)]
    enforced.service.use_limits(lambda *_: SubjectLimits(usd_per_day=usd(4.0)))
    enforced.end(holds[0], usd=1.2)
    assert not caplog.records
    enforced.end(holds[1], usd=1.2)
    assert [record.getMessage() for record in caplog.records] == [
        "60 % of the quota q is spent: usd_per_day 2026-01-01 for the agent alice"
    ]


def test_the_older_half_of_too_many_totals_is_forgotten(monkeypatch):
    monkeypatch.setattr(thresholds, "MOST_WARNED", 4)
    enforced = Enforced(Quota("q", "agent", usd_per_day=usd(1.0), warn_at=(0.5,)))
    for number in range(5):
        enforced.end(enforced.call(usd=0.6, subject=f"agent-{number}"), usd=0.6)
    assert [key.rpartition("agent-")[2][0] for key, _ in enforced.service.warnings._warned] == ["3", "4"]


def test_each_share_is_logged_once_and_skipped_ones_are_not(caplog):
    enforced = Enforced(Quota("q", "all", tokens_per_day=100, warn_at=(0.25, 0.5, 0.75, 1.0)))
    with caplog.at_level(logging.WARNING):
        for tokens in (10, 50, 5, 30, 20):
            hold = enforced.hold()
            hold.use = Use(tokens, 0, tokens)
            assert enforced.service.acquire(hold) is None
            enforced.service.settle(hold, hold.use)
    assert [record.getMessage() for record in caplog.records] == [
        f"{share} % of the quota q is spent: tokens_per_day 2026-01-01" for share in (60, 95, 115)
    ]


# Several quotas.


def everything(name: str = "a") -> Quota:
    return Quota(
        name, "agent", requests_per_minute=6, tokens_per_minute=600, concurrent=2, usd_per_day=usd(1), burst=1.0
    )


@pytest.mark.parametrize(
    "exhausted",
    [
        Quota("b", "agent", requests_per_minute=1),
        Quota("b", "agent", tokens_per_minute=100, burst=1.0),
        Quota("b", "agent", concurrent=1),
        Quota("b", "agent", usd_per_day=usd(0.1)),
        Quota("b", "agent", usd_per_month=usd(0.1)),
    ],
)
def test_an_exhausted_quota_takes_nothing_from_the_others(exhausted):
    enforced = Enforced(everything(), exhausted)
    enforced.call(tokens=100, usd=0.1)
    for _ in range(20):
        assert "The quota b " in refused(enforced, tokens=100, usd=0.1).message
    enforced.quotas = (everything(),)
    for tokens in (100, 400):
        enforced.end(enforced.call(tokens=tokens, usd=0.1))


def test_the_first_exhausted_quota_refuses():
    enforced = Enforced(Quota("a", "agent", concurrent=1), Quota("b", "agent", concurrent=1))
    enforced.call()
    assert "The quota a " in refused(enforced).message


# What an attempt gives back.


def test_a_call_that_was_not_sent_gives_everything_back():
    enforced = Enforced(everything())
    for _ in range(50):
        hold = enforced.call(tokens=600, usd=2.0)
        enforced.service.settle(hold, None)


def test_a_further_attempt_reserves_anew_and_is_the_same_request():
    enforced = Enforced(Quota("q", "agent", requests_per_minute=1, concurrent=1, usd_per_day=usd(1)))
    failed = enforced.call(usd=0.4)
    following = enforced.hold(usd=0.9)
    following.number = 2
    assert enforced.service.exchange(failed, failed.use, following) is None
    enforced.end(following, usd=0.1)
    (spent, _), *_ = [(row.used, row.limit) for row in enforced.service.view.rows(enforced.quotas) if row.ends]
    assert spent == usd(0.5)
    assert "requests a minute" in refused(enforced).message


def test_a_further_attempt_can_be_refused():
    enforced = Enforced(Quota("q", "agent", usd_per_day=usd(1), concurrent=1))
    failed = enforced.call(usd=1.0)
    following = enforced.hold(usd=0.9)
    with pytest.raises(Refusal):
        enforced.service.exchange(failed, failed.use, following)
    enforced.service.settle(following, None)
    enforced.call()


def test_a_call_settles_once():
    enforced = Enforced(Quota("q", "agent", usd_per_day=usd(1)))
    hold = enforced.call(usd=0.4)
    enforced.end(hold, usd=0.4)
    enforced.call(usd=0.6)
    refused(enforced, usd=0.1)


# Keys are bounded.


def test_models_without_a_list_price_are_counted_by_name_up_to_a_maximum():
    enforced = Enforced()
    quota = Quota("q", "model")
    subjects = {
        enforced.service.applied((quota,), {"provider": "openai", "requested_model": f"my-model-{number}"})[0].subject
        for number in range(1000)
    }
    assert len(subjects) == 257
    assert "_OTHER" in subjects


def test_names_of_one_model_count_together():
    enforced = Enforced()
    names = ("gpt-4o-mini", "gpt-4o-mini-2024-07-18")
    given = ({"provider": "openai", "requested_model": name} for name in names)
    assert {enforced.service.applied((Quota("q", "model"),), each)[0].subject for each in given} == {"gpt-4o-mini"}


def test_nothing_is_kept_of_calls_that_have_ended():
    enforced = Enforced(everything())
    state = enforced.state

    def kept() -> int:
        return sum(len(value) for value in vars(state).values() if isinstance(value, dict | list))

    for _ in range(2000):
        enforced.clock.now += 20
        enforced.end(enforced.call(tokens=10, usd=0.0001), tokens=10)
    before = kept()
    for _ in range(5000):
        enforced.clock.now += 20
        enforced.end(enforced.call(tokens=10, usd=0.0001), tokens=10)
    assert kept() <= before + 1010
    assert not enforced.service.in_progress


def test_the_policy_sees_what_is_spent_and_what_is_left():
    enforced = Enforced(everything(), Quota("b", "all", usd_per_month=usd(10)))
    hold = enforced.call(tokens=100, usd=0.5)
    enforced.end(hold, tokens=100, usd=0.25)
    enforced.call(tokens=0, usd=0.1)
    spend, remaining = enforced.service.view.for_policy(hold.quotas)
    assert spend == {"a": {"usd_per_day": 0.25}, "b": {"usd_per_month": 0.25}}
    assert remaining == {
        "a": {"usd_per_day": 0.65, "requests_per_minute": 4, "tokens_per_minute": 500, "concurrent": 1},
        "b": {"usd_per_month": 9.65},
    }


def test_before_the_first_call_the_burst_of_a_rate_is_left():
    quota, bursting = Quota("a", "agent", requests_per_minute=6), Quota("b", "agent", requests_per_minute=6, burst=0.5)
    enforced = Enforced(quota, bursting)
    spend, remaining = enforced.service.view.for_policy(tuple(Applied(each, "alice") for each in enforced.quotas))
    assert spend == {"a": {}, "b": {}}
    assert remaining == {"a": {"requests_per_minute": 1}, "b": {"requests_per_minute": 3}}


def test_the_ratio_of_a_quota_is_that_of_its_tightest_limit():
    enforced = Enforced(everything(), Quota("b", "all", usd_per_month=usd(10)), Quota("c", "role", concurrent=1))
    enforced.quotas = enforced.quotas[:2]
    enforced.end(enforced.call(usd=0.9), usd=0.9)
    enforced.end(enforced.call(usd=0.1, subject="bob"), usd=0.1)
    ratios = enforced.service.view.ratios((*enforced.quotas, Quota("c", "role", concurrent=1)))
    assert ratios["a"] == pytest.approx(0.1)
    assert ratios["b"] == pytest.approx(0.91)
    assert ratios["c"] == 1.0


def test_an_attempt_that_the_provider_refused_costs_nothing():
    enforced = Enforced(Quota("q", "agent", usd_per_day=usd(1)))
    enforced.service.settle(enforced.call(usd=1.0), NOTHING)
    enforced.call(usd=1.0)


# Batches, whose cost is charged when their results are read.


def charge(enforced: Enforced, tokens: int, dollars: float, subject: str = "alice") -> None:
    hold = enforced.hold(0, dollars, subject)
    hold.use = Use(0, usd(dollars), tokens)
    assert enforced.service.charge(hold) is None
    assert enforced.service.in_progress == 0


def test_a_charge_counts_beyond_the_limit_and_refuses_the_next_call():
    enforced = Enforced(Quota("q", "agent", usd_per_day=usd(5)))
    charge(enforced, 0, 7)
    assert refused(enforced, usd=0.001).code == "insufficient_quota"
    enforced.call(usd=0.001, subject="bob")
    enforced.clock.now += 86400
    enforced.call(usd=0.001)


def test_a_charge_is_no_request_and_takes_nothing_of_limits_per_minute():
    quota = Quota("q", "agent", requests_per_day=1, requests_per_minute=1, tokens_per_minute=60, concurrent=1)
    enforced = Enforced(quota)
    for _ in range(3):
        charge(enforced, 1000, 1)
    enforced.call(tokens=60)


def test_tokens_of_a_charge_count_in_totals():
    enforced = Enforced(Quota("q", "agent", tokens_per_month=1000))
    charge(enforced, 1000, 1)
    hold = enforced.hold()
    hold.use = Use(0, 0, 1)
    with pytest.raises(Refusal) as caught:
        enforced.service.acquire(hold)
    assert caught.value.code == "insufficient_quota"


async def test_a_charge_that_is_repeated_counts_once_in_a_state_that_processes_share(tmp_path):
    state = SqliteState(tmp_path / "shared.db")
    enforced = Enforced(Quota("q", "agent", usd_per_day=usd(5)))
    enforcer = QuotaEnforcer(lambda: state, clock=lambda: enforced.clock.now)
    try:
        for _ in range(2):
            hold = enforced.hold(0, 3)
            hold.id, hold.use = "batch-1", Use(0, usd(3), 0)
            waiting = enforcer.charge(hold)
            assert waiting
            await waiting
        (level,) = await state.levels([hold.budgets[0].budget.key])
        assert level
        assert level.spent == usd(3)
    finally:
        await state.close()
