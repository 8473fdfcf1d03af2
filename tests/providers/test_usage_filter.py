"""Usage that Wirekey requested is removed from a stream, byte for byte."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirekey.providers.openai import usage_filter as usage_filter_module
from wirekey.providers.openai.usage_filter import UsageEventFilter


def event(chunk, end=b"\n\n", prefix=b"data: "):
    return prefix + chunk + end


def chunk_of(text, usage=b"", separators=(",", ":")):
    chunk = {"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
    data = json.dumps(chunk, separators=separators, ensure_ascii=False).encode()
    return data[:-1] + usage + b',"obfuscation":"x1"}'


NULL = b',"usage":null'
USAGE_EVENT = b'{"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}'


def stream(usage_asked, end=b"\n\n"):
    null = NULL if usage_asked else b""
    texts = ("", "Hi €", '","usage":null,"', "data: \n\n", '{"usage":{}}')
    events = [event(chunk_of(text, null), end) for text in texts]
    if usage_asked:
        events.append(event(USAGE_EVENT, end))
    return b": ping" + end + b"".join(events) + event(b"[DONE]", end)


def filtered(pieces, **options):
    usage_filter = UsageEventFilter(**options)
    out = [part for piece in pieces for part in usage_filter.feed(piece)]
    out += usage_filter.end()
    assert b"" not in out
    return b"".join(out)


def cut(data, sizes):
    at = 0
    for size in sizes:
        yield data[at : at + size]
        at += size
    yield data[at:]


CUTS = st.lists(st.integers(1, 120), max_size=40)


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n", b"\r\n\n"])
@given(sizes=CUTS)
def test_the_client_gets_the_stream_without_requested_usage(end, sizes):
    assert filtered(cut(stream(usage_asked=True, end=end), sizes)) == stream(usage_asked=False, end=end)


LONG_CUTS = st.lists(st.sampled_from([1, 2, 40, 3000, 3300, 9000, 40_000]), max_size=30)
LONG_TEXTS = ["", "x" * 3000, ',"usage":null' * 400, "\n" * 3000]


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
@given(
    sizes=LONG_CUTS, texts=st.lists(st.sampled_from(["", "x" * 3000, ',"usage":null' * 400, "\n" * 3000]), max_size=9)
)
def test_the_client_gets_long_events_without_requested_usage(end, sizes, texts):
    asked = b"".join(event(chunk_of(text, NULL), end) for text in texts) + event(USAGE_EVENT, end) + event(b"1", end)
    seen = b"".join(event(chunk_of(text), end) for text in texts) + event(b"1", end)
    assert filtered(cut(asked, sizes)) == seen


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
def test_the_client_gets_the_same_stream_byte_by_byte(end):
    asked = stream(usage_asked=True, end=end)
    assert filtered(asked[at : at + 1] for at in range(len(asked))) == stream(usage_asked=False, end=end)


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        (b'{"usage":null,"choices":[]}', b'{"choices":[]}'),
        (b'{"usage": null , "choices": []}', b'{"choices": []}'),
        (b'{"choices": [1], "usage" : null, "x": 1}', b'{"choices": [1], "x": 1}'),
        (b'{"choices":[{"usage":null}],"usage":null}', b'{"choices":[{"usage":null}]}'),
        (b'{"usage":null,"choices":[{"usage":null}]}', b'{"choices":[{"usage":null}]}'),
        (b'{"usage":null}', b"{}"),
        (b'{"a":{},"usage":null}', b'{"a":{}}'),
        (b'{"a":{"usage":null},"usage":null,"b":""}', b'{"a":{"usage":null},"b":""}'),
    ],
)
def test_a_null_is_removed_with_its_comma(sent, seen):
    assert filtered([event(sent)]) == event(seen)


@pytest.mark.parametrize(
    "chunk",
    [
        b'{"choices":[{"delta":{}}],"usage":{"prompt_tokens":1}}',
        b'{"choices":[{"usage":null}]}',
        b'{"choices":[],"x":{"a":1,"usage":null}}',
        b'{"choices":[],"x":{"a":1,"usage":null,"b":""},"usage":1}',
        b'{"usage":{"prompt_tokens":1}}',
        b'{"choices":[],"usage":7}',
        b'{"choices":null,"usage":{}}',
        b'{"error":{"message":"\\"usage\\":null"}}',
        b"[DONE]",
        b'{"usage":null',
        b'["usage"]',
        b'"usage"',
        b'{"usage":\xff}',
    ],
)
def test_all_other_events_pass_unchanged(chunk):
    assert filtered([event(chunk)]) == event(chunk)


COUNTS = b'{"prompt_tokens":9,"completion_tokens":2,"details":{"usage":{}}}'


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        (b'{"choices":[1],"usage":%b}', b'{"choices":[1]}'),
        (b'{"usage":%b,"choices":[1]}', b'{"choices":[1]}'),
        (b'{"id":"x", "usage" : %b , "choices": [1]}', b'{"id":"x" , "choices": [1]}'),
        (b'{"choices":[{"usage":1}],"usage":%b,"id":"x"}', b'{"choices":[{"usage":1}],"id":"x"}'),
        (b'{"usage":%b}', b"{}"),
        (b'{"choices":[1],"usage":null,"a":%b}', b'{"choices":[1],"a":%b}' % COUNTS),
    ],
)
@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_counts_beside_choices_are_removed_from_their_event_where_a_provider_puts_them_there(sent, seen, end):
    asked = event(sent.replace(b"%b", COUNTS), end)
    for size in (1, 7, len(asked)):
        pieces = [asked[at : at + size] for at in range(0, len(asked), size)]
        assert filtered(pieces, beside_choices=True) == event(seen, end)
    if b"null" not in sent:
        assert filtered([asked]) == asked


def test_the_usage_event_is_removed_with_all_of_its_lines():
    asked = b"id: 7\r\nevent: message\r\ndata:" + USAGE_EVENT + b"\r\n\r\n"
    assert filtered([asked + event(b"[DONE]")]) == event(b"[DONE]")


def test_a_usage_event_without_its_blank_line_is_removed():
    assert filtered([event(b"1"), event(USAGE_EVENT, end=b"")]) == event(b"1")


def test_everything_passes_after_unexpected_input():
    broken = event(b'{"usage":') + stream(usage_asked=True)
    assert filtered([broken]) == broken
    assert filtered([event(b'{"usage":'), stream(usage_asked=True)]) == broken


def test_events_pass_immediately_in_their_original_chunks():
    usage_filter = UsageEventFilter()
    plain = event(chunk_of("a"))
    (out,) = usage_filter.feed(plain)
    assert out is plain
    assert usage_filter.feed(event(chunk_of("a", NULL)) + b'data: {"cho') == [plain]
    assert usage_filter.feed(b'ices":[1]}\r\n\r') == [b'data: {"choices":[1]}\r\n\r']
    assert usage_filter.feed(b"\n") == [b"\n"]
    assert usage_filter.feed(b"") == []


@given(before=st.integers(0, 3), sizes=st.lists(st.integers(1, 90), max_size=30))
def test_events_too_long_to_hold_pass_and_later_events_are_filtered(before, sizes):
    limit, usage_filter_module.EVENT_LIMIT = usage_filter_module.EVENT_LIMIT, 300
    try:
        long = event(chunk_of("x" * 400, NULL), end=b"\r\n\r\n")
        asked = event(chunk_of("a", NULL)) * before + long + event(USAGE_EVENT) + event(chunk_of("b", NULL))
        seen = event(chunk_of("a")) * before + long + event(chunk_of("b"))
        assert filtered(cut(asked, sizes)) == seen
    finally:
        usage_filter_module.EVENT_LIMIT = limit


@given(
    pieces=st.lists(st.binary(max_size=40) | st.sampled_from([b"data: ", b'"usage"', b"\n", b"\r", USAGE_EVENT, b"{"]))
)
def test_rubbish_never_raises_and_only_usage_is_removed(pieces):
    out = filtered(piece for piece in pieces if piece)
    whole = b"".join(pieces)
    if b"usage" not in whole:
        assert out == whole
    assert filtered([whole] if whole else []) == out


def test_at_most_one_event_is_held():
    usage_filter = UsageEventFilter()
    for _ in range(40):
        usage_filter.feed(b"x" * 65536)
    assert len(usage_filter._held) < 10


def test_all_passes_after_an_unreadable_event_in_the_same_chunk():
    long = event(chunk_of("x" * 3000, NULL))
    broken = event(b'{"usage":') + long + b"data: "
    assert filtered([event(chunk_of("a", NULL)) + broken, long]) == event(chunk_of("a")) + broken + long


def test_a_null_inside_a_text_is_kept():
    text = json.dumps({"choices": [{"delta": {"content": ',"usage":null,'}}]}).encode()
    assert not re.search(rb'"usage"', text)
