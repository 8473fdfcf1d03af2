"""What an attempt reserves in budgets, by what its request allows."""

from __future__ import annotations

import json

import pytest

from wirekey.core.body import Body
from wirekey.core.call import Agent, Call
from wirekey.core.calls.state import CallState
from wirekey.core.operation import Kind, Operation
from wirekey.core.routing.candidate import Candidate
from wirekey.features.quotas.definition import NANODOLLARS, Applied, Quota
from wirekey.features.quotas.expected_output import CallKind, Output, OutputEstimates
from wirekey.features.quotas.hold import Hold
from wirekey.features.quotas.holds import hold_of_attempt
from wirekey.features.quotas.limits import budget_limits
from wirekey.providers.registry import PROVIDERS

CHAT = ("openai", Operation("chat.completions", Body.JSON, Kind.INFERENCE))
RESPONSE = ("openai", Operation("responses", Body.JSON, Kind.INFERENCE))
MESSAGE = ("anthropic", Operation("messages", Body.JSON, Kind.INFERENCE))
HAIKU, OPUS = "claude-haiku-4-5", "claude-opus-4-5"
MESSAGES = [{"role": "user", "content": "Hello."}]
A_CHAT = {"messages": MESSAGES, "max_tokens": 100, "service_tier": "default"}
A_RESPONSE = {"input": "Hello.", "max_output_tokens": 100, "service_tier": "default"}
WORST = Quota("worst", "agent", usd_per_day=NANODOLLARS)
EXPECTED = Quota("expected", "agent", usd_per_day=NANODOLLARS, reserves_expected=True)
A_MESSAGE = {"messages": MESSAGES, "max_tokens": 100, "inference_geo": "global"}


def reserved(call, request: dict) -> int | None:
    """Return the cost that the first attempt of a call reserves, in billionths of a dollar."""
    provider, operation = call
    body = json.dumps(request).encode()
    facts = PROVIDERS[provider].operations.read_request(operation, {}, "application/json", body)
    state = CallState(Call(provider=provider, operation=operation, facts=facts), body=body)
    return hold_of_attempt(state, (), Candidate(provider), 1, OutputEstimates()).use.cost


def expectation(known: int, quota: Quota = EXPECTED, **request) -> tuple[Hold, int, int]:
    """Return the hold of a stream whose kind had `known` times 200 tokens, and what two quotas reserve of it."""
    operation = Operation("chat.completions", Body.JSON, Kind.INFERENCE)
    body = json.dumps(A_CHAT | {"model": "gpt-4o"} | request).encode()
    facts = PROVIDERS["openai"].operations.read_request(operation, {}, "application/json", body)
    state = CallState(Call(provider="openai", operation=operation, facts=facts, agent=Agent("alice")), body=body)
    estimates = OutputEstimates()
    for _ in range(known):
        estimates.note(CallKind("alice", "gpt-4o", "chat.completions"), Output(200))
    applied = (Applied(WORST, "alice"), Applied(quota, "alice"))
    hold = hold_of_attempt(state, applied, Candidate("openai"), 1, estimates)
    worst, expected = budget_limits(applied, hold.use, 0.0, expected=hold.expected)
    return hold, worst.budget.amount, expected.budget.amount


@pytest.mark.parametrize(
    ("known", "max_tokens", "expected"),
    [(0, 16_000, 1000), (5, 16_000, 200), (5, 100, 100), (0, 100, 100)],
    ids=["unknown", "known", "limited", "unknown and limited"],
)
def test_a_quota_reserves_the_expected_output_if_it_is_set(known, max_tokens, expected):
    hold, worst, reserved = expectation(known, max_tokens=max_tokens)
    assert worst == hold.use.cost
    assert worst - reserved == (max_tokens - expected) * 10_000
    assert hold.growth.tokens == expected


def test_a_quota_that_reserves_the_worst_case_needs_no_estimate():
    hold, worst, reserved = expectation(5, WORST, max_tokens=16_000)
    assert hold.growth is None
    assert worst == reserved == hold.use.cost


@pytest.mark.parametrize(
    ("call", "request_", "dear"),
    [
        (CHAT, A_CHAT | {"model": "gpt-4o-mini", "models": ["gpt-4o", "gpt-4.1-nano"]}, "gpt-4o"),
        (MESSAGE, A_MESSAGE | {"model": HAIKU, "fallbacks": [{"model": OPUS}]}, OPUS),
    ],
    ids=["models", "fallbacks"],
)
def test_a_request_that_several_models_may_answer_reserves_for_the_dearest(call, request_, dear):
    of_dear = reserved(call, request_ | {"model": dear})
    assert of_dear is not None
    assert of_dear <= reserved(call, request_) < of_dear * 1.1


@pytest.mark.parametrize(
    ("call", "request_"),
    [
        (CHAT, A_CHAT | {"model": "gpt-4o", "models": ["a-model-of-next-year"]}),
        (MESSAGE, A_MESSAGE | {"model": OPUS, "fallbacks": "default"}),
        (MESSAGE, A_MESSAGE | {"model": OPUS, "fallbacks": [{"model": "a-model-of-next-year"}]}),
    ],
)
def test_the_cost_is_unknown_if_one_of_the_models_has_no_price(call, request_):
    assert reserved(call, request_) is None


def test_a_model_that_only_judges_what_is_written_costs_nothing():
    request = A_RESPONSE | {"model": "gpt-4o", "moderation": {"model": "omni-moderation-latest"}}
    plain = reserved(RESPONSE, A_RESPONSE | {"model": "gpt-4o"})
    assert plain is not None
    assert plain <= reserved(RESPONSE, request) < plain * 1.1


def test_a_longer_limit_of_a_fallback_counts():
    fallback = {"model": HAIKU, "max_tokens": 10_000}
    request = A_MESSAGE | {"model": HAIKU, "fallbacks": [fallback]}
    assert reserved(MESSAGE, request) >= 10_000 * 5_000


def test_a_prompt_router_of_bedrock_has_no_known_price():
    """It chooses among models that its operator has set in AWS."""
    router = "arn:aws:bedrock:us-east-1:123456789012:default-prompt-router/anthropic.claude:1"
    operation = Operation("converse", Body.JSON, Kind.INFERENCE, model=router)
    assert reserved(("bedrock", operation), {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}) is None


def test_a_response_that_may_be_spoken_reserves_the_price_of_speech():
    request = A_CHAT | {"model": "gpt-audio", "modalities": ["text", "audio"]}
    assert reserved(CHAT, request) >= 100 * 64_000
