"""The text of a response, by the bytes of each format."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirekey.core.metering.eventstream import write_frame
from wirekey.features.rollup.answers import read_answer
from wirekey.features.rollup.history import FORMATS

JSON, SSE, AWS = "application/json", "text/event-stream; charset=utf-8", "application/vnd.amazon.eventstream"


def sse(*documents, end=b"data: [DONE]\n\n"):
    return b"".join(b"event: x\ndata: %s\n\n" % json.dumps(document).encode() for document in documents) + end


def frame(kind, document):
    headers = {":message-type": "event", ":event-type": kind, ":content-type": "application/json"}
    return write_frame(headers, json.dumps(document).encode())


def chunk(document):
    return frame("chunk", {"bytes": base64.b64encode(json.dumps(document).encode()).decode(), "p": "abc"})


def choice(finish="stop", index=0, **said):
    return {"choices": [{"index": index, "message": {"role": "assistant", **said}, "finish_reason": finish}]}


def delta(finish=None, **said):
    return {"choices": [{"index": 0, "delta": said, "finish_reason": finish}]}


def candidate(*parts, finish="STOP"):
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, "finishReason": finish}]}


def message(*blocks, stop="end_turn"):
    return {"type": "message", "role": "assistant", "content": list(blocks), "stop_reason": stop}


def converse(*blocks, stop="end_turn"):
    return {"output": {"message": {"role": "assistant", "content": list(blocks)}}, "stopReason": stop}


TEXT, THINKING = {"type": "text", "text": "Hi"}, {"type": "thinking", "thinking": "Hm", "signature": "x"}
STREAM = [
    {"type": "message_start", "message": {"content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm"}},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "H"}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "i"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
    {"type": "message_stop"},
]
USES = [STREAM[0], {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "1"}}]
NOVA = [
    {"messageStart": {"role": "assistant"}},
    {"contentBlockDelta": {"delta": {"text": "H"}, "contentBlockIndex": 0}},
    {"contentBlockDelta": {"delta": {"reasoningContent": {"text": "Hm"}}, "contentBlockIndex": 1}},
    {"contentBlockDelta": {"delta": {"text": "i"}, "contentBlockIndex": 0}},
    {"messageStop": {"stopReason": "end_turn"}},
    {"metadata": {"usage": {}}},
]
ERROR = write_frame({":message-type": "exception", ":exception-type": "throttlingException"}, b"{}")

CASES = {
    "chat": ("openai.chat", JSON, choice(content="Hi", tool_calls=None), "Hi"),
    "chat, cut by the limit": ("openai.chat", JSON, choice("length", content="Hi"), "Hi"),
    "chat, filtered": ("openai.chat", JSON, choice("content_filter", content="Hi"), None),
    "chat, an end of the wrong type": ("openai.chat", JSON, choice(["stop"], content="Hi"), None),
    "chat, a call": ("openai.chat", JSON, choice("tool_calls", content="Hi", tool_calls=[{"id": "1"}]), None),
    "chat, a refusal": ("openai.chat", JSON, choice(content=None, refusal="No"), None),
    "chat, two choices": ("openai.chat", JSON, {"choices": choice(content="Hi")["choices"] * 2}, None),
    "chat, a stream": (
        "openai.chat",
        SSE,
        sse(delta(role="assistant"), delta(content="H"), delta(content="i"), delta("stop"), {"choices": []}),
        "Hi",
    ),
    "chat, a stream of a call": ("openai.chat", SSE, sse(delta(tool_calls=[{"index": 0}]), delta("tool_calls")), None),
    "chat, a stream that breaks off": ("openai.chat", SSE, sse(delta(content="H"), end=b""), None),
    "chat, an error in a stream": ("openai.chat", SSE, sse(delta(content="H"), {"error": {"message": "x"}}), None),
    "chat, an error": ("openai.chat", JSON, {"error": {"message": "x"}}, None),
    "gemini": (
        "gemini",
        JSON,
        candidate({"text": "Hm", "thought": True}, {"text": "Hi", "thoughtSignature": "x"}),
        "Hi",
    ),
    "gemini, a call": ("gemini", JSON, candidate({"functionCall": {"name": "f"}}), None),
    "gemini, an image": ("gemini", JSON, candidate({"inlineData": {}}), None),
    "gemini, blocked": ("gemini", JSON, candidate({"text": "Hi"}, finish="SAFETY"), None),
    "gemini, a blocked prompt": ("gemini", JSON, {"promptFeedback": {"blockReason": "SAFETY"}}, None),
    "gemini, a stream with an event that cannot be read": (
        "gemini",
        SSE,
        sse(candidate({"text": "H"}, finish=None), {"candidates": [{"content": "?"}]}, candidate({"text": "i"})),
        None,
    ),
    "gemini, a stream": (
        "gemini",
        SSE,
        sse(candidate({"text": "H"}, finish=None), candidate({"text": "i"}), {"usageMetadata": {}}, end=b""),
        "Hi",
    ),
    "gemini, a stream as an array": (
        "gemini",
        JSON,
        [candidate({"text": "H"}, finish=None), candidate({"text": "i"})],
        "Hi",
    ),
    "anthropic": ("anthropic", JSON, message(THINKING, TEXT), "Hi"),
    "anthropic, a call": ("anthropic", JSON, message(TEXT, {"type": "tool_use", "id": "1"}, stop="tool_use"), None),
    "anthropic, a refusal": ("anthropic", JSON, message(TEXT, stop="refusal"), None),
    "anthropic, a pause": ("anthropic", JSON, message(TEXT, stop="pause_turn"), None),
    "anthropic, a stream": ("anthropic", SSE, sse(*STREAM, end=b""), "Hi"),
    "anthropic, a stream of a call": ("anthropic", SSE, sse(*USES, *STREAM[3:], end=b""), None),
    "anthropic, a stream that breaks off": ("anthropic", SSE, sse(*STREAM[:-2], end=b""), None),
    "converse": ("converse", JSON, converse({"reasoningContent": {}}, {"text": "Hi"}), "Hi"),
    "converse, a call": ("converse", JSON, converse({"toolUse": {}}, stop="tool_use"), None),
    "converse, a guardrail": ("converse", JSON, converse({"text": "Hi"}, stop="guardrail_intervened"), None),
    "converse, a stream": (
        "converse",
        AWS,
        b"".join(frame(*next(iter(event.items()))) for event in NOVA),
        "Hi",
    ),
    "converse, a stream of a call": (
        "converse",
        AWS,
        frame("contentBlockStart", {"start": {"toolUse": {}}}) + frame("messageStop", {"stopReason": "end_turn"}),
        None,
    ),
    "converse, an exception": ("converse", AWS, frame(*next(iter(NOVA[1].items()))) + ERROR, None),
    "invoke, Anthropic": ("invoke", JSON, message(TEXT), "Hi"),
    "invoke, Anthropic's stream": ("invoke", AWS, b"".join(map(chunk, STREAM)), "Hi"),
    "invoke, Nova": ("invoke", JSON, converse({"text": "Hi"}), "Hi"),
    "invoke, Nova's stream": ("invoke", AWS, b"".join(map(chunk, NOVA)), "Hi"),
    "invoke, OpenAI's": ("invoke", JSON, choice(content="Hi"), "Hi"),
    "invoke, Titan": ("invoke", JSON, {"results": [{"outputText": "Hi"}]}, None),
    "empty": ("openai.chat", JSON, b"", None),
    "no text": ("openai.chat", JSON, choice(content=""), None),
    "no JSON": ("openai.chat", JSON, b"<html>", None),
}


@pytest.mark.parametrize("name", CASES)
def test_the_text_of_a_response(name):
    form, content_type, body, expected = CASES[name]
    assert read_answer(form, content_type, body if isinstance(body, bytes) else json.dumps(body).encode()) == expected


@given(st.sampled_from(sorted(FORMATS)), st.sampled_from([JSON, SSE, AWS, ""]), st.binary(max_size=200))
def test_reading_never_raises(form, content_type, body):
    read_answer(form, content_type, body)


NAMES = ("choices", "message", "content", "candidates", "parts", "type", "output", "delta", "text")
ANY = st.recursive(
    st.none() | st.booleans() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner,
        )
    ),
    max_leaves=10,
)


@given(st.sampled_from(sorted(FORMATS)), ANY)
def test_reading_odd_json_never_raises(form, document):
    read_answer(form, JSON, json.dumps(document).encode())


STREAMS = ["converse, a stream", "anthropic, a stream", "chat, a stream", "invoke, Nova's stream"]


@given(st.sampled_from(STREAMS), st.data())
def test_a_stream_that_is_cut_has_no_text(name, data):
    form, content_type, body, _ = CASES[name]
    end = data.draw(st.integers(0, len(body) // 2))
    assert read_answer(form, content_type, body[:end]) is None
