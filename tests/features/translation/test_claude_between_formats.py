"""Claude's reasoning between Anthropic's Messages, InvokeModel and Converse: of the same model, so nothing changes."""

import base64
import itertools
import json

import pytest

from tests.features.translation.cases import MODELS, PLAIN, STATES, client_body
from tests.features.translation.sdk_types import check_request
from tests.features.translation.streams import cut, fold, upstream_bytes
from tests.features.translation.test_responses import reply_of
from wirekey.features.translation.formats import FORMATS
from wirekey.features.translation.requests import translate_request
from wirekey.features.translation.responses import StreamTranslator, translate_response

CLAUDE = ("anthropic", "invoke", "converse")
PAIRS = [pair for pair in itertools.product(CLAUDE, CLAUDE) if pair[0] != pair[1]]
SIGNED = ("Hm.", "c2lnLWNsYXVkZQ==")
UNSHOWN = ("", "c2lnLXVuc2hvd24=")
DATA = "EtMFCkgICxABGAIqQGqBMwBi46+SDEEY3Cs0"
"""Anthropic's redacted thinking: text, which happens to be base64. Bedrock's Converse has it as bytes."""
BLOB = b"\x00opaque\xff\xfe"
"""Bytes that are no text, as other models at Converse send."""


def block(form, reasoning):
    if isinstance(reasoning, tuple):
        text, signature = reasoning
        if form == "converse":
            return {"reasoningContent": {"reasoningText": {"text": text, "signature": signature}}}
        return {"type": "thinking", "thinking": text, "signature": signature}
    if form == "converse":
        data = reasoning if isinstance(reasoning, bytes) else reasoning.encode()
        return {"reasoningContent": {"redactedContent": base64.b64encode(data).decode()}}
    return {"type": "redacted_thinking", "data": reasoning}


def call(form):
    if form == "converse":
        return {"toolUse": {"toolUseId": "call_1", "name": "clock", "input": {}}}
    return {"type": "tool_use", "id": "call_1", "name": "clock", "input": {}}


def history(form, *blocks):
    body = dict(PLAIN[form])
    if form == "converse":
        result = {"toolResult": {"toolUseId": "call_1", "content": [{"text": "noon"}]}}
        tools = {"toolSpec": {"name": "clock", "inputSchema": {"json": {"type": "object"}}}}
        body["toolConfig"] = {"tools": [tools]}
    else:
        result = {"type": "tool_result", "tool_use_id": "call_1", "content": "noon"}
        body["tools"] = [{"name": "clock", "input_schema": {"type": "object"}}]
    turns = [{"role": "assistant", "content": [*blocks, call(form)]}, {"role": "user", "content": [result]}]
    return {**body, "messages": [*body["messages"], *turns]}


def asked(client, upstream, body, model=None):
    model = model or MODELS[upstream]
    sent = client_body(client, body)
    found = translate_request(FORMATS[client], FORMATS[upstream], model, sent, STATES, stream=False)
    written = json.loads(found.body)
    check_request(upstream, written)
    return written, found


def response(form, *blocks):
    content = [*blocks, call(form)]
    if form == "converse":
        usage = {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}
        message = {"role": "assistant", "content": content}
        return {"output": {"message": message}, "stopReason": "tool_use", "usage": usage}
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "content": content,
        "stop_reason": "tool_use", "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1},
    }  # fmt: skip


def deltas(form, reasoning):
    """Yield the pieces of a block of a stream, with the start that some need."""
    if isinstance(reasoning, tuple):
        text, signature = reasoning
        if form == "converse":
            yield from ({"reasoningContent": {"text": piece}} for piece in text)
            yield {"reasoningContent": {"signature": signature}}
        else:
            yield {"type": "thinking", "thinking": "", "signature": ""}
            yield from ({"type": "thinking_delta", "thinking": piece} for piece in text)
            yield {"type": "signature_delta", "signature": signature}
    elif form == "converse":
        data = reasoning if isinstance(reasoning, bytes) else reasoning.encode()
        for piece in (data[:5], data[5:]):
            yield {"reasoningContent": {"redactedContent": base64.b64encode(piece).decode()}}
    else:
        yield {"type": "redacted_thinking", "data": reasoning}


def events(form, reasoning):
    if form == "converse":
        yield {"messageStart": {"role": "assistant"}}
        for delta in deltas(form, reasoning):
            yield {"contentBlockDelta": {"contentBlockIndex": 0, "delta": delta}}
        yield {"contentBlockStop": {"contentBlockIndex": 0}}
        use = {"toolUseId": "call_1", "name": "clock"}
        yield {"contentBlockStart": {"contentBlockIndex": 1, "start": {"toolUse": use}}}
        yield {"contentBlockDelta": {"contentBlockIndex": 1, "delta": {"toolUse": {"input": "{}"}}}}
        yield {"contentBlockStop": {"contentBlockIndex": 1}}
        yield {"messageStop": {"stopReason": "tool_use"}}
        yield {"metadata": {"usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}}}
        return
    start, *rest = deltas(form, reasoning)
    found = [
        {"type": "message_start", "message": {**response(form), "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": start},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in rest),
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": call(form)},
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]
    for event in found:
        wrapped = {"chunk": {"bytes": base64.b64encode(json.dumps(event).encode()).decode()}}
        yield wrapped if form == "invoke" else event


def seen(client, upstream, reasoning, *, streamed, asks):
    """Return the blocks that a client gets."""
    ask = {}
    if asks and client == "converse":
        ask = {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}}}
    elif asks:
        ask = {"max_tokens": 4000, "thinking": {"type": "enabled", "budget_tokens": 1024}}
    reply = reply_of({"from": client, "to": upstream, "ask": ask}, stream=streamed)
    if streamed:
        translator = StreamTranslator(reply)
        data = b"".join(map(translator.feed, cut(upstream_bytes(upstream, events(upstream, reasoning)), 50)))
        body, _ = fold(client, data + translator.end())
    else:
        given = json.dumps(response(upstream, block(upstream, reasoning))).encode()
        body = json.loads(translate_response(200, given, reply).body)
    return body["output"]["message"]["content"] if client == "converse" else body["content"]


@pytest.mark.parametrize("asks", [False, True], ids=["unasked", "asked"])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("reasoning", [SIGNED, UNSHOWN, DATA], ids=["signed", "without a text", "redacted"])
@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_claudes_reasoning_arrives_as_it_is(client, upstream, reasoning, streamed, asks):  # columns
    blocks = seen(client, upstream, reasoning, streamed=streamed, asks=asks)
    assert blocks == [block(client, reasoning), call(client)]


@pytest.mark.parametrize("reasoning", [SIGNED, UNSHOWN, DATA], ids=["signed", "without a text", "redacted"])
@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_claudes_reasoning_goes_back_as_it_is(client, upstream, reasoning):
    body, _ = asked(client, upstream, history(client, block(client, reasoning)))
    assert body["messages"][1]["content"] == [block(upstream, reasoning), call(upstream)]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("client", ["anthropic", "invoke"])
def test_redacted_bytes_of_converse_go_back_as_they_came(client, streamed):
    blocks = seen(client, "converse", BLOB, streamed=streamed, asks=True)
    assert blocks[0]["type"] == "redacted_thinking"
    body, _ = asked(client, "converse", history(client, blocks[0]))
    assert body["messages"][1]["content"][0] == block("converse", BLOB)


@pytest.mark.parametrize("upstream", ["anthropic", "invoke"])
def test_redacted_bytes_that_no_claude_made_are_not_sent_to_anthropic(upstream):
    body, _ = asked("converse", upstream, history("converse", block("converse", BLOB)))
    assert body["messages"][1]["content"] == [call(upstream)]


ENABLED = {"type": "enabled", "budget_tokens": 2048}
SAID = {
    "an effort alone": ("claude-opus-4-6", None, "low"),
    "an effort of a model with a budget": ("claude-opus-4-5", None, "low"),
    "a budget and an effort": ("claude-opus-4-5", ENABLED, "medium"),
    "adaptive with an effort": ("claude-opus-4-7", {"type": "adaptive"}, "max"),
    "adaptive with a display": ("claude-opus-4-7", {"type": "adaptive", "display": "omitted"}, "high"),
    "a budget with a display": ("claude-sonnet-4-5", {**ENABLED, "display": "summarized"}, None),
    "no thinking, and an effort": ("claude-opus-4-7", {"type": "disabled"}, "low"),
    "no thinking": ("claude-sonnet-4-5", {"type": "disabled"}, None),
}  # fmt: skip
"""A model, `thinking` and an effort, as programs of Claude's formats say them."""


def with_thinking(form, thinking, effort):
    body = dict(PLAIN[form])
    if form == "converse":
        body["inferenceConfig"] = {"maxTokens": 9000}
        if thinking:
            body["additionalModelRequestFields"] = {"thinking": thinking}
        if effort:
            body["outputConfig"] = {"effort": effort}
        return body
    more = {"thinking": thinking} if thinking else {}
    return {**body, "max_tokens": 9000, **more, **({"output_config": {"effort": effort}} if effort else {})}


@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_how_claude_should_reason_is_carried_as_it_was_said(client, upstream, said):
    model, thinking, effort = SAID[said]
    name = model if upstream == "anthropic" else f"us.anthropic.{model}-v1:0"
    body, found = asked(client, upstream, with_thinking(client, thinking, effort), name)
    expected = with_thinking(upstream, thinking, effort)
    if upstream == "anthropic":
        expected["model"] = model
    for members in (body, expected):
        del members["messages"]
    assert body == expected
    assert not found.context.losses.headers()


def test_an_effort_may_stand_among_the_fields_of_a_model():
    fields = {"output_config": {"effort": "low"}}
    body, _ = asked("converse", "anthropic", {**PLAIN["converse"], "additionalModelRequestFields": fields})
    assert body["output_config"] == {"effort": "low"}


@pytest.mark.parametrize(
    ("model", "thinking", "expected"),
    [
        ("claude-opus-4-7", ENABLED, ({"type": "adaptive"}, "low")),
        ("claude-sonnet-4-5", {"type": "adaptive"}, ({"type": "enabled", "budget_tokens": 8192}, None)),
    ],
)
def test_a_kind_of_thinking_that_the_model_does_not_know_is_adjusted(model, thinking, expected):
    name = f"us.anthropic.{model}-v1:0"
    body, found = asked("anthropic", "converse", with_thinking("anthropic", thinking, None), name)
    effort = body.get("outputConfig", {}).get("effort")
    assert (body["additionalModelRequestFields"]["thinking"], effort) == expected
    assert found.context.losses.adjusted == {"thinking"}


def test_a_claude_that_does_not_think_says_what_is_lost():
    name = "us.anthropic.claude-3-5-haiku-20241022-v1:0"
    body, found = asked("anthropic", "converse", with_thinking("anthropic", ENABLED, "low"), name)
    assert not {"additionalModelRequestFields", "outputConfig"} & body.keys()
    assert found.context.losses.dropped == {"thinking", "output_config.effort"}
