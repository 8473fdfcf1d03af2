"""Counts and ends of Bedrock's two-way responses are read from frames that are cut anywhere, whatever a model sends."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirekey.core.metering.eventstream import write_frame
from wirekey.core.operation import Usage
from wirekey.features.realtime.bedrock_events import may_begin_turn
from wirekey.features.realtime.bedrock_stream import TwoWayStream

EVENT = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}


def chunk(event, **padding) -> bytes:
    value = event if isinstance(event, bytes) else json.dumps({"event": event}).encode()
    return write_frame(EVENT, json.dumps({"bytes": base64.b64encode(value).decode(), **padding}).encode())


def counts(speech_in, text_in, speech_out, text_out, **more):
    total = {
        "input": {"speechTokens": speech_in, "textTokens": text_in},
        "output": {"speechTokens": speech_out, "textTokens": text_out},
    }
    sums = {"totalInputTokens": speech_in + text_in, "totalOutputTokens": speech_out + text_out}
    return {"usageEvent": {"completionId": "c", "details": {"delta": {}, "total": total}, **sums, **more}}


def used(speech_in, text_in, speech_out, text_out, reason=None):
    return Usage(
        speech_in + text_in,
        speech_out + text_out,
        finish_reason=reason,
        audio_input_tokens=speech_in,
        audio_output_tokens=speech_out,
    )


START = {"completionStart": {"sessionId": "s"}}
TURN = [
    {"contentStart": {"role": "ASSISTANT", "type": "TEXT"}},
    {"textOutput": {"content": "usageEvent completionEnd"}},
    {"contentEnd": {"stopReason": "END_TURN"}},
]
PARTIAL = {"contentEnd": {"stopReason": "PARTIAL_TURN"}}
INTERRUPTED = {"contentEnd": {"stopReason": "INTERRUPTED"}}
WRONG = {"usageEvent": {"totalInputTokens": "7"}}
THROTTLED = write_frame({":exception-type": "throttlingException", ":message-type": "exception"}, b'{"message":"x"}')
TABLE = {
    "nothing": ([], Usage(), True, None),
    "one turn": ([START, *TURN, counts(1, 2, 3, 4)], used(1, 2, 3, 4, "END_TURN"), True, None),
    "counts grow": ([counts(1, 2, 3, 4), counts(10, 2, 30, 4)], used(10, 2, 30, 4), True, None),
    "within a turn": ([START, *TURN[:2], counts(1, 2, 3, 4)], used(1, 2, 3, 4), False, None),
    "between the contents of a turn": ([START, TURN[0], PARTIAL], Usage(finish_reason="PARTIAL_TURN"), False, None),
    "interrupted": (
        [START, {"contentEnd": {"stopReason": "INTERRUPTED"}}],
        Usage(finish_reason="INTERRUPTED"),
        True,
        None,
    ),
    "ended": ([START, {"completionEnd": {"stopReason": "END_TURN"}}], Usage(finish_reason="END_TURN"), True, None),
    "an exception": ([START, *TURN, THROTTLED], Usage(finish_reason="END_TURN"), False, "throttlingException"),
    "counts without details": (
        [{"usageEvent": {"totalInputTokens": 5, "totalOutputTokens": 6}}],
        Usage(5, 6),
        True,
        None,
    ),
    "counts of a wrong type": (
        [counts(1, 2, 3, 4), {"usageEvent": {"totalInputTokens": "7"}}],
        used(1, 2, 3, 4),
        True,
        None,
    ),
    "no JSON": ([b'{"event": {"usageEvent": ', b"\xff" * 90, b""], Usage(), True, None),
    "spaces": ([b' { "event" :\n{ "completionStart": {}}}'], Usage(), False, None),
}


def written(events) -> bytes:
    return b"".join(event if event is THROTTLED else chunk(event, p="abc") for event in events)


@pytest.mark.parametrize(("events", "usage", "finished", "error"), TABLE.values(), ids=TABLE)
def test_a_stream_is_read(events, usage, finished, error):
    reader = TwoWayStream()
    reader.feed(written(events))
    assert (reader.usage, reader.finished, reader.error_type) == (usage, finished, error)


def turns_in(events) -> list:
    """What a stream reports of turns: that one began, or the input and output tokens that it has used."""
    found, reader = [], TwoWayStream()
    reader.report = found.append
    reader.feed(written(events))
    return [
        (each.reports.name, each.id, (each.usage.input_tokens, each.usage.output_tokens) if each.usage else None)
        for each in found
    ]


BEGAN, ENDED = "BEGAN", "ENDED"
TURNS = {
    "one turn": ([START, *TURN, counts(1, 2, 3, 4)], [(BEGAN, "1", None), (ENDED, "1", (3, 7))]),
    "counts within a turn": (
        [START, *TURN[:2], counts(1, 2, 3, 4), TURN[2], counts(1, 2, 5, 4)],
        [(BEGAN, "1", None), (ENDED, "1", (3, 9))],
    ),
    "each turn has the tokens since the last": (
        [START, *TURN, counts(1, 2, 3, 4), counts(9, 2, 3, 4), *TURN, counts(9, 2, 30, 4)],
        [(BEGAN, "1", None), (ENDED, "1", (3, 7)), (BEGAN, "2", None), (ENDED, "2", (8, 27))],
    ),
    "several contents": (
        [START, TURN[0], PARTIAL, *TURN, counts(1, 0, 1, 0)],
        [(BEGAN, "1", None), (ENDED, "1", (1, 1))],
    ),
    "interrupted": ([START, TURN[0], INTERRUPTED, counts(1, 0, 1, 0)], [(BEGAN, "1", None), (ENDED, "1", (1, 1))]),
    "counts that shrink": (
        [START, *TURN, counts(5, 0, 5, 0), *TURN, counts(1, 0, 6, 0)],
        [(BEGAN, "1", None), (ENDED, "1", (5, 5)), (BEGAN, "2", None), (ENDED, "2", (0, 1))],
    ),
    "no counts": ([START, *TURN, {"completionEnd": {"stopReason": "END_TURN"}}], [(BEGAN, "1", None)]),
    "unknown counts": ([START, *TURN, WRONG], [(BEGAN, "1", None)]),
}


@pytest.mark.parametrize(("events", "turns"), TURNS.values(), ids=TURNS)
def test_turns_are_reported_with_their_tokens(events, turns):
    assert turns_in(events) == turns


def test_tokens_after_the_last_turn_are_left():
    reader = TwoWayStream()
    reader.feed(written([START, *TURN, counts(1, 2, 3, 4)]))
    assert reader.take_usage().input_tokens == 0
    reader.feed(written([counts(6, 2, 3, 4)]))
    assert (reader.take_usage().audio_input_tokens, reader.take_usage().audio_input_tokens) == (5, 0)


CLIENT_EVENTS = {
    "sessionStart": False,
    "promptStart": False,
    "contentStart": True,
    "audioInput": True,
    "textInput": True,
    "toolResult": True,
    "contentEnd": False,
    "promptEnd": False,
    "sessionEnd": False,
    "somethingNew": True,
}


@pytest.mark.parametrize(("name", "may_begin"), CLIENT_EVENTS.items(), ids=CLIENT_EVENTS)
def test_input_may_begin_a_turn(name, may_begin):
    assert may_begin_turn(chunk({name: {"promptName": "p"}})) is may_begin
    assert may_begin_turn(chunk({name: {"promptName": "p"}}, p="padding")) is may_begin


@pytest.mark.parametrize(
    "payload",
    [
        chunk({"contentEnd": {}, "textInput": {"content": "hidden"}}),
        chunk(b"no JSON"),
        chunk(b'{"event":[]}'),
        write_frame(EVENT, b'{"bytes":5}'),
        b"short",
    ],
    ids=["two events in one", "no JSON", "no object", "no bytes", "no frame"],
)
def test_an_event_that_cannot_be_read_may_begin_a_turn(payload):
    assert may_begin_turn(payload)


START_B64, AUDIO_B64 = (
    base64.b64encode(json.dumps({"event": {name: {}}}).encode()).decode() for name in ("sessionStart", "audioInput")
)


@pytest.mark.parametrize(
    "payload",
    [
        chunk(b'{"event":{"audioInput":{}},"event":{"sessionStart":{}}}'),
        chunk(b'{"event":{"sessionStart":{}},"\\u0065vent":{"sessionStart":{}}}'),
        write_frame(EVENT, f'{{"bytes":"{AUDIO_B64}","bytes":"{START_B64}"}}'.encode()),
    ],
    ids=["an event", "an event in another spelling", "the bytes"],
)
def test_an_event_that_has_a_member_twice_may_begin_a_turn(payload):
    assert may_begin_turn(payload)


def test_the_empty_event_at_the_end_begins_no_turn():
    assert not may_begin_turn(b"")


@given(st.binary(max_size=300))
def test_no_event_of_a_client_raises(data):
    may_begin_turn(data)
    may_begin_turn(chunk(data))


@given(st.lists(st.integers(1, 300), max_size=20))
def test_a_stream_may_be_cut_anywhere(sizes):
    events, usage, finished, error = TABLE["one turn"]
    whole, reader, at = written(events), TwoWayStream(), 0
    for size in [*sizes, len(whole)]:
        reader.feed(whole[at : at + size])
        at += size
    assert (reader.usage, reader.finished, reader.error_type) == (usage, finished, error)


@given(st.binary(max_size=200))
def test_no_payload_raises(payload):
    reader = TwoWayStream()
    reader.feed(write_frame(EVENT, payload) + chunk(payload) + chunk(b'{"event":{"usageEvent"' + payload))
    assert reader.usage.input_tokens is None
