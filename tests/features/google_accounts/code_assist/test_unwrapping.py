"""Responses without their envelope: the bytes of `response` as Google wrote them, in any cut of the stream."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirekey.features.google_accounts.code_assist.unwrapping import (
    StreamUnwrapper,
    WholeUnwrapper,
    first_of_array,
    unwrapped,
)

FIRST = b'{"candidates": [{"content":{"parts":[{"text":"a \\"response\\": {\xc3\xa9}"}]}}]}'
SECOND = b'{"candidates":[],"usageMetadata":{"totalTokenCount":3}}'
EVENTS = (
    b": hello\r\n\r\n"
    b'data: {"response":' + FIRST + b',"traceId":"t"}\r\n\r\n'
    b'data:{"traceId":"t", "response":' + SECOND + b"}\n\n"
    b'data: {"traceId":"t"}\r\n\r\n'
)
PLAIN = b": hello\r\n\r\ndata: " + FIRST + b"\r\n\r\ndata: " + SECOND + b"\r\n\r\ndata: {}\r\n\r\n"


def fed(unwrapper, pieces):
    return b"".join(part for piece in pieces for part in unwrapper.feed(piece)) + b"".join(unwrapper.end())


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (b'{"response": ' + FIRST + b', "traceId": "x"}', FIRST),
        (b'{"traceId": "x"}', b"{}"),
        (b'{"response": null}', b"{}"),
        (b' {"error": {"code": 429}} ', b'{"error": {"code": 429}}'),
        (b"[1]", None),
        (b"<html>", None),
        (b"\xff\xfe", None),
        (b"[" * 100_000, None),
    ],
    ids=["response", "none", "null", "error", "array", "html", "not utf-8", "deep"],
)
def test_one_object_is_what_its_response_is(document, expected):
    assert unwrapped(document) == expected


@given(cuts=st.lists(st.integers(0, len(EVENTS)), max_size=12))
def test_events_cut_anywhere_are_the_same_events(cuts):
    places = [0, *sorted(cuts), len(EVENTS)]
    pieces = [EVENTS[start:end] for start, end in itertools.pairwise(places)]
    assert fed(StreamUnwrapper(), pieces) == PLAIN
    found = json.loads(fed(StreamUnwrapper(as_array=True), pieces))
    assert found == [json.loads(FIRST), json.loads(SECOND), {}]


def test_an_event_passes_as_soon_as_it_is_complete():
    unwrapper = StreamUnwrapper()
    assert unwrapper.feed(b'data: {"response":{"a":1}}\r\n\r') == []
    assert unwrapper.feed(b"\n") == [b'data: {"a":1}\r\n\r\n']


def test_an_array_grows_with_each_event():
    unwrapper = StreamUnwrapper(as_array=True)
    assert unwrapper.feed(b'data: {"response":{"a":1}}\n\n') == [b'[{"a":1}']
    assert unwrapper.feed(b'data: {"response":{"a":2}}\n\n') == [b',\r\n{"a":2}']
    assert unwrapper.end() == [b"]"]


def test_a_stream_without_events_is_an_empty_array():
    assert fed(StreamUnwrapper(as_array=True), [b""]) == b"[]"


def test_an_error_inside_a_stream_passes():
    error = b'data: {"error":{"code":503}}\r\n\r\n'
    assert fed(StreamUnwrapper(), [error]) == error


def test_data_on_several_lines_is_one_object():
    event = b'data: {"response":\r\ndata: {"a":\r\ndata: 1}}\r\n\r\n'
    found = fed(StreamUnwrapper(), [event])
    assert found == b'data: {"a":\r\ndata: 1}\r\n\r\n'


def test_a_last_event_without_its_blank_line_counts_if_it_is_whole():
    assert fed(StreamUnwrapper(), [b'data: {"response":{"a":1}}']) == b'data: {"a":1}\r\n\r\n'
    assert fed(StreamUnwrapper(), [b'data: {"response":{"a"']) == b""


@given(st.binary(max_size=200), st.booleans())
def test_whatever_arrives_no_reader_raises(data, as_array):
    fed(StreamUnwrapper(as_array=as_array), [data, b"\n\n", data])


def test_a_whole_response_is_held_and_converted():
    unwrapper = WholeUnwrapper(bytes.upper, limit=8)
    assert fed(unwrapper, [b"ab", b"cd"]) == b"ABCD"


def test_no_more_is_held_than_the_limit_and_one_piece():
    unwrapper = WholeUnwrapper(bytes.upper, limit=8)
    for _ in range(100):
        unwrapper.feed(b"0123456789")
    assert unwrapper.is_too_long
    assert unwrapper.end() == [b"0123456789"]


@pytest.mark.parametrize(
    ("document", "expected"), [(b' [{"a":1}, 2]', b'{"a":1}'), (b"{}", b"{}"), (b"[]", b"[]"), (b"[", b"[")]
)
def test_the_first_of_an_array_of_errors_is_the_error(document, expected):
    assert first_of_array(document) == expected
