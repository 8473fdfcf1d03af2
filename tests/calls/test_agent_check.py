"""The agent is looked up again before its call is recorded, and while it runs."""

from __future__ import annotations

import pytest

from wirekey.core.body import Body
from wirekey.core.call import Agent, Call
from wirekey.core.calls.agent_check import check_agent, refusal_if_revoked
from wirekey.core.calls.services import Services
from wirekey.core.calls.state import CallState
from wirekey.core.errors import Refusal
from wirekey.core.identity.agents import AgentStore
from wirekey.core.identity.proof import NO_PROOF, Proof, proven_agent
from wirekey.core.identity.tokens import token_digest
from wirekey.core.operation import Kind, Operation

NOW = 1_800_000_000.0


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("wirekey.core.calls.agent_check.time.time", clock)
    return clock


@pytest.fixture
def services(tmp_path, clock):
    services = Services()
    services.agents = AgentStore(tmp_path / "agents.json", clock)
    return services


def accepted(services, token: str) -> CallState:
    proof = Proof((token_digest(token),), accepted_at=NOW)
    return CallState(Call(agent=proven_agent(proof, services.agents, NOW)), proof=proof)


def test_an_unchanged_agent_passes(services):
    state = accepted(services, services.agents.add("alice", role="engineer"))
    check_agent(services.agents, state)
    assert refusal_if_revoked(services.agents, state) is None


def test_a_call_without_identity_passes_if_identity_is_not_required(services):
    state = CallState(Call())
    check_agent(services.agents, state)
    assert refusal_if_revoked(services.agents, state) is None
    assert not NO_PROOF


@pytest.mark.parametrize("how", ["revoke", "rotate"])
def test_an_agent_with_a_revoked_token_is_refused_and_its_running_call_ends(services, how):
    state = accepted(services, services.agents.add("alice"))
    getattr(services.agents, how)("alice")
    with pytest.raises(Refusal) as refused:
        check_agent(services.agents, state)
    assert (refused.value.status, refused.value.code) == (401, "identity_ended")
    assert refusal_if_revoked(services.agents, state).code == "agent_revoked"


def test_an_expired_token_sends_no_new_call_and_ends_no_running_one(services, clock):
    services.agents.add("alice")
    state = accepted(services, services.agents.issue_token("alice", "short", 10))
    clock.now = NOW + 11
    with pytest.raises(Refusal, match="expired"):
        check_agent(services.agents, state)
    assert refusal_if_revoked(services.agents, state) is None
    services.agents.revoke("alice")
    assert refusal_if_revoked(services.agents, state).code == "agent_revoked"


@pytest.mark.parametrize("body", [Body.EVENTS, Body.WEBSOCKET, Body.MESSAGE])
def test_an_expired_token_ends_a_connection_that_may_stay_open_for_long(services, clock, body):
    services.agents.add("alice")
    state = accepted(services, services.agents.issue_token("alice", "short", 10))
    state.call.operation = Operation("opened", body, Kind.INFERENCE)
    assert refusal_if_revoked(services.agents, state) is None
    clock.now = NOW + 11
    assert refusal_if_revoked(services.agents, state).code == "agent_revoked"


def test_a_call_whose_agent_changed_during_the_policy_check_is_refused(services):
    state = accepted(services, services.agents.add("alice", role="engineer"))
    state.call.agent = Agent("alice", "admin")
    with pytest.raises(Refusal) as refused:
        check_agent(services.agents, state)
    assert (refused.value.status, refused.value.code) == (503, "agent_changed")


def test_a_signature_with_a_rotated_pair_ends_a_running_call(services):
    services.agents.add("alice")
    pair = services.agents.pair("alice")
    state = CallState(Call(agent=services.agents.find_pair(pair.access_key)[0]), proof=Proof((), pair.access_key, NOW))
    check_agent(services.agents, state)
    services.agents.rotate_pair("alice")
    assert refusal_if_revoked(services.agents, state).code == "agent_revoked"
