"""The audit record is listed, searched, summed, exported and followed while it is being written."""

import asyncio
import contextlib
import csv
import io
import json
import os
import time
import tracemalloc
from pathlib import Path

import pytest
from tests.support.recorded_calls import call_of, finish

from wirekey.core.audit.event import NAMES, event_of
from wirekey.core.audit.filters import Filters, first_id_at
from wirekey.core.audit.following import EventFollower
from wirekey.core.audit.reading import (
    NoSuchCallError,
    events,
    latest,
    one,
    write_csv,
    write_jsonl,
)
from wirekey.core.audit.schema import INSERT, open_for_writing
from wirekey.core.audit.sqlite import SqliteAudit
from wirekey.core.audit.store import AuditStore
from wirekey.core.call import Call, Outcome, new_call_id
from wirekey.core.labels import checked

NOON = 1_767_268_800.0
"""2026-01-01 12:00 UTC."""


def id_at(moment):
    return first_id_at(moment) + new_call_id()[13:]


def at(moment, **more):
    return call_of(id=id_at(moment), started_at=moment, **more)


VERIFIED = {
    "labels": (("team", "search"),),
    "header_labels": checked([("session", "s1"), ("team", "ads")]),
}
UNVERIFIED = {"header_labels": checked([("team", "search")])}
CALLS = [
    finish(at(NOON, **VERIFIED), duration_ms=100.0, ttfb_ms=10.0),
    finish(at(NOON + 60, agent="bob", provider="gemini", model="gemini-2.5-pro", **UNVERIFIED), cost_usd=None),
    at(NOON + 120, agent="bob", outcome=Outcome.DENIED, policy_result="deny", status=403),
    finish(at(NOON + 86400), duration_ms=300.0, ttfb_ms=20.0, outcome=Outcome.TRUNCATED),
    at(NOON + 86460),
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.db"


@pytest.fixture
def database(path):
    with contextlib.closing(open_for_writing(path, "commit", 1)) as written:
        written.executemany(INSERT, [tuple(event_of(call).values()) for call in CALLS])
    with SqliteAudit(path).reading() as opened:
        yield opened


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (Filters(), [0, 1, 2, 3, 4]),
        (Filters(since=NOON + 60), [1, 2, 3, 4]),
        (Filters(until=NOON + 60), [0]),
        (Filters(since=-1, until=1e20), [0, 1, 2, 3, 4]),
        (Filters(since=NOON + 1, until=NOON + 86400), [1, 2]),
        (Filters(agent="bob"), [1, 2]),
        (Filters(agent="bob", provider="gemini"), [1]),
        (Filters(model="gemini-*"), [1]),
        (Filters(model="gpt-4o"), [0, 1, 2, 3, 4]),
        (Filters(model="gpt-4o-mini"), [0, 2, 3, 4]),
        (Filters(outcome="denied"), [2]),
        (Filters(outcome="in_progress"), [4]),
        (Filters(agent="' OR 1 --"), []),
        (Filters(labels=(("team", "search"),)), [0, 1]),
        (Filters(labels=(("team", "search (unverified)"),)), [1]),
        (Filters(labels=(("team", "search"), ("session", "s1"))), [0]),
        (Filters(labels=(("team", "' OR 1 --"),)), []),
    ],
)
def test_filters_select_calls(database, filters, found):
    chosen = [event_of(CALLS[place]) for place in found]
    assert list(events(database, filters)) == chosen
    assert latest(database, filters, 2) == chosen[-2:]


@pytest.mark.parametrize("name", ["run", "session", "team"])
def test_a_call_is_found_by_its_run_session_or_team_without_reading_all(database, name):
    where, values = Filters(labels=((name, "x"),)).where(database.dialect)
    plan = database.execute(f"EXPLAIN QUERY PLAN SELECT id FROM calls {where} ORDER BY id DESC", values).fetchall()
    assert f"calls_by_{name}" in str(plan)


def test_a_call_is_found_by_the_start_or_the_end_of_its_id(database):
    event = event_of(CALLS[0])
    assert one(database, event["id"]) == one(database, event["id"][:18]) == event
    assert one(database, event["id"][-12:].upper()) == event


@pytest.mark.parametrize(
    ("part", "says"), [("zzzz", "No call"), ("", "No call"), ("019", "More than one"), ("%", "No")]
)
def test_an_id_that_does_not_match_exactly_one_call_is_refused(database, part, says):
    with pytest.raises(NoSuchCallError, match=says):
        one(database, part)


def test_jsonl_and_csv_have_all_calls_and_all_fields():
    found = [event_of(call) for call in CALLS]
    lines, table = io.StringIO(), io.StringIO(newline="")
    write_jsonl(found, lines)
    assert [json.loads(line) for line in lines.getvalue().splitlines()] == found
    write_csv(found, table)
    rows = list(csv.DictReader(io.StringIO(table.getvalue())))
    assert list(rows[0]) == list(NAMES)
    assert (rows[0]["stream"], rows[0]["simulated"], rows[0]["status"], rows[0]["route"]) == (
        "true",
        "false",
        "200",
        "",
    )
    assert len(rows) == len(CALLS)


@pytest.mark.parametrize("evil", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_csv_cells_cannot_be_formulas(evil):
    table = io.StringIO()
    write_csv([event_of(call_of(model=evil, client=evil))], table)
    (row,) = csv.DictReader(io.StringIO(table.getvalue()))
    assert row["model"] == row["client"] == f"'{evil}"


def test_the_memory_of_an_export_does_not_grow_with_the_calls(path):
    with contextlib.closing(open_for_writing(path, "commit", 1)) as written:
        row = tuple(event_of(finish(call_of())).values())[1:]
        written.executemany(INSERT, ((f"{number:08}", *row) for number in range(5000)))

    with SqliteAudit(path).reading() as database, Path(os.devnull).open("w") as nowhere:
        tracemalloc.start()
        write_jsonl(events(database, Filters()), nowhere)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 500_000


async def test_followers_see_calls_as_they_end(path):
    audit = AuditStore(SqliteAudit(path))
    audit.start()
    old, open_still = call_of(), call_of()
    for call in (old, open_still):
        await audit.record_intent(call)
    audit.record_outcome(finish(old))
    await asyncio.sleep(0.1)
    with SqliteAudit(path).reading() as database:
        await until(lambda: latest(database, Filters(outcome="completed"), 1))
        follower = EventFollower(database, Filters(), before=5)
        bobs = EventFollower(database, Filters(agent="bob"))
        assert follower.look() == [event_of(old)]
        assert follower.look() == []
        new, denied = call_of(), Call(outcome=Outcome.DENIED)
        await audit.record_intent(new)
        assert follower.look() == []
        audit.record_final(denied)
        for call in (open_still, new):
            audit.record_outcome(finish(call))
        seen = []
        await until(lambda: seen.extend(follower.look()) or len(seen) == 3)
        assert seen == sorted(map(event_of, (open_still, new, denied)), key=lambda event: event["id"])
        assert follower.look() == bobs.look() == []
    await audit.close()


async def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
