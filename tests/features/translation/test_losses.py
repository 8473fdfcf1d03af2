"""What a translation says of a request: names out of Wirekey's own tables, and nothing of the request itself."""

import json
import secrets

import pytest

from tests.features.translation.cases import MODELS, PLAIN, STATES, load
from tests.features.translation.test_properties import places, replaced
from tests.features.translation.test_responses import reply_of
from wirekey.core.errors import Refusal
from wirekey.features.translation.formats import FORMATS
from wirekey.features.translation.requests import Options, translate_request
from wirekey.features.translation.responses import translate_response

GENERATION = {
    "temperature": 1, "topP": 1, "topK": 3, "candidateCount": 1, "seed": 1, "stopSequences": ["x"],
    "responseMimeType": "application/json", "thinkingConfig": {"thinkingLevel": "LOW", "includeThoughts": True},
    "responseModalities": ["TEXT"], "mediaResolution": "LOW", "presencePenalty": 1, "responseLogprobs": False,
}  # fmt: skip
OPTIONS = {
    "openai.chat": {
        "temperature": 1.5, "top_p": 1, "n": 1, "stop": ["x"], "seed": 1, "user": "u", "service_tier": "flex",
        "reasoning_effort": "low", "modalities": ["text"], "metadata": {"a": "b"}, "logit_bias": {}, "verbosity": "low",
        "response_format": {"type": "json_object"}, "tool_choice": "auto", "stream_options": {"include_usage": True},
        "extra_body": {"google": {"thinking_config": {"thinking_budget": 100}}}, "parallel_tool_calls": False,
        "thinking": {"type": "enabled", "budget_tokens": 2000}, "prediction": {"type": "content", "content": "c"},
    },
    "openai.responses": {
        "temperature": 1.5, "reasoning": {"effort": "low", "summary": "auto"}, "service_tier": "flex", "user": "u",
        "include": ["reasoning.encrypted_content"], "text": {"verbosity": "low", "format": {"type": "json_object"}},
        "truncation": "auto", "metadata": {"a": "b"}, "store": True, "tool_choice": "auto", "prompt_cache_key": "k",
    },
    "gemini": {
        "generationConfig": GENERATION, "safetySettings": [{"category": "c", "threshold": "t"}], "labels": {"a": "b"},
        "serviceTier": "FLEX", "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
    },
    "anthropic": {
        "temperature": 1, "top_k": 3, "top_p": 1, "stop_sequences": ["x"], "metadata": {"user_id": "u"},
        "service_tier": "auto", "thinking": {"type": "enabled", "budget_tokens": 2000}, "speed": "fast",
        "output_config": {"effort": "low"}, "tool_choice": {"type": "auto"}, "anthropic_beta": ["b"],
    },
    "converse": {
        "inferenceConfig": {"temperature": 1, "topP": 1, "maxTokens": 9, "stopSequences": ["x"]},
        "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 2000}, "top_k": 3},
        "serviceTier": {"type": "flex"}, "requestMetadata": {"a": "b"}, "outputConfig": {"effort": "low"},
    },
}  # fmt: skip
"""The options of a request by format, so that each of them is tried with values of other types."""
REQUESTS = load("request") | {
    f"options-{client}-to-{upstream}": {"from": client, "to": upstream, "in": {**PLAIN[client], **options}}
    for client, options in OPTIONS.items()
    for upstream in MODELS
}
CANARY = "canary-7d1f"
WRONG = [None, True, 7, -1.5, "", CANARY, [], {}, [CANARY], {CANARY: CANARY}]


def translated(client, upstream, request, **options):
    body = json.dumps(request).encode()
    return translate_request(FORMATS[client], FORMATS[upstream], MODELS[upstream], body, STATES, Options(**options))


def said(client, upstream, request):
    """Return everything that a translation tells: headers and labels, or the refusal."""
    try:
        losses = translated(client, upstream, request).context.losses
    except Refusal as refusal:
        return refusal.message + (refusal.param or "")
    return " ".join([*losses.headers().values(), *(name for pair in losses.pairs() for name in pair)])


def found(request, path):
    for name in path:
        request = request[name]
    return request


@pytest.mark.parametrize("name", REQUESTS)
def test_no_name_and_no_value_of_a_request_is_said(name):
    case = REQUESTS[name]
    request = case["in"]
    for path in places(request):
        value = found(request, path)
        if isinstance(value, dict) and "$raw" not in value:
            members = {**value, CANARY: CANARY}
            assert CANARY not in said(case["from"], case["to"], replaced(request, path, members)), path
        elif isinstance(value, str):
            assert CANARY not in said(case["from"], case["to"], replaced(request, path, CANARY)), path


@pytest.mark.parametrize("name", REQUESTS)
def test_a_member_of_a_wrong_type_is_refused_or_sent_and_never_fails(name):
    case = REQUESTS[name]
    for path in places(case["in"]):
        for wrong in WRONG:
            if path:
                assert CANARY not in said(case["from"], case["to"], replaced(case["in"], path, wrong)), path


def test_a_server_of_its_own_gets_the_older_name_of_the_limit():
    request = {**PLAIN["anthropic"], "max_tokens": 50}
    assert b'"max_completion_tokens":50' in translated("anthropic", "openai.chat", request).body
    assert b'"max_tokens":50' in translated("anthropic", "openai.chat", request, older_limit=True).body


@pytest.mark.parametrize(
    ("model", "sent"), [("gpt-5", "minimal"), ("gpt-5-mini", "minimal"), ("o4-mini", "low"), ("gpt-5.1", "none")]
)
def test_a_model_that_always_reasons_gets_its_least_effort(model, sent):
    request = {**PLAIN["anthropic"], "thinking": {"type": "disabled"}}
    body = json.dumps(request).encode()
    found = translate_request(FORMATS["anthropic"], FORMATS["openai.chat"], model, body, STATES)
    assert json.loads(found.body)["reasoning_effort"] == sent
    assert ("thinking" in found.context.losses.adjusted) == (sent != "none")


@pytest.mark.parametrize("upstream", ["openai.responses", "gemini", "anthropic", "converse"])
def test_the_detail_of_an_image_stays_at_openai_and_is_dropped_elsewhere(upstream):
    image = {"url": "data:image/png;base64,AAAA", "detail": "low"}
    asked = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": image}]}]}
    found = translated("openai.chat", upstream, asked)
    kept = upstream == "openai.responses"
    assert (b'"detail":"low"' in found.body) == kept
    assert ("messages.content.image_url.detail" in found.context.losses.dropped) != kept
    image["detail"] = "auto"
    assert translated("openai.chat", upstream, asked).context.losses.dropped == set()


def test_an_unknown_member_is_told_by_its_position():
    with pytest.raises(Refusal) as refused:
        translated("openai.chat", "gemini", {**PLAIN["openai.chat"], "secret_plan": 1})
    assert refused.value.message == "request: Wirekey does not know member 2 of 2; leave it out."


def test_a_refusal_names_the_member_and_what_to_do():
    with pytest.raises(Refusal) as refused:
        translated("openai.chat", "openai.responses", {**PLAIN["openai.chat"], "n": 2}, route="routes[2]")
    assert refused.value.param == "n"
    assert refused.value.message == (
        "n: the upstream makes one response for each request; set `speaks: openai.chat` on routes[2]; "
        "leave it out, or list it in `translation.drop` of routes[2]."
    )


def test_tokens_that_the_upstream_does_not_count_are_reported():
    reply = reply_of({"from": "openai.chat", "to": "gemini"})
    body = b'{"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]}'
    assert json.loads(translate_response(200, body, reply).body)["usage"]["total_tokens"] == 0
    assert reply.context.losses.headers()["x-wirekey-adjusted"] == "usage"


@pytest.mark.parametrize("client", ["openai.chat", "openai.responses", "gemini"])
def test_reasoning_state_that_is_too_large_to_be_carried_is_reported(client):
    reply = reply_of({"from": client, "to": "anthropic"})
    thought = {"type": "thinking", "thinking": "hm", "signature": secrets.token_hex(80_000)}
    call = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
    usage = {"input_tokens": 1, "output_tokens": 1}
    answer = {"id": "msg_1", "content": [thought, call], "stop_reason": "tool_use", "usage": usage}
    found = translate_response(200, json.dumps(answer).encode(), reply)
    assert b"wk1" not in found.body.lower()
    assert "reasoning_state" in reply.context.losses.adjusted
