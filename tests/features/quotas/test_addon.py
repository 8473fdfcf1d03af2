"""The addon of quotas reserves the largest use of a call, or refuses the call in the format of its provider."""

from __future__ import annotations

import pytest

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
from wirekey.core.body import Body
from wirekey.core.call import Agent
from wirekey.core.calls.service_parts import add_services_of_features
from wirekey.core.errors import Refusal
from wirekey.core.operation import Kind, Operation
from wirekey.core.routing.candidate import Candidate
from wirekey.core.routing.plan import RetryPlan
from wirekey.features.quotas.addon import Quotas
from wirekey.features.quotas.definition import NANODOLLARS, Applied, Quota
from wirekey.features.quotas.hold import CallQuotas

SETTINGS = Operation("settings", Body.NONE, Kind.COMPANION)
COMES_FIRST = Refusal(401, "first", "Refused before.")
ONE_A_MINUTE = Quota("team", "agent", requests_per_minute=1)
ONE_AT_ONCE = Quota("team", "agent", concurrent=1)
POOR = Quota("team", "agent", usd_per_day=NANODOLLARS // 1_000_000)
RICH = Quota("team", "agent", usd_per_day=100 * NANODOLLARS)
REQUEST = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello."}], "max_tokens": 1000}


@pytest.fixture
def quotas():
    services = services_for()
    add_services_of_features(services)
    return Quotas(services)


async def called(addon, *limits, operation=CHAT, provider="openai", subject="alice", refused=None, **body):
    """Return the flow of a call to which these quotas apply, after the addon."""
    flow = request_flow()
    call = recognised(addon.services, flow, operation, provider, **body)
    call.agent, call.model = Agent(subject), call.facts.model if call.facts else None
    state = addon.calls.state(flow)
    state.plan = RetryPlan((Candidate(provider),))
    if limits:
        state.features.put(CallQuotas(tuple(Applied(quota, subject) for quota in limits)))
    if refused:
        addon.calls.refuse(flow, refused)
    return await passed(addon, flow)


@pytest.mark.parametrize(
    ("quota", "body", "refused"),
    [
        (ONE_A_MINUTE, REQUEST, None),
        (ONE_AT_ONCE, REQUEST, None),
        (RICH, REQUEST, None),
        (POOR, REQUEST, None),
        (POOR, REQUEST | {"model": "a-model-of-next-year"}, (403, "unknown_price")),
        (RICH, REQUEST | {"model": "a-model-of-next-year"}, (403, "unknown_price")),
        (ONE_A_MINUTE, REQUEST | {"model": "a-model-of-next-year"}, None),
    ],
)
async def test_the_first_call_is_allowed_if_its_price_is_known(quotas, quota, body, refused):
    flow = await called(quotas, quota, **body)
    assert refusal_of(quotas.services, flow) == refused
    assert quotas.limits.enforcer.in_progress == (refused is None and quota is not ONE_A_MINUTE)


@pytest.mark.parametrize(
    ("quota", "operation", "provider", "code"),
    [
        (ONE_A_MINUTE, CHAT, "openai", ("error", "code")),
        (ONE_AT_ONCE, CHAT, "openai", ("error", "code")),
        (POOR, CHAT, "openai", ("error", "code")),
        (ONE_A_MINUTE, MESSAGES, "anthropic", ("error", "type")),
        (ONE_A_MINUTE, GENERATE, "gemini", ("error", "status")),
        (ONE_A_MINUTE, Operation("converse", Body.JSON, Kind.INFERENCE, model="m"), "bedrock", ("message",)),
    ],
)
async def test_the_second_call_is_refused_in_the_format_of_its_provider(quotas, quota, operation, provider, code):
    body = REQUEST if operation is CHAT else {}
    await called(quotas, quota, operation=operation, provider=provider, **body)
    flow = await called(quotas, quota, operation=operation, provider=provider, **body)
    assert refusal_of(quotas.services, flow) == (429, "rate_limit_exceeded")
    assert int(flow.response.headers["retry-after"]) >= 1
    body = flow.response.json()
    for name in code:
        body = body[name]
    assert body


async def test_another_agent_has_its_own_limit(quotas):
    await called(quotas, ONE_A_MINUTE)
    flow = await called(quotas, ONE_A_MINUTE, subject="bob")
    assert flow.response is None


async def test_a_call_that_one_quota_refuses_reserves_nothing_in_another(quotas):
    await called(quotas, ONE_AT_ONCE, **REQUEST)
    flow = await called(quotas, RICH, ONE_AT_ONCE, **REQUEST)
    assert refusal_of(quotas.services, flow) == (429, "rate_limit_exceeded")
    assert quotas.limits.enforcer.in_progress == 1


async def test_a_budget_that_is_spent_refuses_calls_until_its_period_ends(quotas):
    flow = await called(quotas, POOR, **REQUEST)
    state = quotas.calls.state(flow)
    quotas.limits.note_sent(state)
    state.call.status, state.call.cost_usd = 200, 0.01
    quotas.limits.settle(state)
    flow = await called(quotas, POOR, **REQUEST)
    assert refusal_of(quotas.services, flow) == (429, "insufficient_quota")
    assert "retry-after" not in flow.response.headers


@pytest.mark.parametrize("quota", [ONE_AT_ONCE, RICH])
async def test_the_end_of_a_call_releases_what_it_reserved(quotas, quota):
    flow = await called(quotas, quota, **REQUEST)
    quotas.limits.settle(quotas.calls.state(flow))
    assert quotas.limits.enforcer.in_progress == 0
    assert (await called(quotas, quota, **REQUEST)).response is None


async def test_requests_of_coding_agents_that_call_no_model_are_not_counted(quotas):
    for _ in range(3):
        assert (await called(quotas, ONE_A_MINUTE, operation=SETTINGS)).response is None


async def test_a_list_of_models_counts_as_a_request_and_costs_nothing(quotas):
    assert (await called(quotas, ONE_A_MINUTE, POOR, operation=MODEL_LIST)).response is None
    flow = await called(quotas, ONE_A_MINUTE, POOR, operation=MODEL_LIST)
    assert refusal_of(quotas.services, flow) == (429, "rate_limit_exceeded")


async def test_a_call_without_quotas_reserves_nothing(quotas):
    flow = await called(quotas)
    assert flow.response is None
    assert quotas.limits.enforcer.in_progress == 0


async def test_a_call_that_was_refused_before_reserves_nothing(quotas):
    await called(quotas, ONE_AT_ONCE, refused=COMES_FIRST)
    assert quotas.limits.enforcer.in_progress == 0
