"""Agents with client credentials and permissions: made, found, rotated, revoked; files from before are read."""

import json

import pytest

from wirekey.call import Agent
from wirekey.identity.agents import AgentBook, AgentError, AgentsFileError
from wirekey.identity.clients import CLIENT_ID, CLIENT_SECRET, is_secret_of
from wirekey.identity.permissions import USUAL

NOW = 1_700_000_000.0


@pytest.fixture
def clock():
    return [NOW]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "agents.json"


@pytest.fixture
def book(path, clock):
    return AgentBook(path, lambda: clock[0])


def test_a_client_is_found_by_its_id_and_proven_by_its_secret(book):
    new = book.add_client("alice", role="developer", type="cli", permissions=("web:read",))
    assert CLIENT_ID.fullmatch(new.client_id)
    assert CLIENT_SECRET.fullmatch(new.client_secret.reveal())
    client = book.find_client(new.client_id)
    assert client.agent == Agent("alice", "developer", "cli", ("web:read",))
    assert is_secret_of(client, new.client_secret.reveal())
    for wrong in ("", new.client_secret.reveal()[:-1], new.client_id, "\ud800"):
        assert not is_secret_of(client, wrong)
    assert not is_secret_of(None, new.client_secret.reveal())
    assert book.find_client("wkc_" + "a" * 22) is None


def test_the_secret_is_not_stored_nor_shown_by_what_holds_it(book, path):
    new = book.add_client("alice")
    assert new.client_secret.reveal() not in path.read_text()
    assert new.client_secret.reveal() not in repr(new)
    record = json.loads(path.read_text())["agents"][0]
    assert record["tokens"] == []
    assert list(record["clients"][0]) == ["id", "hash", "created", "expires_at"]


def test_new_client_credentials_end_the_former_ones_after_the_overlap(book, clock):
    token = book.add("alice")
    first = book.rotate_client("alice")
    second = book.rotate_client("alice", overlap_seconds=60)
    assert book.find_client(first.client_id).agent == book.find_client(second.client_id).agent == book.find(token)
    clock[0] += 60
    assert book.find_client(first.client_id) is None
    third = book.rotate_client("alice")
    assert book.find_client(second.client_id) is None
    assert book.find_client(third.client_id)
    assert book.find(token)


def test_a_revoked_agent_has_no_clients_and_does_not_get_them_back(book):
    new = book.add_client("alice")
    book.revoke("alice")
    assert book.find_client(new.client_id) is None
    assert book.agent("alice").clients == ()
    with pytest.raises(AgentError, match="was revoked"):
        book.rotate_client("alice")
    book.add("alice")
    assert book.find_client(new.client_id) is None


def test_a_running_proxy_knows_the_client_that_another_process_adds(book, path, clock):
    book.find_client("wkc_" + "a" * 22)
    other = AgentBook(path, lambda: clock[0])
    new = other.add_client("alice")
    book.refresh()
    assert book.find_client(new.client_id).agent.id == "alice"
    assert book.has("alice")
    assert not book.has("bob")
    other.revoke("alice")
    book.refresh()
    assert book.find_client(new.client_id) is None
    assert book.has("alice")
    path.unlink()
    book.refresh()
    assert not book.has("alice")


def test_a_file_from_before_there_were_clients_is_read_and_its_agents_have_the_usual_permissions(path, clock):
    token = AgentBook(path, lambda: clock[0]).add("alice")
    stored = json.loads(path.read_text())
    for agent in stored["agents"]:
        del agent["clients"], agent["permissions"]
    path.write_text(json.dumps(stored))
    book = AgentBook(path, lambda: clock[0])
    assert book.find(token).permissions == USUAL == ("web:read", "web:write")
    assert book.rotate_client("alice")


@pytest.mark.parametrize("word", ["", "two words", "web:read,web:write", "é", "-x", "x" * 65, "a\n"])
def test_what_is_no_permission_is_refused(book, word, path):
    with pytest.raises(AgentError, match="is no permission"):
        book.add("alice", permissions=("web:read", word))
    assert not path.exists()


def test_permissions_are_kept_once_each_and_sorted(book):
    token = book.add("alice", permissions=("web:write", "files:own", "web:write"))
    assert book.find(token).permissions == ("files:own", "web:write")
    assert book.find(book.add("idle", permissions=())).permissions == ()


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
def test_a_damaged_file_is_said_to_be_one(book, path, damage):
    book.add_client("alice")
    stored = json.loads(path.read_text())
    damage(stored["agents"])
    path.write_text(json.dumps(stored))
    with pytest.raises(AgentsFileError, match="It was left as it is"):
        AgentBook(path)
