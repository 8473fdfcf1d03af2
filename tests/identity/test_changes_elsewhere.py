"""Agents that another machine revoked, suspended or resumed: which of them change here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from wirekey.core.identity import agents_changes
from wirekey.core.identity.agents import AgentStore
from wirekey.core.identity.agents_file import AgentsFile, AgentsFileError
from wirekey.core.identity.agents_format import AgentError, AgentRecord, AgentRecords, Suspension
from wirekey.core.identity.guess_limit import MAX_REMEMBERED, GuessLimit
from wirekey.core.identity.import_file import LARGEST_FILE, ImportRefusedError, read_entries
from wirekey.core.identity.proof import NO_PROOF, Proof, proven_agent

BEFORE = datetime(2026, 1, 1, tzinfo=UTC)
MOMENT = BEFORE + timedelta(hours=1)
AFTER = BEFORE + timedelta(hours=2)
LATER = BEFORE + timedelta(hours=3)


def records(*agents: AgentRecord) -> AgentRecords:
    return AgentRecords(agents=agents)


@pytest.mark.parametrize(
    ("agent", "revoked_at"),
    [
        (AgentRecord(id="alice", created=BEFORE), MOMENT),
        (AgentRecord(id="alice", created=MOMENT), MOMENT),
        (AgentRecord(id="alice", created=AFTER), None),
        (AgentRecord(id="alice", created=BEFORE, revoked_at=AFTER), AFTER),
    ],
)
def test_a_revocation_concerns_agents_that_existed_and_were_not_revoked(agent, revoked_at):
    found = agents_changes.revoke_all(records(agent), {"alice": MOMENT})
    assert found.agent("alice").revoked_at == revoked_at


def test_an_unknown_agent_that_was_revoked_elsewhere_can_never_be_added():
    found = agents_changes.revoke_all(records(), {"alice": MOMENT})
    assert (found.agent("alice").created, found.agent("alice").revoked_at) == (MOMENT, MOMENT)


@pytest.mark.parametrize(
    ("agent", "change", "suspended"),
    [
        (AgentRecord(id="alice", created=BEFORE), Suspension(MOMENT, True), True),
        (AgentRecord(id="alice", created=AFTER), Suspension(MOMENT, True), False),
        (
            AgentRecord(id="alice", created=BEFORE, suspended=True, suspension_changed=AFTER),
            Suspension(LATER, False),
            False,
        ),
        (
            AgentRecord(id="alice", created=BEFORE, suspended=True, suspension_changed=AFTER),
            Suspension(MOMENT, False),
            True,
        ),
        (AgentRecord(id="alice", created=BEFORE, revoked_at=BEFORE), Suspension(MOMENT, True), False),
    ],
)
def test_the_later_of_two_suspensions_counts(agent, change, suspended):
    found = agents_changes.suspend_all(records(agent, AgentRecord(id="bob", created=BEFORE)), {"alice": change})
    assert (found.agent("alice").suspended is True) is suspended
    assert found.agent("bob") == AgentRecord(id="bob", created=BEFORE)


def test_a_store_passes_on_what_happened_elsewhere(tmp_path):
    agents = AgentStore(tmp_path / "agents.json")
    token, other = agents.add("alice"), agents.add("bob")
    now = datetime.now(UTC) + timedelta(seconds=1)
    agents.revoke_all({"alice": now})
    agents.suspend_all({"bob": Suspension(now, True)})
    assert agents.find(token) is None
    assert agents.find(other) is None
    agents.suspend_all({"bob": Suspension(now + timedelta(seconds=1), False)})
    found = agents.find(other)
    assert found is not None
    assert found.id == "bob"


def test_an_export_that_differs_is_not_imported():
    here, there = AgentRecord(id="alice", created=BEFORE), AgentRecord(id="alice", created=AFTER)
    with pytest.raises(AgentError, match="exist already and differ"):
        agents_changes.add_exported(records(here), records(there))
    assert agents_changes.add_exported(records(here), records(here)) == records(here)


def test_files_that_cannot_be_used_are_named(tmp_path):
    folder = AgentsFile(tmp_path)
    for use in (folder.read, lambda: folder.write(b"{}")):
        with pytest.raises(AgentsFileError, match=str(tmp_path)):
            use()
    assert not folder.has(b"")
    # The folder of this file is a file, so that it can be neither locked nor looked at.
    (tmp_path / "file").touch()
    below = AgentsFile(tmp_path / "file" / "agents.json")
    with pytest.raises(AgentsFileError, match="cannot be locked"), below.locked():
        pass


def test_old_wrong_tokens_are_forgotten_first():
    limit: GuessLimit[int] = GuessLimit()
    for number in range(MAX_REMEMBERED + 1):
        limit.fail(f"address {number}", b"digest", now=0.0)
    assert len(limit._wrong) == MAX_REMEMBERED
    assert ("address 0", b"digest") not in limit._wrong


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b" " * (LARGEST_FILE + 1), "larger than 16 MiB"),
        (b'[{"a": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"agent": "alice", "agent": "bob"}', "has the member 'agent' twice"),
        (b"\xff", "not a text file in UTF-8"),
        (b"[1]", "must be a list of objects"),
    ],
)
def test_a_file_that_is_no_list_of_agents_is_refused(data, says):
    with pytest.raises(ImportRefusedError) as raised:
        read_entries(data, "agents.json")
    assert says in " ".join(raised.value.problems)


def test_a_proof_needs_each_of_its_parts(tmp_path):
    agents = AgentStore(tmp_path / "agents.json")
    agents.add("alice")
    assert not NO_PROOF
    assert proven_agent(NO_PROOF, agents, 0.0) is None
    assert proven_agent(Proof(access_key="AKIAWRONG"), agents, 0.0) is None
    assert proven_agent(Proof(tokens=(b"one", b"two")), agents, 0.0) is None
