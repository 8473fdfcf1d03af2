"""Every usage that the SDKs of the providers have a type for costs at least what the price list says, and no less.

The usages are made by the SDKs' own types, and read as they pass in a response. The expected cost is computed here,
from the price list alone: each token at the price of its kind.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import botocore.session
import pytest
from anthropic.types import Usage as ClaudeUsage
from anthropic.types.beta import BetaUsage
from genai_prices import data
from google.genai.types import GenerateContentResponseUsageMetadata as GeminiUsage
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CompletionUsage
from openai.types.images_response import Usage as ImageUsage
from openai.types.responses import ResponseUsage

from wirekey.core.body import Body
from wirekey.core.metering.cost import cost_usd
from wirekey.core.operation import Facts, Kind, Operation
from wirekey.providers.registry import PROVIDERS

READ = {
    CompletionUsage: "prompt_tokens completion_tokens total_tokens completion_tokens_details prompt_tokens_details",
    ResponseUsage: "input_tokens input_tokens_details output_tokens output_tokens_details total_tokens",
    ImageUsage: "input_tokens input_tokens_details output_tokens total_tokens output_tokens_details",
    ClaudeUsage: "cache_creation cache_creation_input_tokens cache_read_input_tokens inference_geo input_tokens "
    "output_tokens output_tokens_details server_tool_use service_tier speed",
    GeminiUsage: "cache_tokens_details cached_content_token_count candidates_token_count candidates_tokens_details "
    "prompt_token_count prompt_tokens_details thoughts_token_count tool_use_prompt_token_count "
    "tool_use_prompt_tokens_details total_token_count traffic_type",
}
"""Type of an SDK → its members. Each of them is priced, or is a part or a sum of others."""
READ[BetaUsage] = f"{READ[ClaudeUsage]} fallback_credit iterations"
AWS_READ = "inputTokens outputTokens totalTokens cacheReadInputTokens cacheWriteInputTokens cacheDetails"
counts = st.integers(0, 5_000)
few = st.integers(0, 3)


def aws_shape(name):
    return botocore.session.Session().get_service_model("bedrock-runtime").shape_for(name)


@pytest.mark.parametrize("kind", READ, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_no_sdk_has_a_member_of_the_usage_that_was_not_looked_at(*, kind):
    assert set(kind.model_fields) == set(READ[kind].split())


def test_converse_has_no_member_of_the_usage_that_was_not_looked_at():
    assert set(aws_shape("TokenUsage").members) == set(AWS_READ.split())


def listed(provider, model):
    """Return the prices of a model on the list, by their keys, for short requests."""
    found = next(each for each in data.providers if each.id == provider)
    named = next(each for each in found.models if each.id == model)
    prices = named.get_prices(datetime.fromtimestamp(time.time(), UTC))
    values = {key: value for key, value in vars(prices).items() if value is not None}
    return {key: float(getattr(value, "base", value)) for key, value in values.items()}


def page_price(provider, model, tokens, *, factor=1.0, searches=0):
    """Return what tokens cost by the list. `tokens`: key of the price → number."""
    prices = listed(provider, model)
    total = 0.0
    for key, number in tokens.items():
        total += prices[key] * number / 1e6
    return total * factor + searches * prices.get("web_searches_kcount", 0) / 1000


def cost(provider, name, model, body, asked=None):
    """Return the cost of a response as it is recorded: read by its provider's reader, and priced."""
    served = PROVIDERS[provider]
    operation = Operation(name, Body.JSON, Kind.INFERENCE, model)
    reader = served.operations.response_reader(operation, Facts(), 200, "application/json")
    reader.feed(json.dumps(body).encode())
    reader.end()
    apart = served.prices.counts_cached_apart(name)
    usage = reader.usage.with_cached_input() if apart else reader.usage
    return cost_usd(served, model, usage, asked)


@given(text=counts, cached=counts, cached_audio=counts, audio=counts, output=counts, spoken=counts, reasoned=counts)
def test_a_chat_costs_what_its_tokens_cost(*, text, cached, cached_audio, audio, output, spoken, reasoned):
    usage = CompletionUsage(
        prompt_tokens=text + cached + cached_audio + audio,
        completion_tokens=output + spoken + reasoned,
        total_tokens=0,
        prompt_tokens_details={"cached_tokens": cached + cached_audio, "audio_tokens": audio + cached_audio},
        completion_tokens_details={"audio_tokens": spoken, "reasoning_tokens": reasoned},
    )
    found = cost("openai", "chat.completions", "gpt-realtime", {"choices": [], "usage": usage.model_dump()})
    expected = page_price(
        "openai",
        "gpt-realtime",
        {
            "input_mtok": text,
            "cache_read_mtok": cached,
            "cache_audio_read_mtok": cached_audio,
            "input_audio_mtok": audio,
            "output_mtok": output + reasoned,
            "output_audio_mtok": spoken,
        },
    )
    assert found >= expected * (1 - 1e-9)
    if not cached_audio:
        assert found == pytest.approx(expected, abs=1e-12)


@given(
    text=counts,
    cached=counts,
    written=counts,
    output=counts,
    searches=few,
    tier=st.sampled_from([("default", 1), ("priority", 2), ("flex", 0.5), ("scale", None)]),
)
def test_a_response_costs_its_tokens_its_tier_and_its_searches(*, text, cached, written, output, searches, tier):
    usage = ResponseUsage(
        input_tokens=text + cached + written,
        input_tokens_details={"cached_tokens": cached, "cache_write_tokens": written},
        output_tokens=output,
        output_tokens_details={"reasoning_tokens": output // 2},
        total_tokens=0,
    )
    name, factor = tier
    items = [{"type": "web_search_call", "action": {"type": "search"}}] * searches
    body = {"status": "completed", "output": items, "usage": usage.model_dump(), "service_tier": name}
    found = cost("openai", "responses", "gpt-6.1-sol", body)
    if factor is None:
        assert found is None
        return
    tokens = {"input_mtok": text, "cache_read_mtok": cached, "cache_write_mtok": written, "output_mtok": output}
    assert found == pytest.approx(
        page_price("openai", "gpt-6.1-sol", tokens, factor=factor, searches=searches), abs=1e-12
    )


@given(text=counts, images=counts, drawn=counts, written=counts)
def test_an_image_costs_what_its_tokens_cost(*, text, images, drawn, written):
    usage = ImageUsage(
        input_tokens=text + images,
        input_tokens_details={"text_tokens": text, "image_tokens": images},
        output_tokens=drawn + written,
        output_tokens_details={"text_tokens": written, "image_tokens": drawn},
        total_tokens=0,
    )
    found = cost("openai", "images.generations", "gpt-image-1.5", {"data": [], "usage": usage.model_dump()})
    tokens = {"input_mtok": text, "input_image_mtok": images, "output_mtok": written, "output_image_mtok": drawn}
    assert found == pytest.approx(page_price("openai", "gpt-image-1.5", tokens), abs=1e-12)


@given(
    kind=st.sampled_from([ClaudeUsage, BetaUsage]),
    text=counts,
    cached=counts,
    lives=st.tuples(counts, counts),
    output=counts,
    searches=few,
    served=st.tuples(st.sampled_from([("standard", 1), ("fast", 2)]), st.sampled_from([("global", 1), ("us", 1.1)])),
)
def test_a_message_costs_its_tokens_its_speed_its_place_and_its_searches(
    *, kind, text, cached, lives, output, searches, served
):
    short, long = lives
    (speed, faster), (geo, dearer) = served
    usage = kind(
        input_tokens=text,
        output_tokens=output,
        cache_read_input_tokens=cached,
        cache_creation_input_tokens=short + long,
        cache_creation={"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long},
        server_tool_use={"web_search_requests": searches, "web_fetch_requests": 1},
        service_tier="standard",
        speed=speed,
        inference_geo=geo,
    )
    body = {"type": "message", "model": "claude-opus-5", "usage": usage.model_dump()}
    tokens = {
        "input_mtok": text,
        "cache_read_mtok": cached,
        "cache_write_mtok": short,
        "cache_write_1h_mtok": long,
        "output_mtok": output,
    }
    expected = page_price("anthropic", "claude-opus-5", tokens, factor=faster * dearer, searches=searches)
    assert cost("anthropic", "messages", "claude-opus-5", body) == pytest.approx(expected, abs=1e-12)


@given(
    text=counts,
    audio=counts,
    cached=st.tuples(counts, counts),
    from_tools=counts,
    output=counts,
    thought=counts,
    traffic=st.sampled_from([(None, 1), ("ON_DEMAND", 1), ("ON_DEMAND_FLEX", 0.5), ("PROVISIONED_THROUGHPUT", None)]),
)
def test_a_generated_content_costs_what_its_tokens_cost(*, text, audio, cached, from_tools, output, thought, traffic):
    cached_text, cached_audio = cached
    usage = GeminiUsage(
        prompt_token_count=text + audio + cached_text + cached_audio,
        cached_content_token_count=cached_text + cached_audio,
        prompt_tokens_details=[
            {"modality": "TEXT", "token_count": text + cached_text},
            {"modality": "AUDIO", "token_count": audio + cached_audio},
        ],
        tool_use_prompt_token_count=from_tools,
        candidates_token_count=output,
        thoughts_token_count=thought,
        traffic_type=traffic[0],
    )
    body = {"usageMetadata": json.loads(usage.model_dump_json(by_alias=True, exclude_none=True))}
    found = cost("gemini", "generateContent", "gemini-2.5-flash", body)
    if traffic[1] is None:
        assert found is None
        return
    tokens = {
        "input_mtok": text + from_tools,
        "input_audio_mtok": audio,
        "cache_read_mtok": cached_text,
        "cache_audio_read_mtok": cached_audio,
        "output_mtok": output + thought,
    }
    expected = page_price("google", "gemini-2.5-flash", tokens, factor=traffic[1])
    assert found >= expected * (1 - 1e-9)
    if not cached_audio:
        assert found == pytest.approx(expected, abs=1e-12)


@given(text=counts, drawn=counts, written=counts)
def test_generated_images_cost_what_their_tokens_cost(*, text, drawn, written):
    usage = GeminiUsage(
        prompt_token_count=text,
        candidates_token_count=drawn + written,
        candidates_tokens_details=[{"modality": "IMAGE", "token_count": drawn}],
    )
    body = {"usageMetadata": json.loads(usage.model_dump_json(by_alias=True, exclude_none=True))}
    tokens = {"input_mtok": text, "output_mtok": written, "output_image_mtok": drawn}
    expected = page_price("google", "gemini-2.5-flash-image", tokens)
    assert cost("gemini", "generateContent", "gemini-2.5-flash-image", body) == pytest.approx(expected, abs=1e-12)


@given(
    text=counts,
    cached=counts,
    lives=st.tuples(counts, counts),
    output=counts,
    tier=st.sampled_from([("default", 1), ("flex", 0.5), ("reserved", None)]),
)
def test_converse_costs_what_its_tokens_cost(*, text, cached, lives, output, tier):
    short, long = lives
    name, factor = tier
    usage = {
        "inputTokens": text,
        "outputTokens": output,
        "totalTokens": 0,
        "cacheReadInputTokens": cached,
        "cacheWriteInputTokens": short + long,
        "cacheDetails": [{"ttl": "5m", "inputTokens": short}, {"ttl": "1h", "inputTokens": long}],
    }
    model = "us.anthropic.claude-opus-5"
    found = cost("bedrock", "converse", model, {"usage": usage, "serviceTier": {"type": name}})
    if factor is None:
        assert found is None
        return
    tokens = {
        "input_mtok": text,
        "cache_read_mtok": cached,
        "cache_write_mtok": short,
        "cache_write_1h_mtok": long,
        "output_mtok": output,
    }
    expected = page_price("aws", "regional.anthropic.claude-opus-5", tokens, factor=factor)
    assert found == pytest.approx(expected, abs=1e-12)
