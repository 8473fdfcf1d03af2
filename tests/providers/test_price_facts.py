"""What requests ask for, and responses report, that changes the price (R33)."""

import json

import pytest

from wirekey.core.errors import Refusal
from wirekey.core.operation import LONG_CACHE, Facts
from wirekey.providers.registry import PROVIDERS

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
GENERATE = "/v1beta/models/gemini-3.5-flash:generateContent"
CONVERSE, INVOKE = "/model/amazon.nova-pro-v1%3A0/converse", "/model/anthropic.claude-opus-5/invoke"
CACHED = {
    "role": "user",
    "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
}


def read(provider, path, body):
    served = PROVIDERS[provider]
    operation = served.operations.match_operation("POST", path, {"content-type": "application/json"})
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return operation, served.operations.read_request(operation, {}, "application/json", data)


def learnt(provider, path, response, *, facts=None, content_type="application/json"):
    served = PROVIDERS[provider]
    operation = served.operations.match_operation("POST", path, {"content-type": "application/json"})
    reader = served.operations.response_reader(operation, facts or Facts(), 200, content_type)
    reader.feed(response if isinstance(response, bytes) else json.dumps(response).encode())
    reader.end()
    return reader.usage


def events(*parts):
    return b"".join(b"data: " + json.dumps(part).encode() + b"\n\n" for part in parts)


@pytest.mark.parametrize(
    ("provider", "path", "body", "modifiers"),
    [
        ("openai", CHAT, {"service_tier": "priority"}, [("service_tier", "priority")]),
        ("openai", RESPONSES, {"service_tier": "flex"}, [("service_tier", "flex")]),
        ("openai", RESPONSES, {"service_tier": None}, []),
        ("anthropic", MESSAGES, {"speed": "fast", "inference_geo": "us"}, [("speed", "fast"), ("inference_geo", "us")]),
        ("anthropic", MESSAGES, {"service_tier": "standard_only"}, [("service_tier", "standard_only")]),
        ("anthropic", MESSAGES, {"fallbacks": [{"model": "n", "speed": "fast"}]}, [("speed", "fast")]),
        ("anthropic", MESSAGES, {"messages": [CACHED]}, [LONG_CACHE]),
        ("anthropic", MESSAGES, b'{"messages":[{"role":"user","content":[{"ttl":"\\u0031h"}]}]}', [LONG_CACHE]),
        ("anthropic", "/v1/messages/batches", {"requests": [{"params": {"speed": "fast"}}]}, [("speed", "fast")]),
        ("gemini", GENERATE, {"serviceTier": "PRIORITY"}, [("service_tier", "PRIORITY")]),
        ("gemini", GENERATE, {"service_tier": "flex"}, [("service_tier", "flex")]),
        (
            "bedrock",
            CONVERSE,
            {"serviceTier": {"type": "priority"}, "performanceConfig": {"latency": "optimized"}},
            [("service_tier", "priority"), ("latency", "optimized")],
        ),
        (
            "bedrock",
            CONVERSE,
            {"messages": [{"content": [{"cachePoint": {"type": "default", "ttl": "1h"}}]}]},
            [LONG_CACHE],
        ),
        ("bedrock", CONVERSE, {"additionalModelRequestFields": {"speed": "fast"}}, [("speed", "fast")]),
        ("bedrock", INVOKE, {"service_tier": "flex", "messages": [CACHED]}, [("service_tier", "flex"), LONG_CACHE]),
    ],
)
def test_a_request_says_what_changes_its_price(provider, path, body, modifiers):
    _, facts = read(provider, path, body)
    assert facts.modifiers == tuple(modifiers)


@pytest.mark.parametrize(
    ("provider", "path", "body"),
    [
        ("openai", CHAT, {"service_tier": 1}),
        ("openai", CHAT, {"Service_Tier": "priority"}),
        ("openai", RESPONSES, {"service-tier": "priority"}),
        ("openai", CHAT, {"service_tier": "p" * 65}),
        ("openai", CHAT, {"service_tier": ""}),
        ("anthropic", MESSAGES, {"Speed": "fast"}),
        ("anthropic", MESSAGES, {"speed": "fast\n"}),
        ("anthropic", MESSAGES, {"fallbacks": [{"model": "n", "SPEED": "fast"}]}),
        ("gemini", GENERATE, {"serviceTier": "flex", "service_tier": "priority"}),
        ("bedrock", CONVERSE, {"ServiceTier": {"type": "priority"}}),
        ("bedrock", CONVERSE, {"serviceTier": {"Type": "priority"}}),
    ],
)
def test_a_tier_that_could_be_read_in_two_ways_is_refused(provider, path, body):
    with pytest.raises(Refusal) as refused:
        read(provider, path, body)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("provider", "path", "body", "paid"),
    [
        ("openai", RESPONSES, {"tools": [{"type": "web_search"}], "max_tool_calls": 3}, [("web_search", 3)]),
        ("openai", RESPONSES, {"tools": [{"type": "web_search_preview_2025_03_11"}]}, [("web_search_preview", None)]),
        ("openai", RESPONSES, {"tools": [{"type": "function", "name": "web_search"}]}, []),
        (
            "openai",
            RESPONSES,
            {"tools": [{"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "4g"}}]},
            [("code_interpreter_4g", None)],
        ),
        (
            "openai",
            RESPONSES,
            {"tools": [{"type": "code_interpreter", "container": "cntr_1"}]},
            [("code_interpreter_64g", None)],
        ),
        ("openai", RESPONSES, {"tools": [{"type": "image_generation"}]}, [("image_generation", None)]),
        ("openai", CHAT, {"model": "gpt-4o-search-preview"}, [("search_model", 1)]),
        ("openai", CHAT, {"web_search_options": {"user_location": None}}, [("search_model", 1)]),
        ("anthropic", MESSAGES, {"tools": [{"type": "web_search_20260209", "max_uses": 5}]}, [("web_search", 5)]),
        ("anthropic", MESSAGES, {"tools": [{"name": "web_search", "input_schema": {}}]}, []),
        (
            "gemini",
            GENERATE,
            {"tools": [{"googleSearch": {}}, {"google_maps": {}}]},
            [("web_search", None), ("google_maps", 1)],
        ),
        (
            "bedrock",
            CONVERSE,
            {"toolConfig": {"tools": [{"systemTool": {"name": "nova_grounding"}}]}},
            [("nova_grounding", None)],
        ),
    ],
)
def test_a_request_says_which_tools_with_a_fee_it_offers(provider, path, body, paid):
    _, facts = read(provider, path, body)
    assert facts.paid_tools == tuple(paid)


SEARCHED = {
    "status": "completed",
    "service_tier": "priority",
    "usage": {"input_tokens": 9, "output_tokens": 2},
    "output": [
        {"type": "web_search_call", "action": {"type": "search", "query": "x"}},
        {"type": "web_search_call", "action": {"type": "open_page", "url": "x"}},
        {"type": "code_interpreter_call", "container_id": "c1"},
        {"type": "code_interpreter_call", "container_id": "c1"},
        {"type": "message", "content": [{"type": "output_text", "text": "x"}]},
    ],
}
CHUNK = {"object": "chat.completion.chunk", "service_tier": "priority", "choices": []}
MESSAGE_START = {
    "type": "message_start",
    "message": {
        "model": "claude-opus-5",
        "usage": {
            "input_tokens": 10,
            "cache_creation_input_tokens": 30,
            "cache_creation": {"ephemeral_1h_input_tokens": 20, "ephemeral_5m_input_tokens": 10},
            "output_tokens": 1,
            "service_tier": "standard",
            "speed": "fast",
            "inference_geo": "us",
        },
    },
}
MESSAGE_DELTA = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn"},
    "usage": {"output_tokens": 7, "cache_creation_input_tokens": 35, "server_tool_use": {"web_search_requests": 2}},
}


def test_openai_reports_tier_and_tools():
    for usage in (
        learnt("openai", RESPONSES, SEARCHED),
        learnt(
            "openai",
            RESPONSES,
            events({"type": "response.completed", "response": SEARCHED}),
            facts=Facts(stream=True),
            content_type="text/event-stream",
        ),
    ):
        assert usage.modifiers == (("service_tier", "priority"),)
        assert usage.tool_uses == (("web_search", 1), ("code_interpreter", 1))


def test_openai_reports_the_tier_of_a_chat_in_its_chunks():
    chunks = events({**CHUNK, "usage": {"prompt_tokens": 1, "completion_tokens": 2}})
    usage = learnt("openai", CHAT, chunks, facts=Facts(stream=True), content_type="text/event-stream")
    assert usage.modifiers == (("service_tier", "priority"),)


def test_openai_reports_audio_and_images_of_a_chat():
    counts = {
        "prompt_tokens": 20,
        "completion_tokens": 10,
        "prompt_tokens_details": {"audio_tokens": 5, "image_tokens": 3},
        "completion_tokens_details": {"audio_tokens": 4},
    }
    usage = learnt("openai", CHAT, {"choices": [], "usage": counts})
    assert (usage.audio_input_tokens, usage.audio_output_tokens, usage.image_input_tokens) == (5, 4, 3)


def test_anthropic_reports_speed_place_cache_life_and_searches():
    stream = events(MESSAGE_START, MESSAGE_DELTA, {"type": "message_stop"})
    usage = learnt("anthropic", MESSAGES, stream, facts=Facts(stream=True), content_type="text/event-stream")
    assert usage.modifiers == (("service_tier", "standard"), ("speed", "fast"), ("inference_geo", "us"))
    assert usage.tool_uses == (("web_search", 2),)
    # Of what was written after the start, the life is not known.
    assert (usage.cache_write_tokens, usage.long_cache_write_tokens) == (35, 25)


def test_anthropic_counts_a_compaction_apart_and_another_model_has_prices_of_its_own():
    compaction = {"type": "compaction", "input_tokens": 100, "output_tokens": 20, "cache_read_input_tokens": 5}
    advisor = {"type": "advisor_message", "model": "claude-fable-5", "input_tokens": 1, "output_tokens": 1}
    counts = {"input_tokens": 10, "output_tokens": 3, "cache_read_input_tokens": 1, "iterations": [compaction]}
    usage = learnt("anthropic", MESSAGES, {"model": "claude-opus-5", "usage": counts})
    assert (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens) == (110, 23, 6)
    usage = learnt("anthropic", MESSAGES, {"model": "claude-opus-5", "usage": {**counts, "iterations": [advisor]}})
    assert usage.modifiers == (("other_model", "claude-fable-5"),)


def test_converse_reports_tier_latency_and_cache_lives():
    usage = learnt(
        "bedrock",
        CONVERSE,
        {
            "stopReason": "end_turn",
            "usage": {
                "inputTokens": 5,
                "outputTokens": 5,
                "cacheWriteInputTokens": 9,
                "cacheDetails": [{"ttl": "5m", "inputTokens": 2}, {"ttl": "1h", "inputTokens": 7}],
            },
            "performanceConfig": {"latency": "optimized"},
            "serviceTier": {"type": "flex"},
        },
    )
    assert usage.modifiers == (("service_tier", "flex"), ("latency", "optimized"))
    assert (usage.cache_write_tokens, usage.long_cache_write_tokens) == (9, 7)


def test_gemini_reports_traffic_modalities_and_searches():
    counts = {
        "promptTokenCount": 30,
        "candidatesTokenCount": 12,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 20}, {"modality": "TEXT", "tokenCount": 10}],
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 11}],
        "trafficType": "ON_DEMAND_PRIORITY",
    }
    ground = {"groundingMetadata": {"webSearchQueries": ["a", "b"]}}
    parts = [
        {"candidates": [{"content": {"parts": [{"text": "x"}]}, **ground}]},
        {"candidates": [{"finishReason": "STOP"}], "usageMetadata": counts},
    ]
    usage = learnt(
        "gemini", GENERATE.replace("generate", "streamGenerate"), events(*parts), content_type="text/event-stream"
    )
    assert usage.modifiers == (("service_tier", "priority"),)
    assert usage.tool_uses == (("web_search", 2),)
    assert (usage.audio_input_tokens, usage.image_output_tokens) == (20, 11)
