"""Responses, streams and errors of an upstream become those of the client's format. The cases are in `cases/`."""

import json
from itertools import count

import pytest

from tests.features.translation.cases import PLAIN, STATES, client_body, dumped, formats, load, model_of
from tests.features.translation.matching import match
from tests.features.translation.streams import cut, fold, upstream_bytes
from wirekey.features.translation.reply import Reply
from wirekey.features.translation.requests import translate_request
from wirekey.features.translation.responses import StreamTranslator, translate_response

ANSWERS = load("answer")
STREAMS = load("stream")
ERRORS = {name: case for name, case in load("error").items() if "refused" not in case["expect"]}


def reply_of(case, request=None, *, stream=False):
    client, upstream = formats(case)
    ask = {**PLAIN[case["from"]], **case.get("ask", {})} if request is None else request
    body = client_body(case["from"], ask, stream=stream)
    request = translate_request(client, upstream, model_of(case), body, STATES, stream=stream)
    numbers = count(1)
    query = case.get("query", "alt=sse")
    return Reply(request.context, request.conversation, STATES, 1767225600, lambda: f"{next(numbers):024}", query)


def check_client(expected, status, headers, text):
    assert status == expected.get("status", 200)
    match(expected.get("headers", {}), dict(headers))
    match(expected.get("body", {}), json.loads(text))
    for piece in expected.get("raw_contains", []):
        assert piece in text
    for piece in expected.get("raw_lacks", []):
        assert piece not in text


@pytest.mark.parametrize("name", ANSWERS)
def test_a_response_is_written_in_the_format_of_the_client(name):
    case = ANSWERS[name]
    found = translate_response(200, dumped(case["in"]).encode(), reply_of(case))
    check_client(case["expect"]["client"], found.status, found.headers, found.body.decode())


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_written_in_the_format_of_the_client(name):
    case = ERRORS[name]
    given = case["in"]
    body = given["body"] if isinstance(given["body"], str) else dumped(given["body"])
    found = translate_response(given["status"], body.encode(), reply_of(case), given.get("headers"))
    check_client(case["expect"]["client"], found.status, found.headers, found.body.decode())


def streamed(case, size):
    reply = reply_of(case, stream=True)
    translator = StreamTranslator(reply)
    out = b"".join(
        translator.feed(piece) for piece in cut(upstream_bytes(case["to"], case["in"], case.get("options")), size)
    )
    return out + translator.end()


@pytest.mark.parametrize("size", [0, 1, 7, 64])
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_written_in_the_format_of_the_client(name, size):
    case = STREAMS[name]
    found = streamed(case, size or case.get("options", {}).get("cut"))
    assert found == streamed(case, None), "any cut gives the same bytes"
    response, counts = fold(case["from"], found)
    expected = case["expect"]["client"]
    match(expected["body"], response)
    for event, number in expected.get("event_count", {}).items():
        assert counts.get(event, 0) == number


def events_of(client, upstream, events):
    translator = StreamTranslator(reply_of({"from": client, "to": upstream}, stream=True))
    return translator.feed(upstream_bytes(upstream, events)) + translator.end(), translator


def test_a_generated_image_in_a_stream_is_an_error_and_not_left_out():
    part = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    data, translator = events_of("openai.chat", "gemini", [{"candidates": [{"content": {"parts": [part]}}]}])
    assert b"cannot_translate_answer" in data
    assert translator.failure.status == 502


def test_a_reason_that_openai_does_not_know_is_told_in_a_stream():
    chunk = {"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "OTHER"}]}
    data, _ = events_of("openai.chat", "gemini", [chunk])
    assert b'"finish_reason":"stop","native_finish_reason":"OTHER"' in data


@pytest.mark.parametrize("upstream", ["anthropic", "converse"])
def test_reasoning_that_is_too_long_to_be_kept_is_shown_without_its_state(upstream):
    piece = "s" * 50_000
    if upstream == "anthropic":
        delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": piece}}
        start = {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "hm"}}
        events = [start, *[delta] * 6, {"type": "content_block_stop", "index": 0}]
    else:
        thought = {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "hm"}}}
        delta = {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": piece}}}}
        events = [{"contentBlockDelta": thought}, *[delta] * 6, {"contentBlockStop": {"contentBlockIndex": 0}}]
    case = {"from": "openai.responses", "to": upstream, "ask": {"reasoning": {"summary": "auto"}}}
    translator = StreamTranslator(reply_of(case, stream=True))
    data = b"".join(translator.feed(upstream_bytes(upstream, [event])) for event in events)
    assert b'"delta":"hm"' in data
    assert b"ssss" not in data
    assert len(data) < len(piece)
