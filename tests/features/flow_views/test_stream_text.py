"""A stream shown to people: joined texts, then one line for each event. It never fails on any input."""

import base64
import json
import random

import pytest

from wirekey.core.metering.eventstream import write_frame
from wirekey.features.flow_views.stream_text import (
    EventStreamTranscript,
    JsonArrayTranscript,
    SseTranscript,
    transcript,
)


def sse(*events):
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def frames(*events):
    return b"".join(
        write_frame({":event-type": kind, ":message-type": "event"}, json.dumps(event).encode())
        for kind, event in events
    )


def chunk(event):
    return ("chunk", {"bytes": base64.b64encode(json.dumps(event).encode()).decode()})


def choice(index=0, **delta):
    return {"object": "chat.completion.chunk", "choices": [{"index": index, "delta": delta}]}


def tool(index=0, **function):
    return choice(tool_calls=[{"index": index, "function": function}])


def parts(*found):
    return {"candidates": [{"content": {"parts": list(found)}}]}


CASES = {
    "chat": (SseTranscript, sse(choice(content="Hel"), choice(content="lo")), {"Text": "Hello"}),
    "two choices": (SseTranscript, sse(choice(content="a"), choice(1, content="b")), {"Text": "a", "Text 1": "b"}),
    "a tool call": (
        SseTranscript,
        sse(tool(name="weather", arguments=""), tool(arguments='{"city":'), tool(arguments='"Brno"}')),
        {"Tool called": "weather", "Tool arguments": '{"city":"Brno"}'},
    ),
    "reasoning": (
        SseTranscript,
        sse(choice(reasoning_content="hm"), choice(content="a")),
        {"Reasoning": "hm", "Text": "a"},
    ),
    "completions": (SseTranscript, sse({"choices": [{"text": "a"}]}, {"choices": [{"text": "b"}]}), {"Text": "ab"}),
    "responses": (
        SseTranscript,
        sse(
            {"type": "response.output_text.delta", "output_index": 0, "delta": "a"},
            {"type": "response.output_text.delta", "output_index": 0, "delta": "b"},
            {"type": "response.output_text.done", "text": "ab"},
            {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": "{}"},
        ),
        {"Text": "ab", "Tool arguments 1": "{}"},
    ),
    "messages": (
        SseTranscript,
        sse(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
            {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "a"}},
            {"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "name": "weather"}},
            {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
        ),
        {"Reasoning": "hm", "Text 1": "a", "Tool called 2": "weather", "Tool arguments 2": "{}"},
    ),
    "gemini": (
        SseTranscript,
        sse(parts({"text": "hm", "thought": True}, {"text": "a"}), parts({"text": "b"})),
        {"Reasoning": "hm", "Text": "ab"},
    ),
    "gemini array": (
        JsonArrayTranscript,
        json.dumps([parts({"text": "a"}), parts({"functionCall": {"name": "f", "args": {"x": 1}}})]).encode(),
        {"Text": "a", "Tool called": "f", "Tool arguments": '{"x":1}'},
    ),
    "converse": (
        EventStreamTranscript,
        frames(
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "a"}}),
            ("contentBlockStart", {"contentBlockIndex": 1, "start": {"toolUse": {"name": "f"}}}),
            ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"toolUse": {"input": "{}"}}}),
        ),
        {"Text": "a", "Tool called 1": "f", "Tool arguments 1": "{}"},
    ),
    "invoke claude": (
        EventStreamTranscript,
        frames(chunk({"type": "content_block_delta", "index": 0, "delta": {"text": "a"}})),
        {"Text": "a"},
    ),
    "invoke nova": (
        EventStreamTranscript,
        frames(chunk({"contentBlockDelta": {"delta": {"text": "a"}}}), chunk({"messageStop": {}})),
        {"Text": "a"},
    ),
    "invoke others": (
        EventStreamTranscript,
        frames(
            chunk({"outputText": "a"}),
            chunk({"generation": "b"}),
            chunk({"outputs": [{"text": "c"}]}),
            chunk({"event_type": "text-generation", "text": "d"}),
        ),
        {"Text": "abcd"},
    ),
}


def sections(text):
    """Return the texts by title, without the events."""
    before = text.partition("Events (")[0]
    found = [part.split("\n", 2) for part in before.split("\n\n") if part]
    return {title: body.rstrip("\n") for title, _, body in found}


@pytest.mark.parametrize("name", CASES)
def test_the_pieces_of_text_are_joined(name):
    reader, data, texts = CASES[name]
    assert sections(transcript(reader(), data)) == texts


@pytest.mark.parametrize(
    ("reader", "data", "lines"),
    [
        (
            SseTranscript,
            sse(choice(content="a"), {"usage": {"total_tokens": 3}}) + b": comment\n\ndata: [DONE]\n\n",
            [
                '1  chat.completion.chunk      "a"',
                '2  usage                      {"usage":{"total_tokens":3}}',
                "3  [DONE]",
            ],
        ),
        (
            EventStreamTranscript,
            frames(("messageStop", {"stopReason": "end_turn"}), chunk({"type": "ping"})),
            [
                '1  messageStop                {"stopReason":"end_turn"}',
                '2  chunk ping                 {"type":"ping"}',
            ],
        ),
        (
            EventStreamTranscript,
            write_frame({":exception-type": "throttlingException"}, b"slow down"),
            ["1  throttlingException        slow down"],
        ),
        (SseTranscript, b"data: {not json\n\n", ["1  (not JSON)                 {not json"]),
        (SseTranscript, b"", []),
    ],
)
def test_each_event_is_a_line_with_its_type(reader, data, lines):
    shown = transcript(reader(), data).partition("Events (")[2].split("\n")
    assert shown[0] == f"{len(lines)})"
    assert [line.strip() for line in shown[2:] if line] == lines


def test_a_long_event_is_truncated_and_a_huge_one_is_only_named():
    shown = transcript(SseTranscript(), sse({"type": "t", "x": "y" * 500}, {"z": "y" * 2_000_000}))
    assert max(map(len, shown.splitlines())) < 200
    assert "(an event of more than 1 MiB)" in shown


@pytest.mark.parametrize("name", CASES)
def test_a_damaged_or_truncated_stream_is_read_as_far_as_possible(name):
    reader, data, _ = CASES[name]
    chance = random.Random(name)
    for _ in range(200):
        spoiled = bytearray(data[: chance.randrange(len(data)) + 1])
        for _ in range(chance.randrange(4)):
            spoiled[chance.randrange(len(spoiled))] = chance.randrange(256)
        assert "Events (" in transcript(reader(), bytes(spoiled))


@pytest.mark.parametrize(
    "event",
    [
        *(1, "a", None, [], [1], {"choices": 1}, {"choices": [1, None, {"delta": 1}]}, {"type": 5, "delta": "a"}),
        *({"bytes": "!"}, {"bytes": "bm8="}, {"bytes": 1}, {"candidates": [{"content": {"parts": [{"text": 1}]}}]}),
        *({"index": True, "delta": {"text": {}}}, {"event_type": "text-generation", "text": None}),
    ],
)
def test_json_of_any_shape_is_an_event(event):
    for reader, data in ((SseTranscript, sse(event)), (EventStreamTranscript, frames(("chunk", event)))):
        assert "Events (1)" in transcript(reader(), data)
