"""The generated text of a stream is counted as it passes, in each format and in any cut."""

import base64
import json

import pytest

from wirekey.core.metering.deltas import DeltaCounter, starts_of
from wirekey.core.metering.eventstream import write_frame
from wirekey.providers.anthropic.responses import MessageStream
from wirekey.providers.bedrock.responses import ConverseStream, InvokeStream
from wirekey.providers.gemini.responses import GeminiArrayReader, GeminiSseReader
from wirekey.providers.openai.responses import ChunkStream, TypedStream

TEXT = 'A "quoted" text,\n\\ and a key: "content":"no".'
PARTS = (TEXT, "", "more")
LENGTH = len(TEXT) + 4


def events(*made: dict, end: str = "\n\n") -> bytes:
    return "".join(f"data: {json.dumps(each)}{end}" for each in made).encode()


def frames(kind: str, *made: dict) -> bytes:
    head = {":event-type": kind, ":message-type": "event"}
    return b"".join(write_frame(head, json.dumps(each).encode()) for each in made)


def chat(key: str) -> bytes:
    return events(*({"choices": [{"index": 0, "delta": {"role": "assistant", key: part}}]} for part in PARTS))


def anthropic(kind: str, key: str) -> list[dict]:
    return [{"type": "content_block_delta", "index": 0, "delta": {"type": kind, key: part}} for part in PARTS]


def gemini(part: dict) -> dict:
    found = {"candidates": [{"content": {"parts": [part], "role": "model"}}]}
    return found | {"usageMetadata": {"promptTokenCount": 9}, "modelVersion": "gemini-2.5-flash", "responseId": "abc"}


GEMINI = [gemini({"text": part, "thoughtSignature": "c2lnbmVk"}) for part in PARTS]
CALLED = [gemini({"functionCall": {"name": "write", "args": {"file": "more", "lines": TEXT}}})]
INVOKED = [{"bytes": base64.b64encode(json.dumps(each).encode()).decode()} for each in anthropic("text_delta", "text")]
FORMATS = {
    "chat": (ChunkStream, chat("content")),
    "chat, arguments": (ChunkStream, chat("arguments")),
    "chat, reasoning": (ChunkStream, chat("reasoning_content")),
    "responses": (TypedStream, events(*({"type": "response.output_text.delta", "delta": part} for part in PARTS))),
    "anthropic": (MessageStream, events(*anthropic("text_delta", "text"))),
    "anthropic, a tool": (MessageStream, events(*anthropic("input_json_delta", "partial_json"))),
    "anthropic, thinking": (MessageStream, events(*anthropic("thinking_delta", "thinking"))),
    "gemini, CR LF": (GeminiSseReader, events(*GEMINI, end="\r\n\r\n")),
    "gemini, array": (GeminiArrayReader, json.dumps(GEMINI, indent=1).encode()),
    "gemini, a call": (GeminiSseReader, events(*CALLED)),
    "converse": (ConverseStream, frames("contentBlockDelta", *({"delta": {"text": p}, "p": "abcd"} for p in PARTS))),
    "converse, a tool": (
        ConverseStream,
        frames("contentBlockDelta", *({"delta": {"toolUse": {"input": p}}} for p in PARTS)),
    ),
    "invoke": (InvokeStream, frames("chunk", *INVOKED)),
}


def counted(make, data: bytes, size: int) -> int:
    reader = make()
    reader.deltas = DeltaCounter(reader.texts)
    for start in range(0, len(data), size):
        reader.feed(data[start : start + size])
    return reader.deltas.counted


@pytest.mark.parametrize("size", [1, 2, 7, 100, 1 << 20])
@pytest.mark.parametrize("name", FORMATS)
def test_the_text_is_counted_once_whatever_the_cut(name, size):
    make, data = FORMATS[name]
    extra = len("write") if name == "gemini, a call" else 0
    # A line end and an escaped backslash count as one byte, and as none.
    assert abs(counted(make, data, size) - LENGTH - extra) <= 2


@pytest.mark.parametrize("size", [1, 3, 5, 100])
@pytest.mark.parametrize(
    ("text", "length"), [("é" * 10, 20), ("\\u00e9" * 10, 20), ("\\ud83d\\ude00", 4), ('\\"' * 10, 10), ("", 0)]
)
def test_escapes_count_as_the_characters_that_they_stand_for(text, length, size):
    counter = DeltaCounter(starts_of("text"))
    data = f'{{"text": "{text}", "other": "text"}}'.encode()
    for start in range(0, len(data), size):
        counter.feed(data[start : start + size])
    assert counter.counted == length


def test_what_is_not_generated_is_not_counted():
    last = {"type": "response.completed", "response": {"output": [{"content": [{"text": "All again."}]}]}}
    assert counted(TypedStream, events(last), 1 << 20) == 0
    signed = gemini({"text": "", "thoughtSignature": "A" * 1000, "inlineData": {"mimeType": "image/png", "data": "AA"}})
    assert counted(GeminiSseReader, events(signed), 1 << 20) == 0
    assert ConverseStream().deltas is None
