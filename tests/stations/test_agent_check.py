"""The agent is looked up again before its call is recorded, and while it runs."""

from __future__ import annotations

import pytest

from wirekey.call import Agent, Call
from wirekey.identity.agents import AgentBook
from wirekey.identity.proof import NO_PROOF, Proof
from wirekey.identity.tokens import token_digest
from wirekey.refusal import Refusal
from wirekey.stations.agent_check import check_agent, withdrawn
from wirekey.stations.house import House
from wirekey.stations.passage import Passage

NOW = 1_800_000_000.0


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("wirekey.stations.agent_check.time.time", clock)
    return clock


@pytest.fixture
def house(tmp_path, clock):
    house = House()
    house.book = AgentBook(tmp_path / "agents.json", clock)
    house.jwts = None
    return house


def accepted(house, token: str) -> Passage:
    proof = Proof((token_digest(token),), accepted_at=NOW)
    return Passage(Call(agent=house.agent_of(proof, NOW)), proof=proof)


def test_an_agent_that_is_as_it_was_passes(house):
    passage = accepted(house, house.book.add("alice", role="engineer"))
    check_agent(house, passage)
    assert withdrawn(house, passage) is None


def test_a_call_without_identity_passes_where_none_is_required(house):
    passage = Passage(Call())
    check_agent(house, passage)
    assert withdrawn(house, passage) is None
    assert not NO_PROOF


@pytest.mark.parametrize("how", ["revoke", "rotate"])
def test_an_agent_whose_token_was_taken_back_is_refused_and_its_running_call_ends(house, how):
    passage = accepted(house, house.book.add("alice"))
    getattr(house.book, how)("alice")
    with pytest.raises(Refusal) as refused:
        check_agent(house, passage)
    assert (refused.value.status, refused.value.code) == (401, "identity_ended")
    assert withdrawn(house, passage).code == "agent_revoked"


def test_a_token_that_expires_sends_nothing_new_and_ends_nothing_that_runs(house, clock):
    house.book.add("alice")
    passage = accepted(house, house.book.issue_token("alice", "short", 10))
    clock.now = NOW + 11
    with pytest.raises(Refusal, match="expired"):
        check_agent(house, passage)
    assert withdrawn(house, passage) is None
    house.book.revoke("alice")
    assert withdrawn(house, passage).code == "agent_revoked"


def test_an_agent_that_was_changed_while_it_was_judged_is_judged_anew(house):
    passage = accepted(house, house.book.add("alice", role="engineer"))
    passage.call.agent = Agent("alice", "admin")
    with pytest.raises(Refusal) as refused:
        check_agent(house, passage)
    assert (refused.value.status, refused.value.code) == (503, "agent_changed")


def test_the_pair_of_a_signature_counts_too(house):
    house.book.add("alice")
    pair = house.book.pair("alice")
    passage = Passage(Call(agent=house.book.find_pair(pair.access_key)[0]), proof=Proof((), pair.access_key, NOW))
    check_agent(house, passage)
    house.book.rotate_pair("alice")
    assert withdrawn(house, passage).code == "agent_revoked"
