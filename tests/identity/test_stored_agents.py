"""The agents of several machines and the file with their copy, and what is stored beside it."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest

from wirekey.core.call import Agent
from wirekey.core.errors import UserError
from wirekey.core.identity import agents_format
from wirekey.core.identity.agents import AgentStore
from wirekey.core.identity.agents_file import AgentsFile, AgentsFileError
from wirekey.core.identity.agents_format import AgentError, AgentRecords, AgentRecordsError, Suspension
from wirekey.core.identity.proof import Proof, proven_agent
from wirekey.core.identity.stored_agents import MASTER_FILE
from wirekey.core.identity.tokens import token_digest

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class SharedInMemory:
    """The agents of several machines. `is_away`: they cannot be read."""

    place = "memory"

    def __init__(self):
        self.records = AgentRecords()
        self.is_away = False

    def read(self):
        if self.is_away:
            raise UserError("the agents cannot be reached")
        return self.records

    def change(self, change):
        self.records = change(self.records)

    def may_pass(self, _):
        return True


@pytest.fixture
def shared():
    return SharedInMemory()


@pytest.fixture
def machine(tmp_path, shared):
    """Return a function that opens the agents on the machine of a name."""
    return lambda name: AgentStore(tmp_path / name / "agents.json", NOW.timestamp, (), shared)


def test_a_change_on_one_machine_is_copied_to_the_file_of_each(machine):
    one, other = machine("one"), machine("other")
    token = one.add("alice")
    assert one.find(token) == Agent("alice")
    assert other.find(token) is None
    assert [agent.id for agent in other.agents()] == ["alice"]
    assert other.copied_agents() == ()
    assert other.copy()
    assert [agent.id for agent in other.copied_agents()] == ["alice"]
    assert other.find(token) == Agent("alice")


def test_the_copy_is_written_only_if_it_differs(machine):
    one, other = machine("one"), machine("other")
    one.add("alice")
    assert other.copy()
    version = other.file.version()
    assert not other.copy()
    assert other.file.version() == version


def test_what_is_copied_may_be_read_by_another_function(machine, shared):
    one = machine("one")
    one.add("alice")
    assert one.copy(AgentRecords)
    assert one.copied_agents() == ()
    assert [agent.id for agent in shared.records.agents] == ["alice"]


def test_a_change_that_is_made_but_cannot_be_copied_now_is_copied_later(machine, shared):
    one = machine("one")
    shared.is_away = True
    token = one.add("alice")
    assert one.find(token) is None
    shared.is_away = False
    assert one.copy()
    assert one.find(token) == Agent("alice")


def test_an_aws_pair_that_another_machine_removes_at_the_same_time_is_not_returned(machine, shared):
    one, other = machine("one"), machine("other")
    one.add("alice")
    change = shared.change

    def changed_twice(first):
        shared.change = change
        change(first)
        other.revoke("alice")

    shared.change = changed_twice
    with pytest.raises(AgentError, match="The AWS key pair of alice was removed at the same time"):
        one.pair("alice")


def test_a_master_secret_that_cannot_be_used_is_an_error_of_the_agents(tmp_path):
    agents = AgentStore(tmp_path / "agents.json")
    (tmp_path / MASTER_FILE).mkdir()
    with pytest.raises(AgentsFileError, match=f"{tmp_path / MASTER_FILE} cannot be used: Is a directory"):
        agents.derived_key(b"use")


def test_credentials_that_another_process_has_added_are_found_at_once(tmp_path):
    first, second = AgentStore(tmp_path / "agents.json"), AgentStore(tmp_path / "agents.json")
    client = first.add_client("alice")
    assert second.find_client(client.client_id).agent == Agent("alice")
    pair = first.pair("alice")
    assert second.find_pair(pair.access_key)[0] == Agent("alice")
    first.add("bob")
    assert second.find_name("bob") == Agent("bob")
    assert [second.find_client("wkc_" + "0" * 22), second.find_pair("AKIAWRONG"), second.find_name("eve")] == [None] * 3


def test_credentials_that_are_known_are_found_without_a_look_at_the_file(tmp_path, monkeypatch):
    agents = AgentStore(tmp_path / "agents.json")
    client, pair = agents.add_client("alice"), agents.pair("alice")

    def refused():
        raise AssertionError("the file is looked at")

    monkeypatch.setattr(agents, "refresh", refused)
    assert agents.find_client(client.client_id).agent == Agent("alice")
    assert agents.find_pair(pair.access_key)[0] == Agent("alice")
    assert agents.find_name("alice") == Agent("alice")


def test_a_strict_token_makes_its_caller_strict_and_no_other(tmp_path):
    agents = AgentStore(tmp_path / "agents.json")
    usual = agents.add("alice")
    strict = agents.issue_token("alice", "exec", None, strict=True)
    assert [agents.find(token).strict for token in (usual, strict)] == [False, True]


@pytest.fixture
def known(tmp_path):
    agents = AgentStore(tmp_path / "agents.json", NOW.timestamp)
    for name in ("active", "revoked", "suspended"):
        agents.add(name)
    agents.revoke("revoked")
    agents.change("suspended", suspended=True)
    return agents


@pytest.mark.parametrize(
    ("name", "moment", "concerns"),
    [
        ("active", NOW - SECOND, False),
        ("active", NOW, True),
        ("active", NOW + SECOND, True),
        ("revoked", NOW + SECOND, False),
        ("unknown", NOW - SECOND, True),
    ],
)
def test_a_revocation_elsewhere_concerns_what_existed_or_is_unknown(known, name, moment, concerns):
    assert known.is_revoked_by(name, moment) is concerns


@pytest.mark.parametrize(
    ("name", "moment", "concerns"),
    [
        ("active", NOW, False),
        ("active", NOW + SECOND, True),
        ("suspended", NOW, False),
        ("suspended", NOW + SECOND, True),
        ("revoked", NOW + SECOND, False),
        ("unknown", NOW + SECOND, False),
    ],
)
def test_a_suspension_elsewhere_concerns_agents_that_changed_before_it(known, name, moment, concerns):
    for suspended in (True, False):
        assert known.is_changed_by(name, Suspension(moment, suspended)) is concerns


def test_a_pipe_in_place_of_the_file_is_an_error_and_is_not_waited_for(tmp_path):
    path = tmp_path / "agents.json"
    os.mkfifo(path)
    with pytest.raises(AgentsFileError, match=f"{path} .*not a regular file"):
        AgentsFile(path).read()


def test_the_version_of_a_file_that_cannot_be_looked_at_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    below = tmp_path / "file" / "agents.json"
    with pytest.raises(AgentsFileError, match=f"{below} cannot be read: Not a directory"):
        AgentsFile(below).version()


class Kept:
    """The credential of a feature: it identifies alice until a moment."""

    kind = "kept"

    def find_agent(self, agents, now):
        return agents.find_name("alice") if now < 10 else None

    def values(self):
        return []


def test_a_proof_may_be_the_credential_of_a_feature(tmp_path):
    agents = AgentStore(tmp_path / "agents.json")
    token = agents.add("alice")
    for tokens in ((Kept(),), (Kept(), token_digest(token))):
        assert proven_agent(Proof(tokens), agents, 9.0) == Agent("alice")
        assert proven_agent(Proof(tokens), agents, 10.0) is None


TOKEN = b'"tokens":[{"id":"1","hash":"%s","label":"","created":"2026-01-01T00:00:00Z"}]' % (b"0" * 64)
RUN = b'"runs":[{"name":"nightly","token":"000000000000","created":"2026-01-01T00:00:00Z"}]'


@pytest.mark.parametrize(
    ("members", "reason"), [(TOKEN, "has the same token twice"), (RUN, "has two runs of the same name")]
)
def test_a_list_with_a_token_or_a_run_of_two_agents_is_not_used(members, reason):
    one, other = (b'{"id":"%s","created":"2026-01-01T00:00:00Z",%s}' % (name, members) for name in (b"a", b"b"))
    content = b'{"version":1,"agents":[%s]}'
    assert agents_format.decode(content % one).agent("a")
    with pytest.raises(AgentRecordsError, match=reason):
        agents_format.decode(content % (one + b"," + other))


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"agent,token\n", b'[{"agent": "a"}]', b"[" * 100_000, b'{"version": "x"}']
)
def test_a_file_that_is_no_export_is_told_from_one(content):
    assert agents_format.exported(content) is None


def test_an_export_is_read_and_one_of_another_version_is_an_error(tmp_path):
    agents = AgentStore(tmp_path / "agents.json")
    agents.add("alice")
    records = agents_format.exported(agents.export())
    assert records.agents == agents.agents()
    assert (
        agents_format.decode(b'{"version":1,"agents":[' + agents_format.encode_agent(records.agent("alice")) + b"]}")
        == records
    )
    with pytest.raises(AgentRecordsError, match="has format version 9"):
        agents_format.exported(b'{"version": 9}')
