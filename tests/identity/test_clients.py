"""Agents with client credentials and permissions: added, found, rotated and revoked. Older files are read."""

import json
import re

import pytest

from wirekey.core.call import Agent
from wirekey.core.identity.agents import AgentStore
from wirekey.core.identity.agents_file import AgentsFileError
from wirekey.core.identity.agents_format import AgentError
from wirekey.core.identity.clients import CLIENT_ID, is_secret_of
from wirekey.core.permissions import DEFAULT

NOW = 1_700_000_000.0


@pytest.fixture
def clock():
    return [NOW]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "agents.json"


@pytest.fixture
def agents(path, clock):
    return AgentStore(path, lambda: clock[0])


def test_a_client_is_found_by_its_id_and_authenticated_by_its_secret(agents):
    new = agents.add_client("alice", role="developer", type="cli", permissions=("web:read",))
    assert CLIENT_ID.fullmatch(new.client_id)
    assert re.fullmatch(r"wks_[A-Za-z0-9]{43}", new.client_secret.reveal(), re.ASCII)
    client = agents.find_client(new.client_id)
    assert client.agent == Agent("alice", "developer", "cli", ("web:read",))
    assert is_secret_of(client, new.client_secret.reveal())
    for wrong in ("", new.client_secret.reveal()[:-1], new.client_id, "\ud800"):
        assert not is_secret_of(client, wrong)
    assert not is_secret_of(None, new.client_secret.reveal())
    assert agents.find_client("wkc_" + "a" * 22) is None


def test_the_secret_is_neither_stored_nor_shown_by_repr(agents, path):
    new = agents.add_client("alice")
    assert new.client_secret.reveal() not in path.read_text()
    assert new.client_secret.reveal() not in repr(new)
    record = json.loads(path.read_text())["agents"][0]
    assert record["tokens"] == []
    assert list(record["clients"][0]) == ["id", "hash", "created", "expires_at"]


def test_new_client_credentials_expire_the_previous_ones_after_the_overlap(agents, clock):
    token = agents.add("alice")
    first = agents.rotate_client("alice")
    second = agents.rotate_client("alice", overlap_seconds=60)
    assert agents.find_client(first.client_id).agent == agents.find_client(second.client_id).agent == agents.find(token)
    clock[0] += 60
    assert agents.find_client(first.client_id) is None
    third = agents.rotate_client("alice")
    assert agents.find_client(second.client_id) is None
    assert agents.find_client(third.client_id)
    assert agents.find(token)


def test_a_revoked_agent_loses_its_clients_for_good(agents):
    new = agents.add_client("alice")
    agents.revoke("alice")
    assert agents.find_client(new.client_id) is None
    assert agents.agent("alice").clients == ()
    with pytest.raises(AgentError, match="was revoked"):
        agents.rotate_client("alice")
    agents.add("alice")
    assert agents.find_client(new.client_id) is None


def test_a_running_proxy_finds_a_client_added_by_another_process(agents, path, clock):
    agents.find_client("wkc_" + "a" * 22)
    other = AgentStore(path, lambda: clock[0])
    new = other.add_client("alice")
    agents.refresh()
    assert agents.find_client(new.client_id).agent.id == "alice"
    assert agents.has("alice")
    assert not agents.has("bob")
    other.revoke("alice")
    agents.refresh()
    assert agents.find_client(new.client_id) is None
    assert agents.has("alice")
    path.unlink()
    agents.refresh()
    assert not agents.has("alice")


def test_agents_of_a_file_without_clients_have_the_default_permissions(path, clock):
    token = AgentStore(path, lambda: clock[0]).add("alice")
    stored = json.loads(path.read_text())
    for agent in stored["agents"]:
        del agent["clients"], agent["permissions"]
    path.write_text(json.dumps(stored))
    agents = AgentStore(path, lambda: clock[0])
    assert agents.find(token).permissions == DEFAULT == ("web:read", "web:write")
    assert agents.rotate_client("alice")


@pytest.mark.parametrize("word", ["", "two words", "web:read,web:write", "é", "-x", "x" * 65, "a\n"])
def test_an_invalid_permission_is_refused(agents, word, path):
    with pytest.raises(AgentError, match="is not a valid permission"):
        agents.add("alice", permissions=("web:read", word))
    assert not path.exists()


def test_permissions_are_unique_and_sorted(agents):
    token = agents.add("alice", permissions=("web:write", "files:own", "web:write"))
    assert agents.find(token).permissions == ("files:own", "web:write")
    assert agents.find(agents.add("idle", permissions=())).permissions == ()


@pytest.mark.parametrize(
    "damage",
    [
        lambda agents: agents[0]["clients"].append(agents[0]["clients"][0]),
        lambda agents: agents[0].update(permissions=["two words"]),
        lambda agents: agents[0]["clients"][0].update(id="x"),
        lambda agents: agents[0]["clients"][0].update(hash="A" * 64),
    ],
    ids=["same client twice", "no permission", "no client id", "no hash"],
)
def test_a_damaged_file_is_reported(agents, path, damage):
    agents.add_client("alice")
    stored = json.loads(path.read_text())
    damage(stored["agents"])
    path.write_text(json.dumps(stored))
    with pytest.raises(AgentsFileError, match="The file was not changed"):
        AgentStore(path)
