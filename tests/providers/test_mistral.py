"""Mistral's requests and responses: the members that OpenAI's format lacks, and those that Mistral refuses."""

import json

import pytest

from wirekey.core.errors import Fault, Refusal
from wirekey.core.operation import Facts
from wirekey.providers.registry import PROVIDERS, owner_of_model
from wirekey.providers.request_edits import RequestEdits

MISTRAL = PROVIDERS["mistral"]
JSON = "application/json"
CHAT, FIM, TALK = "/v1/chat/completions", "/v1/fim/completions", "/v1/conversations"
USER = [{"role": "user", "content": "hi"}]


def operation(path):
    return MISTRAL.operations.match_operation("POST", path, {})


def facts(path, body):
    return MISTRAL.operations.read_request(operation(path), {}, JSON, json.dumps(body).encode())


def edited(path, body, **edits):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return MISTRAL.operations.edit_request(operation(path), path.encode(), JSON, raw, RequestEdits(**edits))


def received(body, path=CHAT, model="mistral-large-latest"):
    called = PROVIDERS["openai"].operations.match_operation("POST", path, {})
    target, changed = MISTRAL.formats.rewriting.receive(
        called, path.encode(), json.dumps(body).encode(), "", model, stream=False
    )
    assert target == path.encode()
    return json.loads(changed)


def test_a_chat_is_read_as_openais_and_its_stream_always_has_the_counts():
    found = facts(CHAT, {"model": "m", "messages": USER, "stream": True, "max_tokens": 5, "safe_prompt": True, "n": 2})
    assert (found.model, found.stream, found.message_count, found.max_tokens, found.choices) == ("m", True, 1, 5, 2)
    assert found.asks_usage


@pytest.mark.parametrize(
    ("kind", "reads_elsewhere", "paid"),
    [
        ("document_library", True, True),
        ("connector", True, False),
        ("web_search", True, True),
        ("function", False, False),
    ],
)
def test_tools_that_mistral_runs_itself(kind, reads_elsewhere, paid):
    found = facts(CHAT, {"model": "m", "messages": USER, "tools": [{"type": kind, "function": {"name": "f"}}]})
    assert (found.reads_elsewhere, bool(found.paid_tools)) == (reads_elsewhere, paid)


def test_a_completion_in_a_text_has_one_message():
    found = facts(FIM, {"model": "codestral-latest", "prompt": "def f", "suffix": "return", "max_tokens": 9})
    assert (found.model, found.message_count, found.max_tokens) == ("codestral-latest", 1, 9)


def test_a_conversation_has_its_limit_in_the_arguments():
    body = {"model": "m", "inputs": "hi", "instructions": "x", "completion_args": {"max_tokens": 7}}
    found = facts(TALK, body)
    assert (found.model, found.has_system, found.max_tokens, found.reads_elsewhere) == ("m", True, 7, True)
    assert json.loads(edited(TALK, body, max_tokens=3).body)["completion_args"] == {"max_tokens": 3}


@pytest.mark.parametrize("path", [CHAT, FIM])
def test_a_cap_is_set_in_max_tokens(path):
    body = {"model": "m", "messages": USER, "prompt": "x"}
    assert json.loads(edited(path, body, max_tokens=3).body)["max_tokens"] == 3
    assert edited(path, {**body, "max_tokens": 2}, max_tokens=3).body == json.dumps({**body, "max_tokens": 2}).encode()


def test_a_batch_and_a_workflow_cannot_be_capped_and_a_batch_gets_no_other_model():
    for path in ("/v1/batch/jobs", "/v1/workflows/w/execute"):
        with pytest.raises(Refusal, match="cannot cap"):
            edited(path, {"model": "m"}, max_tokens=3)
    with pytest.raises(Refusal, match="batch"):
        edited("/v1/batch/jobs", {"model": "m"}, model="other")


def test_the_seed_of_a_models_name_has_mistrals_name_and_no_other_byte_changes():
    body = b'{ "model":"a",  "messages":[{"role":"user","content":"hi"}], "prefix_of_tomorrow":1 }'
    found = edited(CHAT, body, model="b", parameters=(("seed", 5),))
    assert found.body == b'{"random_seed":5, "model":"b",  "messages"' + body.partition(b'"messages"')[2]


def test_token_counts_are_never_asked_for():
    found = edited(CHAT, {"model": "m", "messages": USER, "stream": True}, include_usage=True)
    assert (b"stream_options" in found.body, found.usage_requested) == (False, False)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"max_completion_tokens": 5, "seed": 1}, {"max_tokens": 5, "random_seed": 1}),
        ({"max_completion_tokens": None}, {}),
        ({"max_completion_tokens": 5, "max_tokens": 3}, {"max_tokens": 3}),
        ({"stream": True, "stream_options": {"include_usage": True}}, {"stream": True}),
        ({"store": False, "user": "u", "logit_bias": {}}, {}),
        ({"logit_bias": {"5": 1}}, {"logit_bias": {"5": 1}}),
        ({"verbosity": "low"}, {"verbosity": "low"}),
        ({"safe_prompt": True, "random_seed": 4}, {"safe_prompt": True, "random_seed": 4}),
    ],
)
def test_a_chat_of_openais_format_becomes_what_mistral_reads(given, expected):
    """Members that change the response stay, so that Mistral's error names them."""
    assert received({"model": "x", "messages": USER, **given}) == {
        "model": "mistral-large-latest",
        "messages": USER,
        **expected,
    }


def test_messages_that_openais_sdk_sends_back_are_accepted():
    call = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "developer", "content": "x"},
        *USER,
        {
            "role": "assistant",
            "content": None,
            "refusal": None,
            "annotations": [],
            "tool_calls": [{"id": "call_1", **call}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "1"},
    ]
    system, user, assistant, tool = received({"messages": messages})["messages"]
    assert (system["role"], user) == ("system", USER[0])
    assert assistant == {"role": "assistant", "content": None, "tool_calls": [{"id": tool["tool_call_id"], **call}]}
    assert len(tool["tool_call_id"]) == 9
    assert tool["tool_call_id"].isalnum()


def test_an_id_of_mistrals_form_stays():
    messages = [*USER, {"role": "tool", "tool_call_id": "aB3dE6gH9", "content": "1"}]
    assert received({"messages": messages})["messages"][1]["tool_call_id"] == "aB3dE6gH9"


def test_vectors_of_openais_format():
    given = {"model": "x", "input": "a", "dimensions": 8, "user": "u", "encoding_format": "base64"}
    expected = {"model": "mistral-embed", "input": "a", "output_dimension": 8, "encoding_format": "base64"}
    assert received(given, "/v1/embeddings", "mistral-embed") == expected


def read(path, content_type, data, **more):
    reader = MISTRAL.operations.response_reader(operation(path), Facts(**more), 200, content_type)
    reader.feed(data)
    reader.end()
    return reader


def test_thoughts_in_the_content_and_the_tier_of_service_are_read():
    content = [{"type": "thinking", "thinking": [{"type": "text", "text": '"usage"'}]}, {"type": "text", "text": "x"}]
    choice = {"index": 0, "message": {"content": content}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "service_tier": "priority"}
    found = read(CHAT, JSON, json.dumps({"model": "m", "choices": [choice], "usage": usage}).encode()).usage
    assert (found.input_tokens, found.output_tokens, found.finish_reason) == (5, 3, "stop")
    assert found.modifiers == (("service_tier", "priority"),)


@pytest.mark.parametrize("path", [CHAT, FIM])
def test_the_last_chunk_of_a_stream_has_the_counts(path):
    first = b'data: {"model":"m","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n'
    last = (
        b'data: {"model":"m","choices":[{"index":0,"delta":{"content":""},"finish_reason":"length"}],'
        b'"usage":{"prompt_tokens":5,"completion_tokens":3}}\n\ndata: [DONE]\n\n'
    )
    reader = read(path, "text/event-stream", first + last, stream=True)
    assert (reader.usage.input_tokens, reader.usage.output_tokens, reader.finished) == (5, 3, True)


def test_an_error_in_a_stream_is_found():
    data = b'data: {"object":"error","message":"m","type":"internal_server_error","code":"1000"}\n\n'
    assert read(CHAT, "text/event-stream", data, stream=True).error_type == "internal_server_error"


def test_errors_of_wirekey_have_mistrals_form():
    refusal = Refusal(429, "rate_limit", "Slow down.", Fault.CALLER, retry_after=3)
    body, headers = MISTRAL.operations.error_response(refusal, "id-1")
    assert json.loads(body) == {
        "object": "error",
        "message": "Slow down.",
        "type": "rate_limited",
        "param": None,
        "code": "rate_limit",
    }
    assert headers["retry-after"] == "3"
    assert MISTRAL.operations.stream_error(refusal, operation(CHAT), "text/event-stream").endswith(body + b"\n\n")
    assert MISTRAL.operations.stream_error(refusal, operation(CHAT), JSON) == b""


@pytest.mark.parametrize(
    ("model", "owner"),
    [
        ("mistral-large-latest", "mistral"),
        ("open-mixtral-8x22b", "mistral"),
        ("labs-devstral-small-2512", "mistral"),
        ("ft:open-mistral-7b:x", "mistral"),
        ("magistral-medium-latest", "mistral"),
        ("mistral.mistral-large-2402-v1:0", "openai"),
        ("mistralite", "openai"),
        ("gpt-4o", "openai"),
    ],
)
def test_the_models_of_mistral_are_known_by_name(model, owner):
    assert owner_of_model(model) == owner
