"""THREATS R33: an agent that asks for a dearer tier spends its budget at the price of that tier."""

from __future__ import annotations

import json

import pytest

from tests.support.raw_client import post
from tests.support.running import wirekey_behind
from tests.threats.conftest import OPENAI, Stage, beginning

ANTHROPIC = "api.anthropic.com"
QUOTAS = [{"name": "daily", "per": "agent", "usd_per_day": 1000}]
MESSAGES = [{"role": "user", "content": "Hello."}]
CHAT = {"model": "gpt-5.5", "messages": MESSAGES, "max_completion_tokens": 50}
MESSAGE = {"model": "claude-opus-4-6", "messages": MESSAGES, "max_tokens": 50}
A_CHAT = (OPENAI, "/v1/chat/completions", CHAT)
A_RESPONSE = (OPENAI, "/v1/responses", {"model": "gpt-5.5", "input": "Hello."})
A_MESSAGE = (ANTHROPIC, "/v1/messages", MESSAGE)
FIELDS = ("anthropic-version: 2023-06-01",)


@pytest.fixture(scope="module")
def budgeted(running_stage, tmp_path_factory):
    with wirekey_behind(tmp_path_factory.mktemp("budgets"), running_stage.simulator, quotas=QUOTAS) as proxy:
        yield Stage(running_stage.simulator, proxy, proxy.add_agent("alice"), proxy.add_agent("bob"))


def recorded(stage: Stage, host: str, body: dict, path: str = "/v1/chat/completions") -> dict:
    """Send a call that is served, and return its event."""
    stage.simulator.forget()
    stage.began = beginning()
    fields = FIELDS if host == ANTHROPIC else ()
    answer = stage.ask(post(*fields, path=path, host=host, body=json.dumps(body).encode()), host)
    assert answer.status == 200, answer
    return stage.event()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("call", "asks", "tier_and_factor"),
    [
        (A_CHAT, {"service_tier": "priority"}, ("priority", 2.5)),
        (A_CHAT, {"service_tier": "fast"}, ("priority", 2.5)),
        (A_CHAT, {"service_tier": "flex"}, ("flex", 0.5)),
        (A_RESPONSE, {"service_tier": "priority"}, ("priority", 2.5)),
        (A_MESSAGE, {"speed": "fast"}, ("fast", 6)),
        (A_MESSAGE, {"speed": "fast", "inference_geo": "us"}, ("fast+us", 6.6)),
    ],
)
def test_R33_a_dearer_tier_is_priced_and_recorded(budgeted, call, asks, tier_and_factor, stream):
    (host, path, body), (tier, factor) = call, tier_and_factor
    body = body | {"stream": stream}
    plain = recorded(budgeted, host, body, path)
    dear = recorded(budgeted, host, body | asks, path)
    assert plain["service_tier"] in ("default", "standard")
    assert dear["service_tier"] == tier
    assert dear["cost_usd"] / dear["output_tokens"] == pytest.approx(
        plain["cost_usd"] / plain["output_tokens"] * factor, rel=0.2
    )


@pytest.mark.parametrize(
    ("host", "path", "body"),
    [
        (OPENAI, "/v1/chat/completions", CHAT | {"service_tier": "scale"}),
        (OPENAI, "/v1/responses", {"model": "gpt-5.5", "input": "x", "service_tier": "a-new-one"}),
        (ANTHROPIC, "/v1/messages", MESSAGE | {"model": "claude-haiku-4-5", "speed": "fast"}),
    ],
)
def test_R33_a_tier_without_a_known_price_is_refused_under_a_budget(budgeted, host, path, body):
    budgeted.simulator.forget()
    budgeted.began = beginning()
    fields = FIELDS if host == ANTHROPIC else ()
    event = budgeted.denied(post(*fields, path=path, host=host, body=json.dumps(body).encode()), 403, host)
    assert event["policy_reason"].startswith("unknown_price") or "price" in event["policy_reason"]


@pytest.mark.parametrize(
    ("host", "path", "body"),
    [
        (OPENAI, "/v1/chat/completions", CHAT | {"models": ["a-model-of-next-year"]}),
        (ANTHROPIC, "/v1/messages", MESSAGE | {"fallbacks": [{"model": "a-model-of-next-year"}]}),
        (ANTHROPIC, "/v1/messages", MESSAGE | {"fallbacks": "default"}),
    ],
)
def test_R33_a_further_model_without_a_known_price_is_refused_under_a_budget(budgeted, host, path, body):
    budgeted.simulator.forget()
    budgeted.began = beginning()
    fields = FIELDS if host == ANTHROPIC else ()
    event = budgeted.denied(post(*fields, path=path, host=host, body=json.dumps(body).encode()), 403, host)
    assert event["policy_reason"].startswith("unknown_price")
