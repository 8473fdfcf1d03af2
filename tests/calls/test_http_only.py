"""Agents whose programs are to use HTTP are remembered for a minute, and not more than a number of them."""

from wirekey.call import Agent, Call
from wirekey.calls import http_only
from wirekey.calls.http_only import MOST_AGENTS, SECONDS, HttpOnlyAgents


def call_of(name: str | None, client: str = "192.0.2.1") -> Call:
    return Call(client=client, agent=Agent(name, "engineer", "interactive") if name else None)


def test_an_agent_is_remembered_for_a_minute(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(http_only.time, "monotonic", lambda: now)
    agents = HttpOnlyAgents()
    agents.note(call_of("alice"))
    assert agents.has(call_of("alice", "192.0.2.2"))
    assert not agents.has(call_of("bob"))
    now += SECONDS + 1
    assert not agents.has(call_of("alice"))


def test_a_client_without_an_agent_is_remembered_by_its_address():
    agents = HttpOnlyAgents()
    agents.note(call_of(None))
    assert agents.has(call_of(None))
    assert not agents.has(call_of(None, "192.0.2.2"))
    assert not agents.has(call_of("192.0.2.1"))


def test_the_number_of_agents_is_limited():
    agents = HttpOnlyAgents()
    for number in range(MOST_AGENTS + 1):
        agents.note(call_of(f"agent-{number}"))
    assert not agents.has(call_of("agent-0"))
    assert agents.has(call_of(f"agent-{MOST_AGENTS}"))
