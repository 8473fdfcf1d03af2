"""Several machines have their agents in one database. While it is away, the last known agents stay valid."""

from __future__ import annotations

import json
import logging
import stat
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from tests.support.postgres_server import fragile_postgres, own_postgres, postgres
from tests.support.raw_client import RawClient
from tests.support.running import KEY_ENVIRONMENT, SimulatorThread, Wirekey, behind, wait_for
from tests.support.steady_load import gateway_chat
from wirekey.cli.main import group
from wirekey.core.identity import agents_changes, agents_format
from wirekey.core.identity.agents import AgentStore
from wirekey.core.identity.agents_format import AgentError
from wirekey.core.secret import Secret
from wirekey.features.postgresql import agents as agents_database
from wirekey.features.postgresql.agents import AgentsDatabase, AgentsDatabaseError
from wirekey.features.postgresql.agents_following import AgentsFollower

__all__ = ["fragile_postgres", "own_postgres", "postgres"]

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MASTER = {"WIREKEY_MASTER": "9f2c51a7d0e48b3396f1c25ad7e80b64f93d12ac5e7f08b6d4913ce2a75f0d86"}


@pytest.fixture(scope="module")
def url(postgres):
    return Secret(postgres.new_database())


@pytest.fixture
def database(url):
    """An empty database of agents."""
    database = AgentsDatabase(url)
    with database.connected() as connection:
        connection.execute("TRUNCATE wirekey.agents")
    return database


def store(folder, database) -> AgentStore:
    return AgentStore(folder / "agents-copy.json", shared=database)


@pytest.fixture
def follow(tmp_path):
    """A function that follows a database on another machine, and returns its agents."""
    running = []

    def follow(database) -> AgentStore:
        folder = tmp_path / f"machine{len(running)}"
        running.append(AgentsFollower(database, store(folder, database)))
        running[-1].start(None, lambda: None)
        agents = store(folder, database)
        agents.follower = running[-1]
        return agents

    yield follow
    for follower in running:
        follower.stop()


def finds(agents: AgentStore, token: str) -> bool:
    agents.refresh()
    return agents.find(token) is not None


def test_a_change_reaches_another_machine(database, tmp_path, follow):
    here, there = store(tmp_path, database), follow(database)
    token = here.add("alice", role="engineer")
    wait_for(lambda: finds(there, token), "the agent")
    here.revoke("alice")
    wait_for(lambda: not finds(there, token), "the revocation")
    assert stat.S_IMODE(there.path.stat().st_mode) == 0o600


def test_a_change_arrives_without_its_notification(database, tmp_path, follow, monkeypatch):
    """A pooler that shares connections between clients loses them."""
    there = follow(database)
    monkeypatch.setattr(agents_database, "CHANNEL", "another_channel")
    token = store(tmp_path, database).add("alice")
    wait_for(lambda: finds(there, token), "the agent")


def test_machines_that_change_agents_at_the_same_time_lose_nothing(database, tmp_path, follow):
    machines = [follow(database) for _ in range(2)]
    tokens = [machine.add(f"agent-{index}-{number}") for number in range(5) for index, machine in enumerate(machines)]
    for machine in machines:
        wait_for(lambda machine=machine: all(finds(machine, token) for token in tokens), "all agents")


def test_while_the_database_is_away_the_agents_stay_and_changes_are_refused(own_postgres, tmp_path, follow, caplog):
    database = AgentsDatabase(Secret(own_postgres.new_database()))
    here, there = store(tmp_path, database), follow(database)
    token = here.add("alice")
    wait_for(lambda: finds(there, token), "the agent")
    own_postgres.stop()
    with caplog.at_level(logging.WARNING):
        wait_for(lambda: there.follower.trouble, "the trouble to be noticed")
        assert finds(there, token)
        with pytest.raises(AgentsDatabaseError, match="cannot be used"):
            here.revoke("alice")
        own_postgres.start()
        here.revoke("alice")
        wait_for(lambda: not finds(there, token), "the revocation")
        wait_for(lambda: there.follower.trouble is None, "the end of the trouble")
    assert "The agents stay as they were last read" in caplog.text
    assert "can be used again" in caplog.text


def test_a_connection_that_is_cut_or_stalls_is_made_again(own_postgres, tmp_path, follow):
    database = AgentsDatabase(Secret(own_postgres.new_database()))
    there = follow(database)
    for number in range(2):
        wait_for(there.path.exists, "a copy")
        own_postgres.cut_connections()
        token = store(tmp_path, database).add(f"agent-{number}")
        wait_for(lambda token=token: finds(there, token), "the agent")


def test_an_older_copy_never_replaces_a_newer_one(database, tmp_path):
    """The database is read while the copy is locked."""
    one, other = store(tmp_path, database), store(tmp_path, database)
    token = one.add("alice")
    one.revoke("alice")
    assert other.copy() is False
    assert not finds(other, token)
    (tmp_path / "agents-copy.json").unlink()
    assert other.copy() is True


def test_tables_of_a_newer_version_are_refused_by_name(database, tmp_path):
    with database.connected() as connection:
        connection.execute("UPDATE wirekey.agents_schema SET version = 99")
        with pytest.raises(AgentsDatabaseError, match=r"tables of version 99; this Wirekey knows versions up to 1"):
            store(tmp_path, database).add("alice")
        connection.execute("UPDATE wirekey.agents_schema SET version = 1")


def test_an_agent_that_a_newer_wirekey_has_written_is_refused_as_a_whole(database, tmp_path):
    store(tmp_path, database).add("alice")
    with database.connected() as connection:
        connection.execute("""UPDATE wirekey.agents SET record = record || '{"new": 1}'""")
    with pytest.raises(AgentsDatabaseError, match="Use the Wirekey that wrote it"):
        store(tmp_path, database).agents()


@pytest.mark.parametrize("url", ["postgresql://alice:s3cr3t@127.0.0.1:1/x", "postgresql://alice:s3cr3t@[/x"])
def test_the_password_is_in_no_message(tmp_path, url):
    with pytest.raises(AgentsDatabaseError) as raised:
        AgentsDatabase(Secret(url)).read()
    assert "s3cr3t" not in str(raised.value)


# Export and import.


def run(folder, *arguments: str, environ=None):
    return CliRunner(env={**MASTER, **(environ or {})}).invoke(group, [*arguments, "--config", str(folder)])


@pytest.fixture
def configured(tmp_path, database):
    """The configurations of a machine with a file, and of one with the database."""
    files = []
    for name, more in (("file", {}), ("shared", {"agents": {"store": "env:AGENTS_URL"}})):
        folder = tmp_path / name
        folder.mkdir()
        settings = {"state": str(folder / "state"), "certs": str(folder / "certs"), **more}
        settings["secrets"] = {"master": "env:WIREKEY_MASTER"}
        files.append(folder / "wirekey.yaml")
        files[-1].write_text(json.dumps(settings))
    return (*files, {"AGENTS_URL": database._url.reveal()})


def test_agents_move_from_the_file_into_the_database_and_back(configured, tmp_path, database):
    file, shared, environ = configured
    added = json.loads(run(file, "agents", "add", "alice", "--role", "engineer", "--json").output)
    assert run(file, "agents", "add", "bob", "--aws").exit_code == 0
    assert run(file, "agents", "revoke", "bob").exit_code == 0
    exported = tmp_path / "exported.json"
    assert run(file, "agents", "export", "-o", str(exported)).exit_code == 0
    assert stat.S_IMODE(exported.stat().st_mode) == 0o600
    assert added["token"] not in exported.read_text()
    for words in ("Added 2 agents", "2 were imported already"):
        imported = run(shared, "agents", "import", str(exported), environ=environ)
        assert words in imported.output, imported.output
    assert store(tmp_path, database).agent("alice").role == "engineer"
    there = store(tmp_path / "elsewhere", database)
    assert there.copy()
    assert finds(there, added["token"])
    back = run(shared, "agents", "export", environ=environ)
    assert json.loads(back.output) == json.loads(exported.read_text())


def test_an_agent_that_differs_refuses_the_whole_import(configured, tmp_path):
    file, shared, environ = configured
    for folder, given in ((file, None), (shared, environ)):
        assert run(folder, "agents", "add", "alice", environ=given).exit_code == 0
    assert run(file, "agents", "add", "bob").exit_code == 0
    exported = tmp_path / "exported.json"
    exported.write_text(run(file, "agents", "export").output)
    refused = run(shared, "agents", "import", str(exported), environ=environ)
    assert refused.exit_code == 1
    assert "differ from those of the file: alice" in str(refused.exception) + refused.output
    listed = run(shared, "agents", "list", environ=environ).output
    assert "alice" in listed
    assert "bob" not in listed


def test_an_export_of_another_version_is_refused(configured, tmp_path):
    exported = tmp_path / "exported.json"
    exported.write_text('{"version": 2, "agents": []}')
    refused = run(configured[0], "agents", "import", str(exported))
    assert "format version 2" in str(refused.exception) + refused.output


def test_the_database_needs_a_master_secret(tmp_path):
    file = tmp_path / "wirekey.yaml"
    file.write_text("agents: {store: 'postgresql://wirekey@127.0.0.1/wirekey'}")
    refused = run(file, "agents", "list")
    assert "agents.store needs secrets.master" in str(refused.exception) + refused.output


def test_exported_agents_are_those_of_the_file():
    records = agents_format.AgentRecords()
    assert agents_format.exported(agents_format.encode(records)) == records
    for other in (b"", b"agent,token\n", b"[]", b'{"agents": []}', b"\xff"):
        assert agents_format.exported(other) is None
    one, two = (agents_changes.add(records, "a", token, NOW, role=None, type_=None) for token in ("wk_1", "wk_2"))
    assert agents_changes.add_exported(one, one) == one
    with pytest.raises(AgentError, match="differ"):
        agents_changes.add_exported(one, two)


# Replicas.


@pytest.fixture
def simulator(tmp_path):
    running = SimulatorThread(tmp_path / "simulator")
    yield running
    running.stop()


def test_replicas_use_one_list_of_agents_and_go_on_without_the_database(own_postgres, tmp_path, simulator):
    url = own_postgres.new_database()
    settings = behind(
        simulator,
        listen={"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None},
        agents={"store": url},
        secrets={"master": "env:WIREKEY_MASTER"},
    )
    replicas = [Wirekey(tmp_path / name, settings, environ={**KEY_ENVIRONMENT, **MASTER}) for name in ("one", "two")]
    try:
        agents = store(tmp_path / "elsewhere", AgentsDatabase(Secret(url)))
        tokens = {name: agents.add(name) for name in ("alice", "leaver")}
        for replica in replicas:
            wait_for(lambda replica=replica: status(replica, tokens["alice"]) == 200, "the agent")
        with RawClient(replicas[1].running.gateway) as client:
            client.send(gateway_chat(tokens["leaver"], "sim-stall-after-1", stream=True))
            wait_for(lambda: [event for event in replicas[1].events() if event["agent_id"] == "leaver"], "the call")
            agents.revoke("leaver")
            client.read_response()
        for replica in replicas:
            wait_for(lambda replica=replica: status(replica, tokens["leaver"]) == 401, "the revocation")
        own_postgres.stop()
        replicas[0].stop()
        replicas[0].start()
        assert "The agents are those of" in replicas[0].output.read_text()
        for replica in replicas:
            assert status(replica, tokens["alice"]) == 200
            assert status(replica, tokens["leaver"]) == 401
    finally:
        for replica in replicas:
            replica.stop()


def test_a_database_that_refuses_ends_the_start_of_a_replica_without_a_copy(own_postgres, tmp_path, simulator):
    settings = behind(
        simulator, agents={"store": own_postgres.url("nowhere")}, secrets={"master": "env:WIREKEY_MASTER"}
    )
    with pytest.raises(AssertionError, match="Wirekey cannot start: The database of the agents"):
        Wirekey(tmp_path / "three", settings, environ={**KEY_ENVIRONMENT, **MASTER})


def status(replica, token: str) -> int:
    with RawClient(replica.running.gateway) as client:
        client.send(gateway_chat(token, "m"))
        return client.read_response().status
