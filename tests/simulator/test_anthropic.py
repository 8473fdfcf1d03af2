import json

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from anthropic.types.messages import MessageBatch
from pydantic import TypeAdapter

from tests.simulator.requests import request
from wirekey_simulator.anthropic import check_credentials, failure, respond
from wirekey_simulator.behaviour import parse_behaviour
from wirekey_simulator.exchange import BadRequest
from wirekey_simulator.state import State
from wirekey_simulator.text import TEXT

ASK = {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": [{"role": "user", "content": "Say hello"}]}
TOOL = {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
ASK_TOOL = ASK | {"tools": [TOOL], "messages": [{"role": "user", "content": "Please call a tool"}]}
VERSION = {"anthropic-version": "2023-06-01"}
EVENT = TypeAdapter(RawMessageStreamEvent)


def ask(body, behaviour="", path="/v1/messages", method="POST", state=None):
    return respond(request(method, path, body, VERSION), parse_behaviour(behaviour), state or State())


def plain(body, behaviour="", **more):
    return json.loads(ask(body, behaviour, **more).body)


def stream(body, behaviour=""):
    events = []
    for piece in ask(body | {"stream": True}, behaviour).pieces:
        name, data, *rest = piece.decode().split("\n")
        assert rest == ["", ""]
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    return events


def test_a_plain_response_is_a_message_of_the_sdk():
    message = Message.model_validate(plain(ASK))
    assert message.content[0].text == TEXT
    assert message.stop_reason == "end_turn"
    assert message.model == "claude-sonnet-4-5"


def test_same_request_same_response_apart_from_ids():
    state = State()
    first, second = plain(ASK, state=state), plain(ASK, state=state)
    assert first.pop("id") != second.pop("id")
    assert first == second


def test_a_stream_has_the_events_in_the_order_of_the_provider():
    events = stream(ASK, "events=2")
    assert [event["type"] for event in events] == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    for event in events:
        if event["type"] != "ping":
            EVENT.validate_python(event, strict=False)


@pytest.mark.parametrize("asked", [ASK, ASK_TOOL])
def test_a_stream_has_the_same_content_as_the_plain_response(asked):
    whole, events = plain(asked, "tokens=9, reasoning-tokens=4"), stream(asked, "tokens=9, reasoning-tokens=4")
    pieces = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    for block in whole["content"]:
        made = "".join(
            piece.get("text", "") + piece.get("partial_json", "")
            for piece in pieces
            if piece["type"] != "thinking_delta"
        )
        if block["type"] == "text":
            assert made == block["text"]
        if block["type"] == "tool_use":
            assert json.loads(made) == block["input"]
    assert events[-2]["delta"]["stop_reason"] == whole["stop_reason"]
    assert events[-2]["usage"].items() <= whole["usage"].items()


def test_usage_counts_cached_tokens_apart_from_the_input_and_thinking_within_the_output():
    usage = plain(ASK, "input-tokens=100, cached-tokens=60, tokens=30, reasoning-tokens=10")["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (40, 60, 30)
    assert usage["output_tokens_details"] == {"thinking_tokens": 10}


def test_a_tool_is_called_when_the_prompt_says_so():
    message = plain(ASK_TOOL)
    assert message["stop_reason"] == "tool_use"
    assert message["content"][0]["name"] == "weather"
    assert message["content"][0]["input"] == {"city": "simulated"}


def test_a_response_ends_at_max_tokens():
    message = plain(ASK | {"max_tokens": 2})
    assert (message["stop_reason"], message["usage"]["output_tokens"]) == ("max_tokens", 2)
    assert stream(ASK | {"max_tokens": 2})[-2]["delta"]["stop_reason"] == "max_tokens"


def test_the_last_event_can_be_left_out():
    assert stream(ASK, "no-done")[-1]["type"] == "message_delta"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "model: Field required"),
        ({"model": "m"}, "max_tokens: Field required"),
        ({"model": "m", "max_tokens": 1}, "messages: Field required"),
        ({"model": "m", "max_tokens": 0, "messages": []}, "max_tokens: Input should be greater than or equal to 1"),
        ({"model": "m", "max_tokens": 1, "messages": []}, "messages: at least one message is required"),
        (ASK | {"messages": [{"role": "system", "content": ""}]}, "messages.0.role: Input should be"),
        (ASK | {"stream_options": {}}, "stream_options: Extra inputs are not permitted"),
    ],
)
def test_a_request_that_lacks_something_is_refused_in_the_words_of_the_provider(body, sentence):
    with pytest.raises(BadRequest, match=sentence):
        ask(body)


def test_the_version_header_is_required():
    with pytest.raises(BadRequest, match="anthropic-version"):
        respond(request("POST", "/v1/messages", ASK), parse_behaviour(""), State())


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/messages/other", "/v1/models/claude-unknown"])
def test_unknown_paths_and_models_are_404(path):
    with pytest.raises(BadRequest) as refused:
        ask(None, method="GET", path=path)
    assert refused.value.status == 404


@pytest.mark.parametrize(
    ("headers", "sentence"),
    [
        ({"x-api-key": "good"}, None),
        ({"Authorization": "Bearer good"}, None),
        ({}, "x-api-key header is required"),
        ({"Authorization": "Basic good"}, "x-api-key header is required"),
        ({"x-api-key": "bad"}, "invalid x-api-key"),
        ({"Authorization": "Bearer bad"}, "Invalid bearer token"),
        ({"x-api-key": "sk-ant-oat01-x"}, "invalid x-api-key"),
        ({"Authorization": "Bearer sk-ant-oat01-x"}, "OAuth authentication is currently not supported."),
    ],
)
def test_the_key_is_checked(headers, sentence):
    assert check_credentials(request("POST", "/v1/messages", ASK, headers), {"good"}) == sentence


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, "authentication_error"), (429, "rate_limit_error"), (500, "api_error"), (529, "overloaded_error")],
)
def test_failures_have_the_shape_of_the_provider(status, kind):
    failed = failure(status, "No.", parse_behaviour(""))
    error = json.loads(failed.body)
    assert (failed.status, error["type"], error["error"]) == (status, "error", {"type": kind, "message": "No."})


def test_a_failure_inside_a_stream_is_an_error_event():
    assert ask(ASK | {"stream": True}).error_piece.startswith(b"event: error\ndata: {")


def test_tokens_are_counted_without_a_response():
    body = {"model": "claude-sonnet-4-5", "messages": ASK["messages"]}
    assert plain(body, "input-tokens=12", path="/v1/messages/count_tokens") == {"input_tokens": 12}


def test_a_batch_is_created_read_and_deleted():
    state = State()
    made = plain({"requests": [{"custom_id": "a", "params": ASK}]}, path="/v1/messages/batches", state=state)
    batch = MessageBatch.model_validate(made)
    path = f"/v1/messages/batches/{batch.id}"
    assert plain(None, path=path, method="GET", state=state) == made
    assert batch.results_url == f"https://localhost{path}/results"
    line = plain(None, path=f"{path}/results", method="GET", state=state)
    assert line["custom_id"] == "a"
    assert line["result"]["message"]["content"][0]["text"] == TEXT
    assert plain(None, path="/v1/messages/batches", method="GET", state=state)["data"] == [made]
    plain(None, path=path, method="DELETE", state=state)
    with pytest.raises(BadRequest):
        plain(None, path=path, method="GET", state=state)


def test_a_file_is_stored_and_returned():
    state, edge = State(), "edge"
    content = b"%PDF \r\n\x00\xff"
    body = (
        b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.pdf"\r\n'
        b"Content-Type: application/pdf\r\n\r\n" + content + b"\r\n--edge--\r\n"
    )
    headers = VERSION | {"content-type": f"multipart/form-data; boundary={edge}"}
    made = json.loads(respond(request("POST", "/v1/files", body, headers), parse_behaviour(""), state).body)
    assert (made["filename"], made["size_bytes"]) == ("a.pdf", len(content))
    assert ask(None, path=f"/v1/files/{made['id']}/content", method="GET", state=state).body == content


def test_models_are_listed_and_shown():
    listed = plain(None, path="/v1/models", method="GET")
    assert plain(None, path=f"/v1/models/{listed['first_id']}", method="GET") == listed["data"][0]
