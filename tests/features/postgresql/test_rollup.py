"""Totals from the hourly sums of a PostgreSQL database are those that its rows give."""

import asyncio
import contextlib
import random
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from tests.audit.test_reading import id_at
from tests.audit.test_verifying import KEY
from tests.features.postgresql.test_writer import opened
from tests.support.postgres_server import database, postgres
from tests.support.recorded_calls import call_of, finish
from wirekey.core.audit.filters import Filters
from wirekey.core.audit.totals import totals
from wirekey.core.body import Body
from wirekey.core.call import Agent, Outcome
from wirekey.core.operation import Kind, Operation
from wirekey.features.postgresql import rollup as postgres_rollup
from wirekey.features.postgresql import schema as postgres_schema
from wirekey.features.postgresql import totals as postgres_totals
from wirekey.features.postgresql.connection import open_connection
from wirekey.features.postgresql.database import PostgresDatabase
from wirekey.features.postgresql.pruning import prune
from wirekey.features.postgresql.rollup import LIMITS, roll_up, roll_up_all

__all__ = ["database", "postgres"]

RAISE = Operation("quota.raise", Body.NONE, Kind.ADMINISTRATION)

HOUR, DAY = 3600, 86_400
NOW = time.time()
OUTCOMES = (Outcome.COMPLETED, Outcome.DENIED, Outcome.DECLINED, Outcome.UPSTREAM_ERROR, Outcome.CLIENT_CANCELLED)
QUESTIONS = [
    (since, seconds, by)
    for since in (None, 7 * DAY, 4 * DAY + 1234.567, DAY, 1800)
    for seconds, by in ((DAY, None), (4 * HOUR, "agent"), (1000 * DAY, "model"), (HOUR, "provider"), (DAY, "role"))
]


def random_call(chance, age=None):
    """Return a call of the last five days, as it is when its intent is recorded."""
    moment = NOW - (chance.uniform(0, 5 * DAY) if age is None else age)
    name = chance.choice([None, "", "alice", "bob", "=carol", "агент", "d%s'e"])
    call = call_of(
        id=id_at(moment)[:14]
        + f"7{chance.getrandbits(12):03x}-8{chance.getrandbits(12):03x}-{chance.getrandbits(48):012x}",
        started_at=moment,
        model=chance.choice([None, "gpt-4o", "gemini-2.5-pro"]),
        provider=chance.choice(["openai", "gemini"]),
    )
    call.agent = None if name is None else Agent(name, chance.choice(["developer", ""]), "cli")
    return call


def ended(chance, call):
    finish(call, outcome=chance.choice(OUTCOMES))
    call.cost_usd = chance.choice([None, chance.random() / 7, 1e-9, 123.4567])
    call.usage = chance.choice([call.usage, None])
    call.ttfb_ms = chance.choice([None, 0.0, 0.1, 0.25, chance.lognormvariate(4, 2)])
    call.duration_ms = chance.choice([chance.lognormvariate(7, 3), 2.0 ** chance.randrange(-3, 28)])
    return call


async def settled(store):
    while store.waiting:
        await asyncio.sleep(0.001)


async def record(store, chance, count):
    """Record calls, of which some have no intent, and leave some in progress. Return those."""
    in_progress = []
    for _ in range(count):
        call = random_call(chance)
        if chance.random() < 0.3:
            store.record_final(ended(chance, call))
            continue
        await store.record_intent(call)
        if chance.random() < 0.2:
            in_progress.append(call)
        else:
            store.record_outcome(ended(chance, call))
    store.record_final(ended(chance, call_of(operation=RAISE, model=None)))
    await settled(store)
    return in_progress


def answers(url, questions):
    now = datetime.fromtimestamp(NOW, UTC)
    return [
        totals(
            PostgresDatabase(url, Path()),
            since=None if since is None else now - timedelta(seconds=since),
            until=now + timedelta(days=1),
            bucket_seconds=seconds,
            by=by,
            max_groups=3,
        )
        for since, seconds, by in questions
    ]


def same_as_from_rows(url, monkeypatch, questions=QUESTIONS[::6]):
    from_sums = answers(url, questions)
    with monkeypatch.context() as patch:
        patch.setattr(postgres_totals, "summed_span", lambda *_: None)
        for question, found, expected in zip(questions, from_sums, answers(url, questions), strict=True):
            assert found == expected, question
    return from_sums[0].all.counts.calls


def roll(url, most, times):
    """Add up to `times` portions. Return whether there may be more."""
    with contextlib.closing(open_connection(url)) as connection:
        return all(roll_up(connection, most) for _ in range(times))


def value(url, statement):
    with contextlib.closing(open_connection(url)) as connection:
        return connection.execute(statement).fetchone()[0]


@pytest.mark.parametrize("seed", range(2))
async def test_totals_are_the_same_over_writers_restarts_and_prune(database, tmp_path, monkeypatch, seed):
    chance = random.Random(seed)
    stores = {name: opened(database, tmp_path, name) for name in "abc"}
    seen = []
    for step in range(8):
        name = chance.choice("abc")
        in_progress = await record(stores[name], chance, 40)
        seen.append(same_as_from_rows(database, monkeypatch))
        roll(database, chance.choice([1, 7, 1000]), chance.choice([1, 3, 10]))
        seen.append(same_as_from_rows(database, monkeypatch))
        for call in in_progress[::2]:
            stores[name].record_outcome(ended(chance, call))
        await settled(stores[name])
        if step % 3 == 1:  # calls that are still in progress become interrupted
            await stores[name].close()
            stores[name] = opened(database, tmp_path, name)
        if step == 4:
            before = value(database, "SELECT count(*) FROM calls")
            assert prune(database, NOW - 3.4 * DAY, KEY) > 0
            assert value(database, "SELECT count(*) FROM calls") < before
        same_as_from_rows(database, monkeypatch)
    for store in stores.values():
        await store.close()
    roll_up_all(database, threading.Event())
    assert not roll(database, 1000, 1)
    assert same_as_from_rows(database, monkeypatch, QUESTIONS) > 0
    assert len(set(seen)) > 6


@pytest.mark.parametrize("by", [None, "agent"], ids=["all", "by agent"])
async def test_totals_until_now_read_no_row_that_is_in_the_sums(database, tmp_path, monkeypatch, by):
    """With many calls, the current hour alone would have too many rows."""
    chance, store = random.Random(7), opened(database, tmp_path)
    for age in (*range(1, 60, 5), 2 * HOUR, 30 * HOUR):
        store.record_final(ended(chance, random_call(chance, age)))
    await store.close()
    roll_up_all(database, threading.Event())
    until = time.time() + 1  # as the page asks
    start = until // (4 * HOUR) * 4 * HOUR - 7 * DAY
    question = {"bucket_seconds": 4 * HOUR, "by": by}
    question |= {"since": datetime.fromtimestamp(start, UTC), "until": datetime.fromtimestamp(until, UTC)}
    found = totals(PostgresDatabase(database, tmp_path), **question)
    with PostgresDatabase(database, tmp_path).reading() as connection:
        sums = postgres_totals.PostgresSums(connection, Filters(start, until), range(int(start), int(until), 4 * HOUR))
        read = connection.execute(f"SELECT count(*) FROM ({sums._rows}) AS calls", sums._values).fetchone()
    assert read == (0,)
    monkeypatch.setattr(postgres_totals, "summed_span", lambda *_: None)
    assert found == totals(PostgresDatabase(database, tmp_path), **question)
    assert found.all.counts.calls + found.all.counts.declined == 14


async def test_a_call_that_ends_after_its_hour_was_summed_is_counted_once(database, tmp_path, monkeypatch):
    chance = random.Random(0)
    store = opened(database, tmp_path)
    late, early = random_call(chance, 2 * DAY), random_call(chance, 2 * DAY)
    await store.record_intent(late)
    await store.record_intent(early)
    store.record_outcome(finish(early))
    await settled(store)
    roll_up_all(database, threading.Event())
    assert same_as_from_rows(database, monkeypatch) == 2
    store.record_outcome(finish(late))
    await store.close()
    assert same_as_from_rows(database, monkeypatch) == 2
    roll_up_all(database, threading.Event())
    roll_up_all(database, threading.Event())
    assert same_as_from_rows(database, monkeypatch) == 2
    assert value(database, "SELECT recorded FROM hourly_counts WHERE dimension = 'all'") == 2


async def test_a_portion_that_fails_is_added_whole_by_the_next_run(database, tmp_path, monkeypatch):
    store = opened(database, tmp_path)
    await record(store, random.Random(1), 50)
    await store.close()
    with contextlib.closing(open_connection(database)) as connection:
        connection.execute("ALTER TABLE rolled_up ADD CONSTRAINT never CHECK (seq < 0)")
        with pytest.raises(psycopg.errors.CheckViolation):
            roll_up(connection)
        assert connection.execute("SELECT count(*) FROM hourly_counts").fetchone() == (0,)
        connection.execute("ALTER TABLE rolled_up DROP CONSTRAINT never")
    roll_up_all(database, threading.Event())
    same_as_from_rows(database, monkeypatch)
    assert value(database, "SELECT count(*) FROM hourly_counts") > 0


async def test_several_processes_that_roll_up_at_once_count_each_call_once(database, tmp_path, monkeypatch):
    store = opened(database, tmp_path)
    await record(store, random.Random(2), 300)
    await store.close()

    def keep_rolling():
        while value(database, "SELECT count(*) FROM rolled_up JOIN chain_head USING (writer, seq)") == 0:
            roll(database, 5, 20)

    await asyncio.gather(*(asyncio.to_thread(keep_rolling) for _ in range(3)))
    same_as_from_rows(database, monkeypatch)


async def test_existing_calls_are_added_after_an_upgrade(database, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(postgres_schema, "MIGRATIONS", postgres_schema.MIGRATIONS[:1])
        store = opened(database, tmp_path)
        await record(store, random.Random(3), 60)
        await store.close()
    recorded = same_as_from_rows(database, monkeypatch)
    await opened(database, tmp_path).close()
    roll_up_all(database, threading.Event())
    assert same_as_from_rows(database, monkeypatch) == recorded
    assert value(database, "SELECT sum(recorded) FROM hourly_counts WHERE dimension = 'all'") > 0


async def test_a_running_process_rolls_up_by_itself(database, tmp_path, monkeypatch):
    from wirekey.features.postgresql import writer as module

    monkeypatch.setattr(module, "ROLL_UP_EVERY", 0.0)
    store = opened(database, tmp_path)
    chance = random.Random(4)
    async with asyncio.timeout(60):
        while not value(database, "SELECT count(*) FROM hourly_counts"):
            await record(store, chance, 5)
    await store.close()
    same_as_from_rows(database, monkeypatch)


def test_sums_that_lag_far_behind_are_not_read(database, tmp_path, monkeypatch):
    async def write(seed):
        store = opened(database, tmp_path)
        await record(store, random.Random(seed), 30)
        await store.close()

    asyncio.run(write(5))
    roll_up_all(database, threading.Event())
    asyncio.run(write(6))
    monkeypatch.setattr(postgres_rollup, "MOST_WAITING", 3)
    same_as_from_rows(database, monkeypatch)


def test_bins_begin_where_those_of_a_file_begin():
    import sqlite3

    from wirekey.core.audit.sqlite_sums import bin_of

    connection = sqlite3.connect(":memory:")
    bins = [connection.execute(f"SELECT {bin_of('?1')}", [limit]).fetchone()[0] for limit in LIMITS]
    below = [connection.execute(f"SELECT {bin_of('?1')}", [limit * (1 - 1e-15)]).fetchone()[0] for limit in LIMITS]
    connection.close()
    assert sorted(LIMITS) == LIMITS
    assert below[1:] == bins[:-1]
    assert len(set(bins)) == len(LIMITS)
