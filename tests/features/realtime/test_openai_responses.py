"""What the events of OpenAI's Responses over a WebSocket mean."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirekey.core.errors import Refusal
from wirekey.core.operation import Facts, Usage
from wirekey.features.realtime.messages import LONGEST_NAME, Asks, ClientMessage, Reports, ServerMessage
from wirekey.features.realtime.openai_responses import OpenAiResponsesMessages
from wirekey.providers.openai.requests import read_responses
from wirekey.providers.request_json import read_body

protocol = OpenAiResponsesMessages()
REQUEST = {
    "model": "gpt-5",
    "input": [{"role": "user", "content": "Hi"}, {"role": "user", "content": "Hi"}],
    "instructions": "be brief",
    "tools": [{"type": "function", "name": "look_up"}, {"type": "mcp", "server_label": "files"}],
    "max_output_tokens": 200,
    "moderation": {"model": "omni-moderation-latest"},
}


def event(kind, **members):
    return json.dumps({"type": kind, **members}).encode()


def test_a_request_has_the_facts_that_it_has_by_http():
    message = protocol.read_client(event("response.create", **REQUEST, stream_id="a", previous_response_id="resp_1"))
    by_http = read_responses(read_body(json.dumps(REQUEST | {"stream": True}).encode()))
    assert message == ClientMessage(Asks.RESPONSE, by_http, lane="a", previous="resp_1")
    assert (by_http.model, by_http.message_count, by_http.max_tokens) == ("gpt-5", 2, 200)
    assert by_http.other_models == ("omni-moderation-latest",)


@pytest.mark.parametrize("given", ["Shorter.", [{"role": "user", "content": "Shorter."}]], ids=["text", "messages"])
def test_steering_has_the_response_that_it_continues(given):
    message = protocol.read_client(event("response.steer", previous_response_id="resp_1", input=given))
    assert message == ClientMessage(Asks.SETTINGS, Facts(message_count=1), previous="resp_1")


@pytest.mark.parametrize("kind", ["response.cancel", "response.processed", "something.new"])
def test_an_event_that_only_refers_to_a_response_passes(kind):
    assert protocol.read_client(event(kind, response_id="resp_1", stream_id="a")).asks is Asks.NOTHING


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", "malformed_body"),
        (b"[]", "malformed_body"),
        (b"\xef\xbb\xbf{}", "malformed_body"),
        (b'{"model":"m"}', "malformed_body"),
        (b'{"type":1}', "malformed_body"),
        (b'{"type":"response.cancel","type":"response.create"}', "malformed_body"),
        (b'{"type":"response.cancel","\\u0074ype":"response.create"}', "malformed_body"),
        (b'{"Type":"response.create","type":"response.cancel"}', "malformed_body"),
        (b'{"type":"response.create","model":"a","model":"b"}', "malformed_body"),
        (b'{"type":"response.create","model":"a","Model":"b"}', "malformed_body"),
        (b'{"type":"response.create","model":"a","Stream_Id":"b"}', "malformed_body"),
        (b'{"type":"response.create","model":"a","response":{}}', "malformed_body"),
        (b'{"type":"response.create","model":"a","stream_id":1}', "malformed_body"),
        (b'{"type":"response.create","max_output_tokens":"many"}', "malformed_body"),
        (b'{"type":"response.create","tools":[{"name":"a","name":"b"}]}', "malformed_body"),
        (b'{"type":"session.update","session":{}}', "unknown_event"),
        (b'{"type":"response.cancel","tools":[]}', "unknown_event"),
        (event("response.create", model="a", stream_id="x" * 2000), "malformed_body"),
        (event("response.create", model="a", previous_response_id="x" * 2000), "malformed_body"),
    ],
)
def test_an_event_that_could_ask_for_more_than_is_judged_is_refused(payload, code):
    with pytest.raises(Refusal) as refused:
        protocol.read_client(payload)
    assert (refused.value.status, refused.value.code) == (400, code)


def test_an_event_is_the_same_whether_its_members_are_read_here_or_apart():
    payload = event("response.create", **REQUEST, stream_id="a", previous_response_id="resp_1")
    parsed = read_body(payload)
    apart = protocol.read_members(payload, parsed.spans, read_responses(parsed))
    assert apart == protocol.read_client(payload)


@pytest.mark.parametrize(
    "members",
    [{"Type": "x"}, {"response": {}}, {"type": "x" * 5000}, {"stream_id": "x" * 5000}, {"type": "session.update"}],
    ids=["alike", "nested", "long", "long lane", "unknown"],
)
def test_an_event_whose_members_are_read_apart_is_as_strict(members):
    payload = json.dumps({"type": "response.create", **REQUEST, **members}).encode()
    parsed = read_body(payload)
    with pytest.raises(Refusal):
        protocol.read_members(payload, parsed.spans, read_responses(parsed))


USAGE = {
    "input_tokens": 20,
    "input_tokens_details": {"cached_tokens": 4},
    "output_tokens": 10,
    "output_tokens_details": {"reasoning_tokens": 6},
    "total_tokens": 30,
}


@pytest.mark.parametrize(
    ("status", "more", "reason"),
    [
        ("completed", {}, "completed"),
        ("incomplete", {"incomplete_details": {"reason": "max_output_tokens"}}, "max_output_tokens"),
        ("failed", {"error": {"code": "server_error", "message": "x"}}, "failed"),
    ],
)
def test_the_end_of_a_response_has_its_usage(status, more, reason):
    response = {"id": "resp_1", "model": "gpt-5", "status": status, "usage": USAGE, "output": [], **more}
    (message,) = protocol.read_server(event(f"response.{status}", response=response, stream_id="a"))
    assert (message.reports, message.id, message.lane) == (Reports.ENDED, "resp_1", "a")
    assert message.usage == Usage(20, 10, 4, 6, reason, "gpt-5")
    error = "server_error" if status == "failed" else None
    assert (message.succeeded, message.error_type) == (error is None, error)


def test_the_beginning_of_a_response_and_an_error_are_reported():
    began = event("response.created", response={"id": "resp_1"}, stream_id="a")
    assert protocol.read_server(began) == (ServerMessage(Reports.BEGAN, "resp_1", lane="a"),)
    error = event("error", status=400, error={"type": "invalid_request_error", "code": "no_such_response"})
    failed = ServerMessage(Reports.FAILED, succeeded=False, error_type="no_such_response")
    assert protocol.read_server(error) == (failed,)
    within = event("error", code="server_error", message="x", param=None, sequence_number=3)
    failed = ServerMessage(Reports.FAILED, succeeded=False, error_type="server_error", is_within=True)
    assert protocol.read_server(within) == (failed,)


def test_a_long_name_of_the_provider_is_cut():
    (began,) = protocol.read_server(event("response.created", response={"id": "x" * 5000}, stream_id="y" * 5000))
    assert (began.id, began.lane) == ("x" * LONGEST_NAME, "y" * LONGEST_NAME)


@pytest.mark.parametrize(
    "payload",
    [
        event("response.output_text.delta", delta='"type": "response.completed"'),
        event("response.in_progress", response={"id": "resp_1"}),
        event("response.steer.accepted", steer={"id": "s", "previous_response_id": "resp_1"}),
        b'{"type":"response.completed"',
        b'{"type":"response.created","response":[]}',
        b"\xff\xfe",
    ],
)
def test_other_events_report_nothing(payload):
    assert protocol.read_server(payload) == ()


@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: event("response.completed", response=text)))
def test_no_message_of_a_provider_raises(payload):
    protocol.read_server(payload)


@pytest.mark.parametrize(("written", "sent"), [(None, 50), (500, 50), (20, 20)])
def test_a_limit_is_lowered(written, sent):
    payload = event("response.create", **({} if written is None else {"max_output_tokens": written}))
    limited = protocol.with_limit(payload, protocol.read_client(payload), 50)
    assert json.loads(limited)["max_output_tokens"] == sent


def test_a_refusal_is_an_error_event_in_the_lane_of_the_request():
    message = protocol.read_client(event("response.create", model="m", stream_id="a"))
    found = json.loads(protocol.error(Refusal(403, "denied", "No."), message, "the-call"))
    error = {"type": "permission_error", "code": "denied", "message": "No.", "param": None}
    headers = {"x-wirekey-request-id": "the-call"}
    assert found == {"type": "error", "status": 403, "error": {**error, "headers": headers}, "stream_id": "a"}
    assert "stream_id" not in json.loads(protocol.error(Refusal(400, "c", "No."), None, "the-call"))
