"""The commands of `wirekey audit` print the same from a PostgreSQL database as from a file."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from tests.audit.test_reading import id_at
from tests.support.postgres_server import database, postgres
from tests.support.recorded_calls import call_of, finish
from wirekey.cli.main import group
from wirekey.config import load
from wirekey.core.audit.checkpoints import KEY_USE, CheckpointKey
from wirekey.core.call import AttemptRecord, Outcome
from wirekey.core.identity.agents import AgentStore
from wirekey.core.labels import checked
from wirekey.server.audit_store import audit_store

__all__ = ["database", "postgres"]

FAILED = AttemptRecord("api.openai.com", "openai/1", None, "gpt-4o", "status", 429, 12.5)
NOW = time.time()


def ago(seconds, **more):
    moment = NOW - seconds
    return call_of(id=id_at(moment), started_at=moment, **more)


def calls():
    """Return calls as they end: (call, whether it has an intent)."""
    yield finish(ago(2 * 86400, agent="bob", provider="gemini", model="gemini-2.5-pro"), cost_usd=None), True
    yield ago(7200, agent="bob", outcome=Outcome.DENIED, policy_result="deny", status=403), False
    yield ago(7000, agent="bob", outcome=Outcome.DECLINED, policy_result="deny", status=404), False
    for number in range(30):
        labels = {"labels": (("team", f"t{number % 3}"),), "header_labels": checked([("session", f"s{number % 2}")])}
        call = ago(600 - number, model=f"gpt-{number % 3}", **labels)
        yield finish(call, ttfb_ms=number * 1.5, duration_ms=number * 20), True
    retried = finish(
        ago(60, credential="openai/2"), attempts=2, failed_attempts=(FAILED,), attempt_began=time.perf_counter()
    )
    yield retried, True
    yield ago(50, agent=None), True


async def record(config, ended):
    key = CheckpointKey(AgentStore(config.state / "agents.json").derived_key(KEY_USE))
    store = audit_store(config, key)
    store.start()
    for call, has_intent in ended:
        if has_intent:
            outcome, call.outcome = call.outcome, None
            await store.record_intent(call)
            call.outcome = outcome
            if outcome:
                store.record_outcome(call)
        else:
            store.record_final(call)
        while store.waiting:
            await asyncio.sleep(0.001)
    return store


@contextlib.contextmanager
def recorded_twice(folder, url):
    """Record the same calls in a file and in a database; return the configuration files."""
    ended, files, stores = list(calls()), [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("AUDIT_URL", url)
        for name, store in (("file", "sqlite:///record/audit.db"), ("postgres", "env:AUDIT_URL")):
            (folder / f"{name}.yaml").write_text(f"state: state-{name}\nreplica: eu-1\naudit: {{store: '{store}'}}\n")
            files.append(f"{name}.yaml")
            config = load(folder / f"{name}.yaml", os.environ)
            stores.append(asyncio.run(record(config, ended)))
        yield files
    for store in stores:
        asyncio.run(store.close())


@pytest.fixture(scope="module")
def both(tmp_path_factory, postgres):
    """Return the configurations of a file and of a database with the same calls. They are only read."""
    with recorded_twice(tmp_path_factory.mktemp("both"), postgres.new_database()) as files:
        yield files


@pytest.fixture
def to_change(tmp_path, database):
    """Return the same, for a test that changes them."""
    with recorded_twice(tmp_path, database.reveal()) as files:
        yield files


def run(*arguments, code=0):
    result = CliRunner().invoke(group, ["audit", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def same(both, *arguments):
    file, postgres = (run(*arguments, "--config", name) for name in both)
    assert postgres == file
    return file


def test_each_command_prints_the_same(both):
    listed = json.loads(same(both, "list", "--json", "-n", "100"))
    assert len(listed) == 35
    assert {event["replica"] for event in listed} == {"eu-1"}
    for arguments in (
        ["--agent", "bob"],
        ["--model", "gpt-[12]"],
        ["--model", "g?mini*"],
        ["--model", "gpt.1"],
        ["--outcome", "in_progress"],
        ["--outcome", "denied", "--since", "1d"],
        ["--provider", "gemini", "--until", "1d"],
    ):
        same(both, "list", "--json", *arguments)
        same(both, "export", *arguments)
    same(both, "list")
    same(both, "export", "--format", "csv")
    attempts = [without_times(run("export", "--attempts", "--config", name)) for name in both]
    assert attempts[0] == attempts[1] != []
    one, retried = listed[-3]["id"], listed[-2]["id"]
    assert re.search(r"^replica +eu-1$", same(both, "show", one), re.MULTILINE)
    same(both, "show", "--json", one[-12:])
    same(both, "show", "--json", one[:20])
    assert len(json.loads(run("show", retried, "--json", "--config", both[1]))["each_attempt"]) == 2
    assert "No call has an id" in run("show", "%", "--config", both[1], code=1)


def without_times(lines):
    """Return exported attempts without their duration: that of the last one is taken when it is recorded."""
    return [json.loads(line) | {"duration_ms": None} for line in lines.splitlines()]


@pytest.mark.parametrize("by", ["day", "agent", "model", "provider", "label:team", "label:session", "label:run"])
def test_totals_are_the_same(both, by):
    found = json.loads(same(both, "stats", "--json", "--by", by))
    assert found["total"]["calls"] == 34
    same(both, "stats", "--json", "--by", by, "--since", "1d", "--top", "1")
    same(both, "stats", "--by", by)
    assert json.loads(same(both, "stats", "--json", "--by", by, "--label", "team=t1"))["total"]["calls"] == 10
    assert len(json.loads(same(both, "list", "--json", "--label", "session=s1", "--label", "team=t1"))) == 5


def test_the_page_of_the_console_reads_the_same(both):
    from wirekey.features.console.recorded import Recorded
    from wirekey.server.audit_store import audit_database

    async def read(name):
        recorded = Recorded(audit_database(load(Path(name), os.environ)))
        latest = await recorded.recent()
        week = json.loads(await recorded.totals("week", "agent"))
        return [
            sorted(map(plain, latest)),
            await recorded.denied() != [],
            len(await recorded.these([latest[0][0]])),
            week,
        ]

    def plain(row):
        return [str(value + 0 if isinstance(value, bool) else value) for value in row]

    file, postgres = (asyncio.run(read(name)) for name in both)
    assert postgres == file
    assert file[-1]["readable"]


def test_verify_reads_all_chains_and_names_a_changed_event(to_change, tmp_path, database):
    assert "No problems" in run("verify", "--config", to_change[1])
    (tmp_path / "second.yaml").write_text("state: state-second\naudit: {store: 'env:AUDIT_URL'}\n")
    (tmp_path / "state-second").mkdir(mode=0o700)
    key = (tmp_path / "state-postgres" / "aws-master.key").read_bytes()
    (tmp_path / "state-second" / "aws-master.key").write_bytes(key)
    (tmp_path / "state-second" / "aws-master.key").chmod(0o600)
    other = finish(call_of())
    store = asyncio.run(record(load(tmp_path / "second.yaml", os.environ), [(other, True)]))
    asyncio.run(store.close())
    assert "No problems" in run("verify", "--config", to_change[1])
    with contextlib.closing(psycopg.connect(database.reveal(), autocommit=True)) as connection:
        connection.execute("UPDATE wirekey.calls SET cost_usd = 0 WHERE id = %s", [other.id])
    assert f"edited: {other.id}: " in run("verify", "--config", to_change[1], code=1)
    with contextlib.closing(psycopg.connect(database.reveal(), autocommit=True)) as connection:
        connection.execute("DELETE FROM wirekey.calls WHERE id = %s", [other.id])
    found = json.loads(run("verify", "--json", "--config", to_change[1], code=1))
    assert (found["first_bad_id"], found["problems"][0]["kind"]) == (other.id, "removed")


def test_prune_deletes_old_calls_and_leaves_a_chain_that_can_be_verified(to_change):
    moment = datetime.fromtimestamp(NOW - 100, UTC).isoformat()
    for name in to_change:
        assert run("prune", "--config", name, "--before", "1d", "--dry-run").startswith("1 calls are older than")
        assert run("prune", "--config", name, "--before", "1h").startswith("Deleted 3 calls from before")
        assert run("prune", "--config", name, "--before", "1h").startswith("0 calls are older")
        assert run("prune", "--config", name, "--before", moment).startswith("Deleted 30 calls from before")
    listed = json.loads(same(to_change, "list", "--json"))
    assert len(listed) == 2
    for name in to_change:
        assert "No problems" in run("verify", "--config", name)


def test_tail_prints_calls_as_they_end(to_change, tmp_path):
    tail = subprocess.Popen(
        [sys.executable, "-m", "wirekey", "audit", "tail", "--json", "-n", "1", "--config", to_change[1]],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    first = json.loads(tail.stdout.readline())
    assert first["outcome"] == "completed"
    (tmp_path / "second.yaml").write_text("state: state-second\naudit: {store: 'env:AUDIT_URL'}\n")
    new = finish(call_of())
    store = asyncio.run(record(load(tmp_path / "second.yaml", os.environ), [(new, True)]))
    assert json.loads(tail.stdout.readline())["id"] == new.id
    asyncio.run(store.close())
    tail.send_signal(signal.SIGINT)
    tail.wait(30)


def test_an_older_wirekey_names_the_newer_tables(to_change, database):
    with contextlib.closing(psycopg.connect(database.reveal(), autocommit=True)) as connection:
        connection.execute("UPDATE wirekey.schema_version SET version = 99")
    assert "has tables of version 99" in run("list", "--config", to_change[1], code=1)
    assert database.reveal() not in run("list", "--config", to_change[1], code=1)


def test_a_database_that_was_never_used_is_reported(tmp_path, monkeypatch, postgres):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wirekey.yaml").write_text(f"audit: {{store: '{postgres.new_database()}'}}")
    assert "has no audit log yet" in run("list", code=1)


def test_prune_drops_a_month_that_is_old_as_a_whole(to_change, database):
    this_month = datetime.fromtimestamp(NOW, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    moment = this_month.timestamp() - 86400
    config = load(Path(to_change[1]), os.environ)
    config = config.model_copy(update={"state": config.state.with_name("state-third")})
    old = finish(call_of(id=id_at(moment), started_at=moment))
    asyncio.run(asyncio.run(record(config, [(old, True)])).close())
    month = f"calls_{datetime.fromtimestamp(moment, UTC):%Y_%m}"
    assert month in partitions(database)
    output = run("prune", "--config", to_change[1], "--before", this_month.isoformat())
    assert output.startswith("Deleted ")
    assert month not in partitions(database)
    listed = json.loads(run("list", "--json", "-n", "1000", "--config", to_change[1]))
    assert old.id not in {event["id"] for event in listed}
    asyncio.run(asyncio.run(record(config, [])).close())
    assert month in partitions(database)


def partitions(database):
    with contextlib.closing(psycopg.connect(database.reveal())) as connection:
        rows = connection.execute("SELECT inhrelid::regclass::text FROM pg_inherits").fetchall()
    return {name.rpartition(".")[2] for (name,) in rows}
