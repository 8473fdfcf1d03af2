"""What a stream holds is counted in bytes of memory, so that neither tiny pieces nor empty blocks pass a bound."""

import json
from dataclasses import replace
from importlib import import_module
from itertools import count

import pytest

from tests.features.translation.test_responses import reply_of
from wirekey.features.translation.claude import MAX_KEPT_REASONING, ReasoningKeeper
from wirekey.features.translation.neutral import BlockEnd
from wirekey.features.translation.responses import StreamTranslator
from wirekey.features.translation.state import MAX_INFLATED_BYTES

BOUND = 64 * 1024
BOUNDS = {
    "gemini.write_response": "MAX_ARGUMENTS",
    "responses": "MAX_WAITING",
}


def chunk(delta):
    value = {"id": "chatcmpl-1", "model": "m", "choices": [{"index": 0, "delta": delta}]}
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def call(index, text, **more):
    return {"tool_calls": [{"index": index, "function": {"arguments": text, **more}}]}


STREAMS = {
    "text of single characters": ("openai.responses", lambda number: {"content": "北"}),
    "arguments of single characters": (
        "gemini", lambda number: call(0, "1", name="f") if number == 0 else call(0, "1"),
    ),
    "calls without arguments": ("openai.responses", lambda number: call(number, "", name="f")),
    "arguments of a call that waits": (
        "anthropic",
        lambda number: call(number, "1", name="f") if number < 2 else call(1, "1"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STREAMS)
def test_many_tiny_pieces_end_the_stream_at_its_bound(name, monkeypatch):
    for module, bound in BOUNDS.items():
        monkeypatch.setattr(import_module(f"wirekey.features.translation.{module}"), bound, BOUND)
    client, delta = STREAMS[name]
    reply = replace(reply_of({"from": client, "to": "openai.chat"}, stream=True), max_held=BOUND)
    translator = StreamTranslator(reply)
    for number in count():
        translator.feed(chunk(delta(number)))
        if translator.ended or getattr(translator.writer, "failed", False):
            break
        assert number < BOUND // 40
    assert number > 20


def test_reasoning_without_calls_is_not_gathered_for_the_id_of_a_call():
    reply = reply_of({"from": "openai.chat", "to": "gemini", "ask": {"reasoning_effort": "low"}}, stream=True)
    translator = StreamTranslator(reply)
    part = {"text": "x", "thoughtSignature": "c3RhdGU=" * 100}
    call = {"functionCall": {"name": "f", "args": {}}}
    for parts in (*[[part]] * 2000, [call]):
        value = {"candidates": [{"content": {"role": "model", "parts": parts}, "index": 0}]}
        out = translator.feed(b"data: " + json.dumps(value).encode() + b"\r\n\r\n")
        assert sum(len(state.state) for state in translator.writer.states) < MAX_INFLATED_BYTES
    assert b"tool_calls" in out
    assert b"wk1_" not in out
    assert "reasoning_state" in reply.context.losses.adjusted


def test_tiny_pieces_of_a_signature_count_as_the_memory_that_they_take():
    keeper = ReasoningKeeper()
    for _ in range(MAX_KEPT_REASONING // 40):
        keeper.add_signature(0, "x")
    assert keeper.end(0) == [BlockEnd(0)]
