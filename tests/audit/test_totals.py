"""Totals of the audit record, per time bucket and per group."""

import random
import sqlite3
from dataclasses import astuple
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.recorded_calls import call_of, finish

from wirekey.core.audit.event import event_of
from wirekey.core.audit.filters import Filters, first_id_at
from wirekey.core.audit.schema import INSERT, AuditFileError, open_for_writing
from wirekey.core.audit.sqlite import SqliteAudit
from wirekey.core.audit.sqlite_sums import bin_of
from wirekey.core.audit.sums import CallCounts, Percentiles
from wirekey.core.audit.totals import MAX_GROUPS, totals
from wirekey.core.body import Body
from wirekey.core.call import Agent, Outcome, new_call_id
from wirekey.core.labels import checked
from wirekey.core.operation import Kind, Operation

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = 3600
DAY = 86400


def at(seconds, *, done=True, **more):
    """Return a call so many seconds after noon."""
    moment = NOON.timestamp() + seconds
    call = call_of(id=first_id_at(moment) + new_call_id()[13:], started_at=moment)
    call = finish(call) if done else call
    for name, value in more.items():
        setattr(call, name, value)
    return call


def agent(name):
    return Agent(name)


DENIED = {"outcome": Outcome.DENIED, "usage": None, "cost_usd": None, "ttfb_ms": None}
CALLS = [
    at(0, ttfb_ms=10.0, duration_ms=100.0),
    at(10, agent=agent("bob"), provider="gemini", model="gemini-2.5-pro", ttfb_ms=30.0, duration_ms=300.0),
    at(20, agent=agent("bob"), model=None, **DENIED),
    at(HOUR, outcome=Outcome.TRUNCATED, ttfb_ms=20.0, duration_ms=200.0),
    at(3 * HOUR - 0.001, done=False, agent=None),
]


@pytest.fixture
def recorded(tmp_path):
    def record(calls):
        path = tmp_path / "audit.db"
        database = open_for_writing(path, "commit", 1)
        database.executemany(INSERT, [tuple(event_of(call).values()) for call in calls])
        database.close()
        return path

    return record


def hours(path, by=None, since=NOON, until=NOON + timedelta(hours=3), seconds=HOUR, **more):
    return totals(SqliteAudit(path), since=since, until=until, bucket_seconds=seconds, by=by, **more)


@pytest.mark.parametrize("name", ["quota.raise", "quota.lower", "configuration"])
def test_changes_of_the_operator_are_no_calls(recorded, name):
    operation = Operation(name, Body.NONE, Kind.ADMINISTRATION)
    change = at(30, agent=None, provider=None, operation=operation, usage=None, cost_usd=None)
    path = recorded([*CALLS, change])
    (group,) = [group for group in hours(path, by="agent").groups if group.name is None]
    assert group.sums.counts.calls == 1, "the one in progress"
    assert hours(path).all.counts.calls == len(CALLS)


def test_each_time_bucket_has_its_sums_and_empty_buckets_are_included(recorded):
    found = hours(recorded(CALLS))
    assert [(bucket.start, astuple(bucket.sums.counts)) for bucket in found.buckets] == [
        (NOON, (3, 1, 0, 20, 40, 0.5, 0)),
        (NOON + timedelta(hours=1), (1, 0, 1, 10, 20, 0.25, 0)),
        (NOON + timedelta(hours=2), (1, 0, 0, None, None, None, 0)),
    ]
    assert found.all.counts == CallCounts(5, 1, 1, 30, 60, 0.75)
    assert [bucket.sums.ttfb for bucket in found.buckets] == [
        Percentiles(10.0, 30.0, 30.0),
        Percentiles(20.0, 20.0, 20.0),
        Percentiles(),
    ]
    assert (found.all.ttfb, found.all.duration) == (Percentiles(20.0, 30.0, 30.0), Percentiles(100.0, 300.0, 300.0))
    assert (found.groups, found.other) == ((), None)


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("agent", [("alice", 2, (1, 1, 0)), ("bob", 2, (2, 0, 0)), (None, 1, (0, 0, 1))]),
        ("model", [("gpt-4o-mini", 3, (1, 1, 1)), ("gemini-2.5-pro", 1, (1, 0, 0)), ("gpt-4o", 1, (1, 0, 0))]),
        ("provider", [("openai", 4, (2, 1, 1)), ("gemini", 1, (1, 0, 0))]),
    ],
)
def test_each_group_has_its_sums_in_total_and_per_time_bucket(recorded, by, groups):
    found = hours(recorded(CALLS), by)
    assert [
        (group.name, group.sums.counts.calls, tuple(counts.calls for counts in group.buckets)) for group in found.groups
    ] == groups
    assert found.other is None
    assert found.all.counts.calls == 5
    assert found.groups[0].sums.ttfb.p50 is not None


def test_the_largest_groups_are_named_and_the_others_are_combined(recorded):
    calls = [at(number, agent=agent(f"agent-{number % 25}"), duration_ms=float(number)) for number in range(45)]
    found = hours(recorded(calls), "agent")
    assert len(found.groups) == MAX_GROUPS
    assert {group.sums.counts.calls for group in found.groups} == {2}
    assert (found.other.name, found.other.sums.counts.calls, found.other.sums.duration.p99) == (None, 5, 24.0)
    assert sum(group.buckets[0].calls for group in (*found.groups, found.other)) == 45


@pytest.mark.parametrize(
    ("since", "until", "seconds", "calls", "starts"),
    [
        (0, 3 * HOUR, HOUR, 5, [0, HOUR, 2 * HOUR]),
        (1, 21, HOUR, 2, [0]),
        (0, 20, HOUR, 2, [0]),
        (HOUR, HOUR + 1, HOUR, 1, [HOUR]),
        (0, 2 * HOUR, DAY, 4, [-12 * HOUR]),
        (None, 2 * HOUR, 2 * HOUR, 4, [0]),
        (5 * HOUR, 6 * HOUR, HOUR, 0, [5 * HOUR]),
        (HOUR, 0, HOUR, 0, []),
    ],
)
def test_since_is_inclusive_until_exclusive_and_buckets_start_at_multiples(
    recorded, *, since, until, seconds, calls, starts
):
    begin = None if since is None else NOON + timedelta(seconds=since)
    found = hours(recorded(CALLS), since=begin, until=NOON + timedelta(seconds=until), seconds=seconds)
    assert found.all.counts.calls == calls
    assert [bucket.start for bucket in found.buckets] == [NOON + timedelta(seconds=start) for start in starts]


def test_without_a_beginning_the_first_call_counts_although_its_time_was_set_after_its_id(recorded):
    first = at(0)
    first.started_at += 0.004
    assert hours(recorded([first, at(10)]), since=None).all.counts.calls == 2


@pytest.mark.parametrize(
    ("filters", "calls"),
    [(Filters(agent="bob"), 2), (Filters(outcome="denied"), 1), (Filters(model="gemini-*", since=0.0, until=1.0), 1)],
)
def test_filters_narrow_the_totals(recorded, filters, calls):
    assert hours(recorded(CALLS), filters=filters).all.counts.calls == calls


def test_groups_of_a_label_keep_what_clients_send_apart(recorded):
    search = Agent("alice", labels=(("team", "search"),))
    spoofed = checked([("team", "search")])
    calls = [at(0, agent=search), at(1, agent=search), at(2, header_labels=spoofed), at(3)]
    groups = hours(recorded(calls), by="label:team").groups
    assert {(group.name, group.sums.counts.calls) for group in groups} == {
        ("search", 2),
        ("search (unverified)", 1),
        (None, 1),
    }


@pytest.mark.parametrize("spread", [0.01, 1.0, 3.0])
def test_percentiles_of_many_calls_are_within_six_percent(recorded, spread):
    chance = random.Random(spread)
    times = [chance.lognormvariate(6, spread) for _ in range(5000)]
    found = hours(recorded([at(0, duration_ms=time) for time in times])).all.duration
    for share, percentile in zip((50, 95, 99), astuple(found), strict=True):
        assert percentile == pytest.approx(sorted(times)[5000 * share // 100 - 1], rel=0.0625)


def test_bins_are_ordered_and_cover_any_duration():
    database = sqlite3.connect(":memory:")
    times = [0.0, 0.1, 0.25, 0.26, *(2**power * step for power in range(-2, 30) for step in (1.0, 1.1, 1.9))]
    bins = [database.execute(f"SELECT {bin_of('?1')}", [time]).fetchone()[0] for time in times]
    database.close()
    assert bins == sorted(bins)
    assert len(set(bins)) > 27 * 3


def test_totals_that_cannot_be_computed_are_reported(recorded, tmp_path):
    with pytest.raises(AuditFileError, match="no audit file"):
        hours(tmp_path / "none.db")
    path = recorded([])
    assert hours(path, since=None).buckets == ()
    with pytest.raises(ValueError, match="10800 buckets of 1 s are too many"):
        hours(path, seconds=1)
