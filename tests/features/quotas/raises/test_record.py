"""Which limits raises change, and how the raises of several machines are joined."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from tests.features.quotas.making import Enforced, usd
from wirekey.core.errors import Refusal
from wirekey.features.quotas.definition import UNLIMITED, Quota, SubjectLimits
from wirekey.features.quotas.raises.record import LONGEST, RaiseRecord, decode, encode, merged, raised_limits

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
QUOTA = Quota(
    "q",
    "agent",
    usd_per_day=usd(1),
    usd_per_month=usd(9),
    tokens_per_minute=100,
    tokens_per_hour=1000,
    overrides={"bob": SubjectLimits(usd_per_day=usd(2))},
)


def raised(number: int = 1, **values) -> RaiseRecord:
    usual = {"quota": "q", "created": NOW, "until": NOW + HOUR, "why": "release", "by": "ops"}
    return RaiseRecord(id=f"{number:016x}", **usual | values)


@pytest.mark.parametrize(
    ("raises", "subject", "limits"),
    [
        ([], "alice", {"usd_per_day": usd(1), "usd_per_month": usd(9)}),
        ([raised(usd=usd(5))], "alice", {"usd_per_day": usd(6), "usd_per_month": usd(14), "tokens_per_hour": 1000}),
        ([raised(usd=usd(5)), raised(2, usd=usd(1))], "alice", {"usd_per_day": usd(7)}),
        ([raised(usd=usd(5), subject="alice")], "alice", {"usd_per_day": usd(6)}),
        ([raised(usd=usd(5), subject="alice")], "bob", {"usd_per_day": usd(2), "usd_per_month": None}),
        ([raised(usd=usd(5), subject="bob")], "bob", {"usd_per_day": usd(7), "usd_per_month": None}),
        ([raised(usd=usd(5), quota="other")], "alice", {"usd_per_day": usd(1)}),
        ([raised(tokens=50)], "alice", {"usd_per_day": usd(1), "tokens_per_hour": 1050, "tokens_per_minute": 100}),
        ([raised(number, tokens=2**50) for number in range(9)], "alice", {"tokens_per_hour": UNLIMITED}),
    ],
)
def test_a_raise_adds_to_all_totals_of_its_kind(raises, subject, limits):
    found = raised_limits(QUOTA, subject, raises)
    assert {name: getattr(found, name) for name in limits} == limits


@pytest.mark.parametrize(
    ("record", "at", "is_active"),
    [
        (raised(), NOW, True),
        (raised(), NOW + HOUR - timedelta(microseconds=1), True),
        (raised(), NOW + HOUR, False),
        (raised(ended_at=NOW), NOW, False),
    ],
)
def test_a_raise_is_in_force_until_it_ends(record, at, is_active):
    assert record.is_active(at) is is_active


def test_an_end_on_one_machine_holds_on_all_and_none_begins_again():
    begun, ended = raised(recorded=True), raised(ended_at=NOW)
    for own, others in (([begun], [ended]), ([ended], [begun])):
        (found,) = merged(own, others, NOW)
        assert not found.is_active(NOW)
    assert merged([begun], [ended], NOW)[0].recorded, "each machine notes its own"
    assert not merged([], [begun], NOW)[0].recorded
    assert merged([begun], [], NOW, is_shared=True) == (replace(begun, recorded=False),)
    assert merged([ended], [begun], NOW + HOUR) == (), "over"
    assert merged([], [raised(until=NOW + LONGEST + HOUR)], NOW) == (), "longer than a command allows"


def test_raises_are_stored_and_what_is_not_valid_is_refused():
    raises = (raised(usd=5), raised(2, subject="alice", tokens=3, ended_at=NOW))
    assert decode(encode(raises)) == raises
    for wrong in (b"{", b'{"raises": [{"id": "x"}]}', b'{"version": 1, "more": 2}'):
        with pytest.raises(ValueError, match="not a valid list of raises"):
            decode(wrong)
    with pytest.raises(ValueError, match="not a valid list of raises"):
        decode(encode((raised(why="\x1b]0;shown in a terminal"),)))


def test_a_raise_allows_more_at_once_and_what_was_used_counts_when_it_has_ended():
    quota = Quota("q", "agent", usd_per_day=usd(1))
    enforced, raises = Enforced(quota), [raised(usd=usd(1), subject="alice")]
    (applied,) = enforced.service.applied([quota], {"agent_id": "alice"})

    def call():
        hold = enforced.hold(usd=1.0)
        hold.quotas = (applied,)
        enforced.service.acquire(hold)
        enforced.end(hold, usd=1.0)

    call()
    with pytest.raises(Refusal, match=r"\$1.00 a day"):
        call()
    enforced.service.use_limits(lambda quota, subject: raised_limits(quota, subject, raises))
    call()
    assert [(row.allowed, row.used) for row in enforced.service.view.rows([quota])] == [(usd(2), usd(2))]
    with pytest.raises(Refusal, match=r"\$2.00 a day"):
        call()
    raises.clear()
    enforced.service.use_limits(lambda quota, subject: raised_limits(quota, subject, raises))
    with pytest.raises(Refusal, match=r"\$1.00 a day"):
        call()
