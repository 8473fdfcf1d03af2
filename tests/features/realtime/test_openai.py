"""What the events of OpenAI Realtime mean."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirekey.core.errors import Refusal
from wirekey.core.operation import Usage
from wirekey.features.realtime.messages import Asks, Reports, ServerMessage
from wirekey.features.realtime.openai import OpenAiRealtime

protocol = OpenAiRealtime()


def event(kind, **members):
    return json.dumps({"type": kind, **members}).encode()


@pytest.mark.parametrize(
    ("kind", "asks"),
    [
        ("response.create", Asks.RESPONSE),
        ("session.update", Asks.SETTINGS),
        ("transcription_session.update", Asks.SETTINGS),
        ("input_audio_buffer.append", Asks.NOTHING),
        ("conversation.item.create", Asks.NOTHING),
        ("response.cancel", Asks.NOTHING),
        ("something.new", Asks.NOTHING),
    ],
)
def test_the_events_that_ask_for_something_are_judged(kind, asks):
    assert protocol.read_client(event(kind)).asks is asks


def test_the_facts_of_a_session_are_read():
    session = {
        "type": "realtime",
        "model": "gpt-realtime-mini",
        "instructions": "be brief",
        "tools": [{"type": "function", "name": "look_up"}, {"type": "mcp", "server_label": "files"}],
        "max_output_tokens": 200,
        "audio": {"input": {"transcription": {"model": "whisper-1"}}},
    }
    message = protocol.read_client(event("session.update", session=session, event_id="e1"))
    facts = message.facts
    assert message.event_id == "e1"
    assert (facts.model, facts.max_tokens, facts.has_system) == ("gpt-realtime-mini", 200, True)
    assert set(facts.tools) >= {"look_up", "files"}
    assert facts.other_models == ("whisper-1",)


def test_the_facts_of_the_beta_version_are_read():
    session = {"input_audio_transcription": {"model": "whisper-1"}, "max_response_output_tokens": "inf"}
    facts = protocol.read_client(event("session.update", session=session)).facts
    assert (facts.other_models, facts.max_tokens) == (("whisper-1",), None)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"not json",
        b"\xef\xbb\xbf{}",
        b'{"a":1}',
        b'{"type":1}',
        b'{"type":"a","type":"session.update"}',
        b'{"type":"a","\\u0074ype":"session.update"}',
        b'{"Type":"session.update","type":"a"}',
        b'{"type":"session.update","session":{"model":"a","model":"b"}}',
        b'{"type":"session.update","session":{"model":"a","Model":"b"}}',
        b'{"type":"session.update","session":[]}',
        b'{"type":"session.update","session":{},"session":{"model":"b"}}',
        b'{"type":"session.update","session":{"tools":[{"name":"a","name":"b"}]}}',
        b'{"type":"response.create","response":{"max_output_tokens":"many"}}',
        b'{"type":"a\xff"}',
    ],
)
def test_an_event_that_could_be_read_in_two_ways_is_refused(payload):
    with pytest.raises(Refusal) as refused:
        protocol.read_client(payload)
    assert refused.value.status == 400


def test_a_long_name_of_an_event_is_refused():
    with pytest.raises(Refusal, match="event_id is longer"):
        protocol.read_client(event("response.create", event_id="x" * 2000))


USAGE = {
    "total_tokens": 30,
    "input_tokens": 20,
    "output_tokens": 10,
    "input_token_details": {"cached_tokens": 4, "text_tokens": 8, "audio_tokens": 12},
    "output_token_details": {"text_tokens": 3, "audio_tokens": 7},
}


def test_the_usage_of_a_response_is_read():
    done = event("response.done", response={"id": "resp_1", "status": "completed", "output": [], "usage": USAGE})
    usage = Usage(20, 10, 4, finish_reason="completed", audio_input_tokens=12, audio_output_tokens=7)
    assert protocol.read_server(done) == (ServerMessage(Reports.ENDED, "resp_1", usage),)


def test_a_response_that_failed_reports_its_error():
    details = {"type": "failed", "error": {"type": "server_error", "code": "rate_limit_exceeded"}}
    done = event("response.done", response={"id": "r", "status": "failed", "status_details": details})
    (message,) = protocol.read_server(done)
    assert (message.succeeded, message.error_type) == (False, "rate_limit_exceeded")


@pytest.mark.parametrize(
    ("payload", "reports", "named"),
    [
        (event("response.created", response={"id": "resp_1"}), Reports.BEGAN, "resp_1"),
        (
            event("conversation.item.input_audio_transcription.completed", item_id="i", usage={"input_tokens": 3}),
            Reports.USED,
            "i",
        ),
        (event("error", error={"type": "invalid_request_error", "event_id": "e7"}), Reports.FAILED, None),
    ],
)
def test_other_events_that_are_recorded(payload, reports, named):
    (message,) = protocol.read_server(payload)
    assert (message.reports, message.id) == (reports, named)


@pytest.mark.parametrize(
    "payload",
    [
        event("response.output_audio.delta", delta="QUJD"),
        event("response.output_text.delta", delta='"type": "response.done"'),
        event("session.created", session={"model": "m"}),
        b'{"type":"response.done","response":{"usage":{"input_tokens":-1}}}',
        b'{"type":"response.done"',
        b"\xff\xfe",
    ],
)
def test_other_events_report_nothing(payload):
    assert protocol.read_server(payload) == ()


@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: event("response.done", response=text)))
def test_no_message_of_a_provider_raises(payload):
    protocol.read_server(payload)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, {"response": {"max_output_tokens": 50}}),
        ({"response": {"instructions": "x"}}, {"response": {"instructions": "x", "max_output_tokens": 50}}),
        ({"response": {"max_output_tokens": "inf"}}, {"response": {"max_output_tokens": 50}}),
        ({"response": {"max_output_tokens": 500}}, {"response": {"max_output_tokens": 50}}),
        ({"response": {"max_output_tokens": 20}}, {"response": {"max_output_tokens": 20}}),
    ],
)
def test_a_limit_is_lowered_and_the_rest_stays(members, expected):
    payload = event("response.create", **members)
    limited = protocol.with_limit(payload, protocol.read_client(payload), 50)
    assert json.loads(limited) == {"type": "response.create", **expected}


def test_a_refusal_is_an_error_event_that_names_the_clients_event():
    message = protocol.read_client(event("response.create", event_id="mine"))
    found = json.loads(protocol.error(Refusal(403, "denied", "No."), message, "call"))
    assert found["type"] == "error"
    assert found["error"] == {
        "type": "invalid_request_error",
        "code": "denied",
        "message": "No.",
        "param": None,
        "event_id": "mine",
    }
