"""The policy allows a call, refuses it, or allows it with an obligation."""

from __future__ import annotations

import json

import pytest
from mitmproxy.test import taddons

from tests.support.addon_flows import (
    CHAT,
    GENERATE,
    MESSAGES,
    MODEL_LIST,
    passed,
    recognised,
    refusal_of,
    request_flow,
    services_for,
)
from tests.support.policies import write
from wirekey.core.addons.policy import Policy, may_fall_back
from wirekey.core.body import Body
from wirekey.core.call import Agent, Outcome
from wirekey.core.calls.tunnels import TUNNEL
from wirekey.core.errors import Refusal
from wirekey.core.operation import Kind, Operation
from wirekey.core.policy.engine import EmbeddedEngine

RULES = """\
package wirekey.authz
deny contains "No large models." if startswith(input.model, "gpt-4o-large")
deny contains "No tools." if input.has_tools
deny contains "Not this program." if startswith(input.headers["user-agent"], "curl")
deny contains "No tunnels." if input.target == "blocked.example:443"
deny contains "No settings." if input.operation == "settings"
max_tokens := 100 if input.agent_role == "junior"
model := "gpt-4o-mini" if input.agent_role == "thrifty"
"""
SETTINGS = Operation("settings", Body.NONE, Kind.COMPANION)
ALICE, READER = Agent("alice"), Agent("alice", permissions=("web:read",))
STRANGER = Agent("alice", permissions=())
COMES_FIRST = Refusal(401, "first", "Refused before.")


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = write(tmp_path_factory.mktemp("policies") / "rules", rules=RULES)
    made = EmbeddedEngine(folder, "data.wirekey.authz", 1.0)
    yield made
    made.close()


@pytest.fixture
def policy(engine):
    services = services_for()
    services.policy = engine
    return Policy(services)


def call_of(policy, operation=CHAT, provider="openai", *, agent=ALICE, method="POST", headers=(), **body):
    flow = request_flow(method=method, **dict(headers))
    recognised(policy.services, flow, operation, provider, **body).agent = agent
    return flow


@pytest.mark.parametrize(
    ("call", "refused"),
    [
        ({}, None),
        ({"model": "gpt-4o-mini"}, None),
        ({"model": "gpt-4o-large"}, (403, "policy_denied")),
        ({"model": "gpt-4o", "tools": [{"type": "function", "function": {"name": "f"}}]}, (403, "policy_denied")),
        ({"headers": {"user_agent": "curl/8"}}, (403, "policy_denied")),
        ({"agent": None}, (403, "missing_permission")),
        ({"agent": READER}, (403, "missing_permission")),
        ({"agent": Agent("alice", permissions=("web:write",))}, None),
        ({"operation": MODEL_LIST, "method": "GET", "agent": READER}, None),
        (
            {"operation": MODEL_LIST, "method": "GET", "agent": STRANGER},
            (403, "missing_permission"),
        ),
    ],
)
async def test_permissions_and_policy_decide(policy, call, refused):
    flow = await passed(policy, call_of(policy, **call))
    assert refusal_of(policy.services, flow) == refused
    assert (policy.calls.of(flow).policy_result == "deny") == (refused is not None)


@pytest.mark.parametrize(
    ("operation", "provider", "message"),
    [
        (CHAT, "openai", ("error", "message")),
        (MESSAGES, "anthropic", ("error", "message")),
        (GENERATE, "gemini", ("error", "message")),
        (Operation("converse", Body.JSON, Kind.INFERENCE, model="m"), "bedrock", ("message",)),
    ],
)
async def test_a_refusal_says_the_reasons_in_the_format_of_the_provider(policy, operation, provider, message):
    found = await passed(policy, call_of(policy, operation, provider, headers={"user_agent": "curl/8"}))
    body = found.response.json()
    for name in message:
        body = body[name]
    assert "Not this program." in body
    call = policy.calls.of(found)
    assert (call.policy_result, call.outcome) == ("deny", Outcome.DENIED)
    assert call.policy_reason == "policy_denied: Not this program."
    assert call.policy_revision == policy.services.policy.revision


async def test_the_settings_of_coding_agents_are_declined_and_not_denied(policy):
    flow = await passed(policy, call_of(policy, SETTINGS, method="GET"))
    assert policy.calls.of(flow).outcome is Outcome.DECLINED


@pytest.mark.parametrize(
    ("operation", "provider", "sent", "expected"),
    [
        (CHAT, "openai", {"max_completion_tokens": 500}, {"max_completion_tokens": 100}),
        (CHAT, "openai", {"max_completion_tokens": 50}, {"max_completion_tokens": 50}),
        (MESSAGES, "anthropic", {"max_tokens": 500}, {"max_tokens": 100}),
        (GENERATE, "gemini", {"contents": []}, {"contents": [], "generationConfig": {"maxOutputTokens": 100}}),
    ],
)
async def test_a_token_limit_of_the_policy_lowers_the_one_of_the_request(policy, operation, provider, sent, expected):
    flow = await passed(policy, call_of(policy, operation, provider, agent=Agent("eve", "junior"), **sent))
    state = policy.calls.state(flow)
    assert flow.response is None
    assert json.loads(state.body) == expected
    assert state.cap == 100


async def test_a_call_that_is_allowed_keeps_the_bytes_of_its_body(policy):
    flow = call_of(policy)
    body = policy.calls.state(flow).body
    await passed(policy, flow)
    state = policy.calls.state(flow)
    assert state.body is body
    assert (state.cap, state.wanted_model, state.call.policy_result) == (None, None, None)


async def test_a_model_of_the_policy_is_left_for_routing(policy):
    flow = await passed(policy, call_of(policy, agent=Agent("eve", "thrifty"), model="gpt-4o"))
    state = policy.calls.state(flow)
    assert state.wanted_model == "gpt-4o-mini"
    assert json.loads(state.body)["model"] == "gpt-4o"


@pytest.mark.parametrize(("model", "allowed"), [("gpt-4o-mini", True), ("gpt-4o-large", False)])
async def test_a_fallback_is_decided_as_the_model_that_is_sent(policy, model, allowed):
    flow = call_of(policy, model="gpt-4o")
    assert await may_fall_back(policy.services, flow, policy.calls.of(flow), model) is allowed
    assert policy.calls.of(flow).facts.model == "gpt-4o"


@pytest.mark.parametrize(("host", "refused"), [("blocked.example", (403, "policy_denied")), ("other.example", None)])
async def test_a_tunnel_is_decided_by_its_target(policy, host, refused):
    flow = request_flow("", host, method="CONNECT")
    policy.calls.open(flow)
    call = policy.calls.of(flow)
    call.operation, call.agent = TUNNEL, Agent("alice")
    with taddons.context(loadcore=False):
        await policy.http_connect(flow)
    assert refusal_of(policy.services, flow) == refused


async def test_a_call_that_was_refused_before_is_not_decided(policy):
    flow = call_of(policy, model="gpt-4o-large")
    policy.calls.refuse(flow, COMES_FIRST)
    await passed(policy, flow)
    assert refusal_of(policy.services, flow) == (401, "first")
