"""The record in PostgreSQL keeps what the record in a file keeps: each intent before its call, and each event once."""

import asyncio
import contextlib
import time

import psycopg
import pytest

from tests.audit.test_verifying import KEY, settled
from tests.support.audit_databases import WriterOfTest
from tests.support.postgres_server import database, fragile_postgres, own_postgres, postgres
from tests.support.recorded_calls import call_of, finish
from wirekey.core.audit import store as store_module
from wirekey.core.audit.audit_log import AuditUnavailable
from wirekey.core.audit.event import NAMES, event_of, outcome_values
from wirekey.core.audit.rows import Rows
from wirekey.core.audit.store import AuditStore
from wirekey.core.call import AttemptRecord, Outcome
from wirekey.core.secret import Secret
from wirekey.features.postgresql import schema as postgres_schema
from wirekey.features.postgresql import writer as postgres_module
from wirekey.features.postgresql.connection import may_pass, place_of
from wirekey.features.postgresql.schema import AuditDatabaseError
from wirekey.features.postgresql.spool import SpooledAudit, SpoolFile
from wirekey.features.postgresql.writer import PostgresAudit

__all__ = ["database", "fragile_postgres", "own_postgres", "postgres"]

FAILED = AttemptRecord("api.openai.com", "openai/1", None, "gpt-4o", "status", 429, 12.5)
COLUMNS = ", ".join(NAMES)


def opened(url, tmp_path, owner="a", *, bound=10.0, limit=6.0, spool=False):
    """Start a store. `bound`: seconds for an intent. `limit`: seconds for a step of the database."""

    def open_database():
        database = PostgresAudit(url, owner, durability="commit", limit=limit, key=KEY)
        if not spool:
            database.open()
            return database
        database.connect_patience = 0.05
        return SpooledAudit(database, SpoolFile(tmp_path / f"spool-{owner}.db"), owner)

    store = AuditStore(WriterOfTest(open_database, place_of(url), bound))
    store.start()
    return store


@pytest.fixture
async def audit(database, tmp_path):
    store = opened(database, tmp_path)
    yield store
    await store.close()


def rows(url):
    with contextlib.closing(psycopg.connect(url.reveal())) as connection:
        found = connection.execute(f"SELECT {COLUMNS} FROM wirekey.calls").fetchall()
    return {row[0]: dict(zip(NAMES, row, strict=True)) for row in found}


async def test_calls_of_a_process_that_died_are_interrupted_by_the_next_one_of_its_folder_only(database, tmp_path):
    first, other = opened(database, tmp_path), opened(database, tmp_path, "b")
    dead, running = call_of(), call_of()
    await first.record_intent(dead)
    await other.record_intent(running)
    next_one = opened(database, tmp_path)  # while the session of the first is still there
    assert {call_id: row["outcome"] for call_id, row in rows(database).items()} == {
        dead.id: "interrupted",
        running.id: None,
    }
    other.record_outcome(finish(running))
    await other.close()
    await next_one.close()
    assert rows(database)[running.id]["outcome"] == "completed"


def test_tables_of_a_newer_wirekey_are_refused_by_name(database, tmp_path):
    asyncio.run(opened(database, tmp_path).close())
    with contextlib.closing(psycopg.connect(database.reveal(), autocommit=True)) as connection:
        connection.execute("UPDATE wirekey.schema_version SET version = 99")
    with pytest.raises(AuditDatabaseError, match="has tables of version 99; this Wirekey knows versions up to"):
        opened(database, tmp_path)


def test_several_processes_that_start_at_once_create_the_tables_once(database, tmp_path):
    async def start(name):
        return await asyncio.to_thread(opened, database, tmp_path, name)

    async def start_all():
        stores = await asyncio.gather(*(start(name) for name in "abcd"))
        for store in stores:
            await store.close()

    asyncio.run(start_all())
    with contextlib.closing(psycopg.connect(database.reveal())) as connection:
        assert connection.execute("SELECT version FROM wirekey.schema_version").fetchall() == [
            (len(postgres_schema.MIGRATIONS),)
        ]


def test_a_server_that_refuses_is_reported_without_the_password(database, tmp_path):
    server, _, name = database.reveal().replace("wirekey@", "wirekey:hunter2@").rpartition("/")
    with pytest.raises(AuditDatabaseError, match=f"The audit database {name}x at .* cannot be used") as error:
        opened(Secret(f"{server}/{name}x"), tmp_path)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("words", "passes"),
    [
        ("connection to server at 127.0.0.1, port 1 failed: Connection refused", True),
        ("failed to resolve host 'db'", True),
        ("connection timeout expired", True),
        ("FATAL:  the database system is starting up", True),
        ("FATAL:  the database system is not yet accepting connections", True),
        ("FATAL:  sorry, too many clients already", True),
        ("FATAL:  password authentication failed for user wirekey", False),
        ("FATAL:  database x does not exist", False),
        ('authentication method requirement "!password" failed: server requested a cleartext password', False),
    ],
)
def test_only_what_can_end_by_itself_is_waited_for(words, passes):
    assert may_pass(psycopg.OperationalError(words)) is passes
    assert not may_pass(psycopg.errors.InsufficientPrivilege(words))


async def test_a_server_that_is_away_at_the_start_is_used_as_soon_as_it_is_there(own_postgres, tmp_path, caplog):
    url = Secret(own_postgres.new_database().replace("wirekey@", "wirekey:hunter2@"))
    before = opened(url, tmp_path)
    cut_off = await until_recorded(before, call_of())
    own_postgres.kill()
    audit = opened(url, tmp_path, bound=1.0, limit=0.6)
    assert "Calls are refused until it can be written" in caplog.text
    assert "hunter2" not in caplog.text
    assert audit.database_trouble() == "the audit database cannot be reached"
    assert audit.refuses_here() is None
    assert await refusal_of(audit) == "the audit database cannot be reached"
    own_postgres.start()
    async with asyncio.timeout(60):
        while audit.database_trouble():  # which tries again, also without a call
            await asyncio.sleep(0.05)
    recorded = await until_recorded(audit, call_of())
    assert {call_id: row["outcome"] for call_id, row in rows(url).items() if call_id in (cut_off.id, recorded.id)} == {
        cut_off.id: "interrupted",
        recorded.id: None,
    }
    audit.record_outcome(finish(recorded))
    await audit.close()
    await before.close()


@pytest.mark.parametrize("spool", [False, True])
async def test_a_database_that_goes_away_is_noticed_without_a_call(own_postgres, tmp_path, monkeypatch, spool):
    monkeypatch.setattr(postgres_module, "SEEN_EVERY", 0.1)
    monkeypatch.setattr(PostgresAudit, "idle_seconds", 0.1)
    audit = opened(Secret(own_postgres.new_database()), tmp_path, spool=spool)
    assert audit.database_trouble() is None
    own_postgres.stop()
    async with asyncio.timeout(60):
        while not audit.database_trouble():
            await asyncio.sleep(0.05)
        assert audit.refuses_here() is None
        own_postgres.start()
        while audit.database_trouble():
            await asyncio.sleep(0.05)
    await audit.close()


async def test_a_database_that_is_away_is_named_while_records_go_to_the_spool(own_postgres, tmp_path):
    url = Secret(own_postgres.new_database())
    audit = opened(url, tmp_path, bound=5.0, limit=0.6, spool=True)
    await audit.record_intent(call_of())
    assert audit.database_trouble() is None
    own_postgres.kill()
    await audit.record_intent(call_of())
    assert audit.database_trouble() == "the audit database cannot be reached"
    assert (audit.refuses_here(), audit.refuses()) == (None, None)
    own_postgres.start()
    async with asyncio.timeout(60):
        while audit.database_trouble():
            await asyncio.sleep(0.05)
    await audit.close()


# Trouble.


async def refusal_of(audit):
    started = time.monotonic()
    with pytest.raises(AuditUnavailable) as refused:
        await audit.record_intent(call_of())
    assert time.monotonic() - started < 10 * audit.bound
    return str(refused.value)


async def until_recorded(audit, call):
    """Try until the database takes the call. Each attempt is a call of its own, as that of a client."""
    deadline = time.monotonic() + 60
    while True:
        try:
            await audit.record_intent(call)
        except AuditUnavailable:
            assert time.monotonic() < deadline
            call = call_of()
            await asyncio.sleep(0.05)
        else:
            return call


async def test_a_stopped_server_refuses_calls_and_keeps_outcomes_for_later(own_postgres, tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "RETRY", 0.05)
    url = Secret(own_postgres.new_database())
    audit = opened(url, tmp_path, bound=1.0, limit=0.6)
    started = await until_recorded(audit, call_of())
    own_postgres.kill()
    assert await refusal_of(audit) in (
        "the audit database cannot be reached",
        "the audit database was not written within 1 s",
    )
    audit.record_outcome(finish(started))
    await asyncio.sleep(0.3)
    own_postgres.start()
    call = await until_recorded(audit, call_of())
    await audit.close()
    assert rows(url)[started.id] == event_of(started)
    assert call.id in rows(url)
    assert audit.lost == 0


async def test_cut_connections_lose_and_repeat_nothing(own_postgres, tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "RETRY", 0.05)
    url = Secret(own_postgres.new_database())
    audit = opened(url, tmp_path, bound=1.0, limit=0.6)
    recorded = []
    for number in range(60):
        if number % 10 == 5:
            own_postgres.cut_connections()
        call = await until_recorded(audit, call_of())
        recorded.append(call)
        audit.record_outcome(finish(call))
    await audit.close()
    found = rows(url)
    assert {call.id: found[call.id] for call in recorded} == {call.id: event_of(call) for call in recorded}
    assert audit.lost == 0


async def test_a_server_that_hangs_refuses_calls_in_time(own_postgres, tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "RETRY", 0.05)
    url = Secret(own_postgres.new_database())
    audit = opened(url, tmp_path, bound=1.0, limit=0.6)
    await until_recorded(audit, call_of())
    own_postgres.pause()
    try:
        await refusal_of(audit)
        await refusal_of(audit)
    finally:
        own_postgres.go_on()
    call = await until_recorded(audit, call_of())
    await audit.close()
    assert call.id in rows(url)


SLOW = """
CREATE FUNCTION wirekey.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(2); RETURN NULL; END $$;
CREATE TRIGGER slow BEFORE INSERT ON wirekey.chain FOR EACH STATEMENT EXECUTE FUNCTION wirekey.slow();
"""


@pytest.mark.parametrize("trouble", ["killed", "paused", "cut", "slow"])
async def test_with_a_spool_no_call_fails_and_all_events_arrive_once(own_postgres, tmp_path, trouble):
    url = Secret(own_postgres.new_database())
    audit = opened(url, tmp_path, limit=0.6, spool=True)
    calls = []

    async def record(count):
        for _ in range(count):
            call = call_of()
            await audit.record_intent(call)
            calls.append(call)
            audit.record_outcome(finish(call))
            await asyncio.sleep(0.01)

    await record(20)
    load = asyncio.create_task(record(100))
    if trouble == "killed":
        await asyncio.to_thread(own_postgres.kill)
    elif trouble == "paused":
        own_postgres.pause()
    elif trouble == "cut":
        own_postgres.cut_connections()
    else:
        with own_postgres.connect(url.reveal().rpartition("/")[2]) as connection:
            connection.execute(SLOW)
    await asyncio.sleep(0.8)
    if trouble == "killed":
        await asyncio.to_thread(own_postgres.start)
    elif trouble == "paused":
        own_postgres.go_on()
    elif trouble == "slow":
        with own_postgres.connect(url.reveal().rpartition("/")[2]) as connection:
            connection.execute("DROP FUNCTION wirekey.slow CASCADE")
    await load
    async with asyncio.timeout(60):
        while audit._file.is_busy or audit.waiting:
            await asyncio.sleep(0.02)
    await audit.close()
    assert rows(url) == {call.id: event_of(call) for call in calls}
    assert audit.lost == 0


async def test_a_spool_that_is_left_is_moved_by_the_next_process(own_postgres, tmp_path):
    url = Secret(own_postgres.new_database())
    asyncio.get_running_loop()
    first = opened(url, tmp_path, spool=True)
    done, cut_off = call_of(), call_of()
    await first.record_intent(done)
    await settled(first)
    own_postgres.kill()
    first.record_outcome(finish(done))
    await first.record_intent(cut_off)
    await first.close()
    second = opened(url, tmp_path, spool=True)  # the server is still away
    fresh = call_of()
    await second.record_intent(fresh)
    own_postgres.start()
    async with asyncio.timeout(60):
        while second._file.is_busy:
            await asyncio.sleep(0.02)
    second.record_outcome(finish(fresh))
    await second.close()
    outcomes = {call_id: row["outcome"] for call_id, row in rows(url).items()}
    assert outcomes == {done.id: "completed", cut_off.id: "interrupted", fresh.id: "completed"}


LATER = len(NAMES) - NAMES.index("service_tier")
"""The fields that the earlier Wirekey does not know."""


async def test_a_spool_of_an_earlier_wirekey_without_the_last_fields_is_moved(own_postgres, tmp_path):
    url = Secret(own_postgres.new_database())
    spool = SpoolFile(tmp_path / "spool-a.db")
    ended, denied = call_of(service_tier="lost"), call_of(outcome=Outcome.DENIED, service_tier="lost")
    intent = event_of(ended)
    finish(ended)
    tried = Rows(
        intents=[tuple(intent.values())[:-LATER]],
        outcomes=[(ended.model, *outcome_values(ended)[:-LATER], ended.id)],
        finals=[tuple(event_of(denied).values())[:-LATER]],
    )
    spool.append(tried, None)
    spool.close()
    audit = opened(url, tmp_path, spool=True)
    async with asyncio.timeout(60):
        while audit._file.is_busy:
            await asyncio.sleep(0.02)
    await audit.close()
    assert rows(url) == {call.id: event_of(call) | {"service_tier": None} for call in (ended, denied)}
    assert audit.lost == 0
