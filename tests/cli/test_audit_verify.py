"""What `wirekey audit verify` prints for people and programs."""

import asyncio
import contextlib
import json
import secrets
import sqlite3

import pytest
from click.testing import CliRunner

from tests.support.recorded_calls import call_of, finish
from wirekey.cli.main import group
from wirekey.core.audit.checkpoints import KEY_USE, CheckpointKey
from wirekey.core.audit.sqlite import SqliteAudit
from wirekey.core.audit.store import AuditStore
from wirekey.core.identity.agents import AgentStore
from wirekey.core.identity.installation_keys import MasterSecret


@pytest.fixture
def ids(tmp_path, monkeypatch):
    """Record two calls, with the key of the installation, and keep the checkpoints outside too."""
    monkeypatch.chdir(tmp_path)
    return record(tmp_path)


def record(folder, *masters):
    key = CheckpointKey(AgentStore(folder / "state" / "agents.json", masters=masters).derived_key(KEY_USE))
    store = AuditStore(SqliteAudit(folder / "state" / "audit.db", checkpoints_to=folder / "outside.jsonl"), key=key)
    store.start()
    calls = [call_of() for _ in range(2)]

    async def record():
        for call in calls:
            await store.record_intent(call)
            store.record_outcome(finish(call))
        await store.close()

    asyncio.run(record())
    return [call.id for call in calls]


def run(*arguments, code=0):
    result = CliRunner().invoke(group, ["audit", "verify", *arguments])
    assert result.exit_code == code, result.output
    return result.stdout


def edit(tmp_path, statement, *values):
    with contextlib.closing(sqlite3.connect(tmp_path / "state" / "audit.db")) as database:
        database.execute(statement, values)
        database.commit()


@pytest.mark.usefixtures("ids")
def test_an_unchanged_record_is_reported_in_one_line():
    assert run() == "Links verified: 4. Checkpoints: 2. No problems.\n"
    assert run("--checkpoints", "outside.jsonl", "--since", "1h") == "Links verified: 4. Checkpoints: 2. No problems.\n"
    found = json.loads(run("--json"))
    assert (found["valid"], found["links"], found["problems"]) == (True, 4, [])


def test_checkpoints_of_a_previous_secret_are_verified_as_long_as_it_is_listed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    old, new = secrets.token_hex(32), secrets.token_hex(32)
    monkeypatch.setenv("OLD", old)
    monkeypatch.setenv("NEW", new)
    record(tmp_path, MasterSecret.parse(old))
    settings = {"master": "env:NEW", "previous": ["env:OLD"]}
    (tmp_path / "wirekey.yaml").write_text(json.dumps({"secrets": settings}))
    assert "No problems" in run()
    (tmp_path / "wirekey.yaml").write_text(json.dumps({"secrets": {"master": "env:NEW"}}))
    assert "is signed with the unknown key" in run(code=1)
    key = CheckpointKey(MasterSecret.parse(old).key_for(KEY_USE)).public.public_bytes_raw().hex()
    assert "No problems" in run("--key", key)


@pytest.mark.usefixtures("ids")
def test_checkpoints_from_before_the_master_secret_are_verified(tmp_path, monkeypatch):
    monkeypatch.setenv("NEW", secrets.token_hex(32))
    (tmp_path / "wirekey.yaml").write_text(json.dumps({"secrets": {"master": "env:NEW"}}))
    assert "No problems" in run()


@pytest.mark.usefixtures("ids")
def test_the_public_key_is_printed(tmp_path):
    key = CheckpointKey(AgentStore(tmp_path / "state" / "agents.json").derived_key(KEY_USE))
    printed = CliRunner().invoke(group, ["audit", "key"]).stdout
    assert printed == key.public.public_bytes_raw().hex() + "\n"
    assert "No problems" in run("--key", printed.strip())


def test_a_changed_event_is_named(tmp_path, ids):
    edit(tmp_path, "UPDATE calls SET cost_usd = 0 WHERE id = ?", ids[1])
    assert f"edited: {ids[1]}: " in run(code=1)
    found = json.loads(run("--json", code=1))
    assert (found["valid"], found["first_bad_id"]) == (False, ids[1])


def test_the_configured_file_of_checkpoints_is_used(tmp_path, ids):
    edit(tmp_path, "DELETE FROM checkpoints WHERE seq > 0")
    edit(tmp_path, "DELETE FROM chain")
    edit(tmp_path, "DELETE FROM calls")
    edit(tmp_path, "UPDATE chain_head SET seq = 0, hash = zeroblob(32)")
    assert "No problems" in run()
    (tmp_path / "wirekey.yaml").write_text("audit: {checkpoints: file:outside.jsonl}")
    assert "cut_off: -: The end of the audit log is missing: it had 4 links." in run(code=1)


def test_a_database_that_is_not_the_one_of_the_checkpoints_is_reported(tmp_path, ids):
    (tmp_path / "state" / "audit.db").unlink()
    other = tmp_path / "outside.jsonl"
    other.rename(tmp_path / "before.jsonl")
    record(tmp_path)
    assert "is not in the database" in run("--checkpoints", "before.jsonl", code=1)


@pytest.mark.usefixtures("ids")
def test_the_public_key_of_another_installation_can_be_passed():
    other = CheckpointKey(bytes(32)).public.public_bytes_raw().hex()
    assert "unknown key" in run("--key", other, code=1)
    run("--key", "abc", code=2)


def test_a_file_of_checkpoints_that_cannot_be_written_is_reported_at_the_start(tmp_path):
    from wirekey.core.audit.checkpoints import CheckpointsError

    store = AuditStore(
        SqliteAudit(tmp_path / "audit.db", checkpoints_to=tmp_path / "none" / "file"), key=CheckpointKey(bytes(32))
    )
    with pytest.raises(CheckpointsError, match=r"audit.checkpoints: .*none/file cannot be written"):
        store.start()


def test_a_record_of_an_earlier_version_has_no_chain_yet(tmp_path, ids):
    edit(tmp_path, "DROP TABLE chain_head")
    result = CliRunner().invoke(group, ["audit", "verify"])
    assert result.exit_code == 1
    assert "has no hash chain yet" in result.stderr
