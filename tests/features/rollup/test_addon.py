"""What the addon holds, and when it goes. test_conversations.py has its effect on requests."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from mitmproxy.test import tflow

from wirekey.core.addons.order import AddonOrder
from wirekey.core.body import Body
from wirekey.core.call import Agent, Call, Outcome
from wirekey.core.calls.services import Services
from wirekey.core.calls.state import CallState
from wirekey.core.identity.agents import AgentStore
from wirekey.core.operation import Facts, Kind, Operation
from wirekey.core.routing.candidate import Candidate, Failover
from wirekey.core.routing.plan import RetryPlan
from wirekey.feature import FeatureValues
from wirekey.features.rollup.addon import MOST_PENDING, Rollup
from wirekey.features.rollup.config import RollupOfRoute
from wirekey.features.rollup.settings import RollupSettings

SETTINGS = RollupSettings(True, 20, 100_000, 4096, "gemini-2.5-flash", "Summarise.", 60.0, verbatim=True)
SAID = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}]}


class Calls:
    """The addon with a store of agents, and calls that pass it."""

    def __init__(self, folder) -> None:
        self.services = Services()
        self.services.agents = AgentStore(folder / "agents.json")
        self.services.agents.add("alice")
        self.services.settings = replace(self.services.settings, features=FeatureValues.of([SETTINGS]))
        self.rollup = Rollup(self.services, AddonOrder())
        self.rollup.own_calls = None  # no conversation here is long enough for a summary

    def set(self, settings: RollupSettings | None) -> None:
        self.services.settings = replace(
            self.services.settings, features=FeatureValues.of([settings] if settings else [])
        )

    async def begin(self, text: str, agent: str | None = "alice", of_route: bool | None = None, **members):
        """Have a request with this text pass the addon. Return its flow."""
        flow = tflow.tflow()
        flow.request.headers["content-type"] = "application/json"
        body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **members}).encode()
        call = Call(
            agent=Agent(agent) if agent else None,
            provider="openai",
            operation=Operation("chat.completions", Body.JSON, Kind.INFERENCE),
            reads_body=True,
            facts=Facts(model="gpt-4o", choices=members.get("n")),
        )
        plan = RetryPlan(
            (Candidate("openai", features=FeatureValues.of([RollupOfRoute(rollup=of_route)])),), Failover(), None
        )
        self.services.calls.states[flow.id] = CallState(call, body=body, plan=plan)
        waiting = self.rollup.request(flow)
        if waiting:
            await waiting
        return flow

    def end(self, flow, outcome=Outcome.COMPLETED, said=SAID, status=200):
        """Have the response pass, and end the call as `Audit` does."""
        state = self.services.calls.states.pop(flow.id)
        for copy in state.response_copies:
            copy.content_type = "application/json"
            copy.feed(json.dumps(said).encode())
        state.call.outcome, state.call.status = outcome, status
        self.services.events.ended(state.call)

    async def stored(self) -> int:
        """Return the number of entries, once everything in progress is stored."""
        while self.rollup.pending:
            await asyncio.gather(*self.rollup.pending)
        return len(self.rollup.store)


@pytest.fixture
async def calls(tmp_path):
    calls = Calls(tmp_path)
    yield calls
    await calls.rollup.done()


async def test_a_conversation_is_stored_when_its_call_has_ended(calls):
    flow = await calls.begin("Hello?")
    assert calls.rollup.held > 0
    assert await calls.stored() == 0
    calls.end(flow)
    assert await calls.stored() == 1
    assert calls.rollup.held == 0
    assert calls.rollup.in_progress == {}


@pytest.mark.parametrize(
    "ended",
    [
        {"outcome": Outcome.CLIENT_CANCELLED},
        {"outcome": Outcome.TRUNCATED},
        {"outcome": Outcome.DENIED, "status": 403},
        {"outcome": Outcome.UPSTREAM_ERROR, "status": 500},
        {"said": {"error": {"message": "x"}}},
        {"said": {**SAID, "choices": [{**SAID["choices"][0], "finish_reason": "content_filter"}]}},
    ],
    ids=["cancelled", "truncated", "denied", "failed", "an error in the body", "filtered"],
)
async def test_a_call_that_ends_otherwise_leaves_nothing(calls, ended):
    calls.end(await calls.begin("Hello?"), **ended)
    assert await calls.stored() == 0
    assert (calls.rollup.held, calls.rollup.in_progress) == (0, {})


IMAGE = {"role": "user", "content": [{"type": "image_url"}]}


@pytest.mark.parametrize(
    "request_",
    [{"agent": None}, {"n": 2}, {"messages": "Hello?"}, {"messages": [IMAGE]}],
    ids=["no agent", "two choices", "no list", "an image"],
)
async def test_a_request_of_another_kind_is_not_stored(calls, request_):
    calls.end(await calls.begin("Hello?", **request_))
    assert await calls.stored() == 0


async def test_without_the_setting_nothing_is_held(calls):
    calls.set(None)
    flow = await calls.begin("Hello?")
    assert calls.services.calls.states[flow.id].response_copies == ()
    assert calls.services.events.observers == [calls.services.open_sessions]
    assert calls.rollup.sweeping is None


@pytest.mark.parametrize("enabled", [False, True])
@pytest.mark.parametrize("of_route", [None, False, True])
async def test_a_route_decides_for_its_calls(calls, enabled, of_route):
    calls.set(replace(SETTINGS, enabled=enabled))
    await calls.begin("Hello?", of_route=of_route)
    assert len(calls.rollup.in_progress) == (enabled if of_route is None else of_route)


async def test_bodies_of_calls_in_progress_are_bounded(calls):
    flows = [await calls.begin("x" * 30_000) for _ in range(10)]
    assert calls.rollup.held <= SETTINGS.bytes
    assert len(calls.rollup.in_progress) == 3
    for flow in flows:
        calls.end(flow)
    assert calls.rollup.held == 0


async def test_responses_of_calls_in_progress_are_bounded_with_them(calls):
    flow, other = [await calls.begin("Hello?") for _ in range(2)]
    (copy,) = calls.services.calls.states[flow.id].response_copies
    before = calls.rollup.held
    for _ in range(9):
        copy.feed(bytes(10_000))
    assert calls.rollup.held == before + 90_000
    (small,) = calls.services.calls.states[other.id].response_copies
    small.feed(bytes(20_000))
    assert (small.is_cut, small.pieces, calls.rollup.held) == (True, [], before + 90_000)
    calls.end(flow, said="")
    calls.end(other)
    assert calls.rollup.held == 0
    assert await calls.stored() == 0


async def test_a_large_request_is_read_in_a_thread_and_a_larger_one_is_left_alone(calls):
    calls.set(replace(SETTINGS, bytes=10**7))
    await calls.begin("x" * 500_000)
    assert len(calls.rollup.in_progress) == 1
    await calls.begin("x" * 1_100_000)
    assert len(calls.rollup.in_progress) == 1


async def test_conversations_that_wait_to_be_stored_are_bounded(calls):
    flows = [await calls.begin(f"Hello {number}") for number in range(MOST_PENDING + 5)]
    for flow in flows:
        calls.end(flow)
    assert len(calls.rollup.pending) == MOST_PENDING
    assert await calls.stored() == SETTINGS.entries


async def test_a_call_whose_client_left_before_the_decision_is_forgotten(calls):
    """Such a call is not recorded, so nobody announces its end."""
    flow = await calls.begin("Hello?")
    del calls.services.calls.states[flow.id]
    calls.rollup.sweep()
    assert (calls.rollup.held, calls.rollup.in_progress, calls.rollup.sweeping) == (0, {}, None)


@pytest.mark.parametrize("change", ["revoke", "suspend"])
async def test_entries_of_a_revoked_agent_go(calls, change):
    calls.services.agents.add("bob")
    for agent in ("alice", "bob", "of-another-issuer"):
        calls.end(await calls.begin("Hello?", agent=agent))
    assert await calls.stored() == 3
    if change == "revoke":
        calls.services.agents.revoke("alice")
    else:
        calls.services.agents.change("alice", suspended=True)
    calls.rollup.sweep()
    assert calls.rollup.store.agents == {"bob", "of-another-issuer"}
    assert calls.rollup.sweeping is not None, "it looks again"


async def test_a_conversation_of_an_agent_that_was_revoked_since_is_not_stored(calls):
    flow = await calls.begin("Hello?")
    calls.services.agents.revoke("alice")
    calls.end(flow)
    assert await calls.stored() == 0


async def test_a_new_configuration_holds_for_what_is_stored(calls):
    for number in range(5):
        calls.end(await calls.begin(f"Hello {number}"))
    assert await calls.stored() == 5
    calls.set(replace(SETTINGS, entries=2))
    calls.rollup.sweep()
    assert len(calls.rollup.store) == 2
    calls.set(None)
    calls.rollup.sweep()
    assert (len(calls.rollup.store), calls.rollup.sweeping) == (0, None)


async def test_no_content_is_in_a_repr(calls):
    flow = await calls.begin("a canary")
    shown = repr(vars(calls.rollup)) + repr(calls.services.calls.states[flow.id])
    calls.end(flow)
    await calls.stored()
    assert "canary" not in shown + repr(vars(calls.rollup)) + repr(vars(calls.rollup.store))
