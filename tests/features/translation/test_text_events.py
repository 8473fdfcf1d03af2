"""A chunk that is one event with text and nothing else, as most are, is read by itself. The client gets the same."""

import pytest

from tests.features.translation.streams import upstream_bytes
from tests.features.translation.test_mutated_streams import translator_of
from wirekey.features.translation.formats import FORMATS

CLIENTS = list(FORMATS)
ANTHROPIC = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "words é\n\U0001f600"}}
CHOICE = {"index": 0, "delta": {"content": "words"}, "logprobs": None, "finish_reason": None}
CHAT = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [CHOICE], "usage": None}
RESPONSES = {
    "type": "response.output_text.delta",
    "item_id": "msg_1",
    "output_index": 0,
    "content_index": 0,
    "delta": "words",
    "logprobs": [],
    "sequence_number": 3,
    "obfuscation": "xyz",
}
TEXT = {"anthropic": ANTHROPIC, "openai.chat": CHAT, "openai.responses": RESPONSES}
BEFORE = {
    "anthropic": [
        {"type": "message_start", "message": {"id": "msg_1", "model": "m", "usage": {"input_tokens": 3}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    ],
    "openai.chat": [CHAT],
    "openai.responses": [
        {"type": "response.created", "response": {"id": "resp_1", "model": "m"}},
        {**RESPONSES, "delta": "first"},
    ],
}


def choice(**members):
    return {**CHAT, "choices": [{**CHOICE, **members}]}


OTHER = {
    "anthropic": {
        "no text": {**ANTHROPIC, "delta": {"type": "text_delta", "text": ""}},
        "another member": {**ANTHROPIC, "delta": {"type": "text_delta", "text": "a", "new": 1}},
        "a block that is not open": {**ANTHROPIC, "index": 1},
        "arguments": {**ANTHROPIC, "delta": {"type": "input_json_delta", "partial_json": "{"}},
        "text of another type": {**ANTHROPIC, "delta": {"type": "text_delta", "text": 5}},
        "the end of a block": {"type": "content_block_stop", "index": 0},
        "a list": [ANTHROPIC],
    },
    "openai.chat": {
        "no text": choice(delta={"content": ""}),
        "a role": choice(delta={"role": "assistant", "content": "a"}),
        "reasoning": choice(delta={"reasoning_content": "a"}),
        "a refusal": choice(delta={"refusal": "a"}),
        "a reason": choice(finish_reason="stop"),
        "log probabilities": choice(logprobs={"content": [{"token": "a", "logprob": -1, "bytes": None}]}),
        "another choice": choice(index=1),
        "two choices": {**CHAT, "choices": [CHOICE, CHOICE]},
        "token counts": {**CHAT, "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}},
        "an error": {**CHAT, "error": {"message": "a", "type": "b"}},
        "an error alone": {"error": {"message": "a", "type": "b"}},
    },
    "openai.responses": {
        "no text": {**RESPONSES, "delta": ""},
        "log probabilities": {**RESPONSES, "logprobs": [{"token": "a", "logprob": -1, "top_logprobs": []}]},
        "a refusal": {**RESPONSES, "type": "response.refusal.delta"},
        "another part": {**RESPONSES, "content_index": 1},
        "text of another type": {**RESPONSES, "delta": ["a"]},
        "an error": {"type": "error", "message": "a"},
    },
}
FRAMED = {
    "two events": lambda event: event * 2,
    "a half": lambda event: event[: len(event) // 2],
    "a comment before": lambda event: b": ping\n\n" + event,
    "CRLF": lambda event: event.replace(b"\n", b"\r\n"),
    "a line between": lambda event: b"id: 1\n" + event,
    "no space": lambda event: event.replace(b"data: ", b"data:"),
    "two lines": lambda event: event.replace(b'{"', b'{\ndata: "', 1),
    "not JSON": lambda event: event.replace(b"}", b"", 1),
    "not UTF-8": lambda event: event.replace(b"words", b"\xff"),
}


def started(client, upstream):
    """Return a translator that has read the beginning of a stream."""
    translator = translator_of(client, upstream, "text")
    translator.feed(upstream_bytes(upstream, BEFORE[upstream]))
    return translator


def bytewise(translator, data):
    return b"".join(translator.feed(data[at : at + 1]) for at in range(len(data)))


def finished(translator, data):
    return bytewise(translator, data) + translator.end()


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("upstream", TEXT)
def test_one_event_with_text_is_read_by_itself(client, upstream, monkeypatch):
    data = upstream_bytes(upstream, [TEXT[upstream]])
    translator = started(client, upstream)
    expected = bytewise(started(client, upstream), data)
    monkeypatch.delattr(type(translator.reader), "feed")
    assert translator.feed(data) == expected
    assert expected


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("upstream", "event"), [(upstream, event) for upstream in OTHER for event in OTHER[upstream].values()],
    ids=[f"{upstream} {name}" for upstream in OTHER for name in OTHER[upstream]],
)  # fmt: skip
def test_another_event_is_not(client, upstream, event):
    data = upstream_bytes(upstream, [event])
    translator = started(client, upstream)
    assert translator.reader.text_of(data) is None
    assert translator.feed(data) + translator.end() == finished(started(client, upstream), data)


@pytest.mark.parametrize("framed", FRAMED.values(), ids=FRAMED)
@pytest.mark.parametrize("upstream", TEXT)
def test_bytes_that_are_not_one_event_are_not(upstream, framed):
    whole = upstream_bytes(upstream, [TEXT[upstream]])
    data = framed(whole)
    assert data != whole
    translator = started("openai.chat", upstream)
    assert translator.reader.text_of(data) is None
    assert translator.feed(data) + translator.end() == finished(started("openai.chat", upstream), data)
