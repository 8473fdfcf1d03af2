"""Anthropic: recognition, facts of requests, usage of responses, and errors."""

import json
from itertools import pairwise

import anthropic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirekey.core.body import Body
from wirekey.core.errors import Fault, Refusal
from wirekey.core.operation import Facts, Kind, Usage
from wirekey.providers.registry import PROVIDERS

ANTHROPIC = PROVIDERS["anthropic"]
JSON = "application/json"
SSE = "text/event-stream; charset=utf-8"
MESSAGES = "/v1/messages"
BATCHES = "/v1/messages/batches"

OPERATIONS = [
    ("POST /v1/messages", "messages", Body.JSON, Kind.INFERENCE, None),
    ("POST /v1/messages/count_tokens", "messages.count_tokens", Body.JSON, Kind.INFERENCE, None),
    ("POST /v1/messages/batches", "messages.batches.create", Body.JSON, Kind.STORAGE, None),
    ("GET /v1/messages/batches", "messages.batches.list", Body.NONE, Kind.STORAGE, None),
    ("GET /v1/messages/batches/msgbatch_1", "messages.batches.get", Body.NONE, Kind.STORAGE, None),
    ("DELETE /v1/messages/batches/msgbatch_1", "messages.batches.delete", Body.NONE, Kind.STORAGE, None),
    ("POST /v1/messages/batches/msgbatch_1/cancel", "messages.batches.cancel", Body.NONE, Kind.STORAGE, None),
    ("GET /v1/messages/batches/msgbatch_1/results", "messages.batches.results", Body.NONE, Kind.STORAGE, None),
    ("GET /v1/models", "models.list", Body.NONE, Kind.LISTING, None),
    ("GET /v1/models/claude-sonnet-4-5", "models.get", Body.NONE, Kind.LISTING, "claude-sonnet-4-5"),
    ("POST /v1/files", "files.create", Body.OPAQUE, Kind.STORAGE, None),
    ("GET /v1/files/file_1/content", "files.content", Body.NONE, Kind.STORAGE, None),
    ("DELETE /v1/files/file_1", "files.delete", Body.NONE, Kind.STORAGE, None),
]


@pytest.mark.parametrize(("request_line", "name", "body", "kind", "model"), OPERATIONS)
def test_operations_are_found_by_method_and_path(request_line, name, body, kind, model):
    found = ANTHROPIC.operations.match_operation(*request_line.split(" "), {})
    assert found
    assert (found.name, found.body, found.kind, found.model) == (name, body, kind, model)


@pytest.mark.parametrize(
    "request_line",
    [
        "HEAD /v1/models",
        "OPTIONS /v1/messages",
        "TRACE /v1/messages",
        "POST /v1/messages/",
        "POST /v1//messages",
        "POST /v1/./messages",
        "POST /v1/x/../messages",
        "POST /v1/messages%2fbatches",
        "POST /v1/%6dessages",
        "POST /v1/messages;x",
        "GET /v1/models/..",
        "GET /v1/models/%2e%2e",
        "GET /v1/files/a\\b",
    ],
)
def test_an_unknown_or_oddly_spelled_operation_is_not_found(request_line):
    assert ANTHROPIC.operations.match_operation(*request_line.split(" "), {}) is None


def facts_of(path, body, content_type=JSON):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ANTHROPIC.operations.read_request(
        ANTHROPIC.operations.match_operation("POST", path, {}), {}, content_type, data
    )


USER = {"role": "user", "content": "hi"}
WEATHER = {"name": "get_weather", "input_schema": {"type": "object", "properties": {"name": {"type": "string"}}}}
ADVISOR = {"type": "advisor_20260301", "name": "advisor", "model": "large"}
ADDITION = {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": ADVISOR}}


def batch(*params):
    return {"requests": [{"custom_id": str(i), "params": params} for i, params in enumerate(params)]}


REQUESTS = [
    (
        MESSAGES,
        {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [USER]},
        Facts("claude-sonnet-4-5", False, 1, False, False, 0, 9),
    ),
    (
        MESSAGES,
        {
            "model": "claude-sonnet-4-5",
            "max_tokens": 9,
            "stream": True,
            "system": [{"type": "text", "text": "be kind"}],
            "messages": [USER, {"role": "assistant", "content": [{"type": "text", "text": "system"}]}],
            "tools": [WEATHER, {"type": "web_search_20250305", "name": "web_search"}, {"type": "toolset_1"}],
        },
        Facts(
            *("claude-sonnet-4-5", True, 2, True, True, 3, 9, ("get_weather", "web_search", "toolset_1")),
            reads_elsewhere=True,
            paid_tools=(("web_search", None),),
        ),
    ),
    (
        MESSAGES,
        {"model": "m", "max_tokens": 1, "system": "", "messages": [{"role": "system", "content": "x"}, USER]},
        Facts("m", False, 2, True, False, 0, 1),
    ),
    (
        "/v1/messages/count_tokens",
        {"model": "m", "system": "x", "messages": [USER]},
        Facts("m", False, 1, True, False, 0),
    ),
    (
        BATCHES,
        batch(
            {"model": "m", "max_tokens": 1, "messages": [USER], "tools": [WEATHER]},
            {"model": "m", "max_tokens": 5, "messages": [USER, USER], "tools": [WEATHER], "system": "x"},
        ),
        Facts("m", False, 3, True, True, 1, 5, ("get_weather",)),
    ),
    (BATCHES, {"requests": []}, Facts(None, False, 0, False, False, 0)),
    (
        MESSAGES,
        {
            "model": "m",
            "max_tokens": 5,
            "fallbacks": [{"model": "n", "max_tokens": 70}, {"model": "m"}, {"model": "o"}],
            "tools": [ADVISOR, WEATHER],
        },
        Facts("m", False, None, False, True, 2, 70, ("advisor", "get_weather"), ("n", "o", "large")),
    ),
    (
        MESSAGES,
        {"model": "m", "fallbacks": "default"},
        Facts("m", False, None, False, False, 0, other_models=("default",)),
    ),
    (
        MESSAGES,
        {"model": "m", "messages": [USER, {"role": "user", "content": [{"type": "text", "text": "x"}, ADDITION]}]},
        Facts("m", False, 2, False, True, 1, None, ("advisor",), ("large",)),
    ),
    (
        BATCHES,
        batch({"model": "m", "fallbacks": [{"model": "n"}]}, {"model": "m", "fallbacks": [{"model": "o"}]}),
        Facts("m", False, 0, False, False, 0, None, (), ("n", "o")),
    ),
]


@pytest.mark.parametrize(("path", "body", "facts"), REQUESTS)
def test_the_facts_of_a_request_are_read(path, body, facts):
    assert facts_of(path, body) == facts


def test_a_tool_defined_in_a_message_is_found_in_any_escaping():
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": [ADDITION]}]})
    escaped = body.replace("tool_definition", "\\u0074ool_definition").replace("tool_addition", "tool\\u005faddition")
    assert facts_of(MESSAGES, escaped.encode()) == facts_of(MESSAGES, body.encode())
    assert facts_of(MESSAGES, escaped.encode()).other_models == ("large",)


@pytest.mark.parametrize(
    ("path", "body", "word"),
    [
        (MESSAGES, b'{"model":"a","model":"b"}', "twice"),
        (MESSAGES, b'{"model":"a","mod\\u0065l":"b"}', "twice"),
        (MESSAGES, b'{"model":"a","Model":"b"}', "spelled"),
        (MESSAGES, b'{"model":"a","tools":[{"name":"x","name":"y"}]}', "twice"),
        (MESSAGES, b'{"model":"a","messages":[{"role":"user","role":"system"}]}', "twice"),
        (MESSAGES, b'{"model":["a"]}', "model must be a string"),
        (MESSAGES, b'{"stream":1}', "stream must be true or false"),
        (MESSAGES, b'{"max_tokens":"9"}', "max_tokens must be a whole number"),
        (MESSAGES, b'{"model":"a","fallbacks":[{"model":7}]}', r"fallbacks\[0\].model must be a string"),
        (MESSAGES, b'{"model":"a","fallbacks":[7]}', r"fallbacks\[0\] must be a JSON object"),
        (MESSAGES, b'{"model":"a","fallbacks":{"model":"b"}}', "fallbacks must be an array"),
        (MESSAGES, b'{"model":"a","Fallbacks":[]}', "spelled"),
        (MESSAGES, b'{"tools":[{"name":"advisor","model":"a\\nb"}]}', r"tools\[0\].model must be a name"),
        (MESSAGES, json.dumps({"fallbacks": [{"model": f"m{n}"} for n in range(33)]}).encode(), "more than 32 items"),
        # Without the limit of items, a body of 300 KB took a second of the loop that serves everyone.
        (MESSAGES, json.dumps({"fallbacks": [{}] * 33}).encode(), "more than 32 items"),
        (MESSAGES, b'{"tools":["x"]}', r"tools\[0\] must be a JSON object"),
        (BATCHES, json.dumps(batch({"model": "a"}, {"model": "b"})).encode(), "different models"),
        (BATCHES, json.dumps(batch({"model": "a"}, {})).encode(), "different models"),
        (BATCHES, b'{"requests":[{"custom_id":"x"}]}', "no params"),
        (BATCHES, b'{"requests":[{"params":{"model":"a","model":"b"}}]}', "twice"),
        (BATCHES, b'{"requests":[{"params":{"model":"a"},"params":{"model":"b"}}]}', "twice"),
        (BATCHES, b'{"requests":[{"params":{"model":"a"}}],"requests":[]}', "twice"),
        (BATCHES, b'{"requests":[{"params":{"model":"a"},"Params":{"model":"b"}}]}', "spelled"),
    ],
)
def test_an_ambiguous_request_is_refused(path, body, word):
    with pytest.raises(Refusal, match=word) as refused:
        facts_of(path, body)
    assert refused.value.status == 400


def event(kind, **members):
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **members}).encode())


START = event(
    "message_start",
    message={
        "id": "msg_1",
        "type": "message",
        "model": "claude-sonnet-4-5-20250929",
        "content": [],
        "stop_reason": None,
        "usage": {
            "input_tokens": 25,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 4,
            "output_tokens": 1,
        },
    },
)
BLOCK = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
TEXT = event("content_block_delta", index=0, delta={"type": "text_delta", "text": '"type":"error" é'})
PING = event("ping")
DELTA = event(
    "message_delta",
    delta={"stop_reason": "end_turn", "stop_sequence": None},
    usage={"output_tokens": 15, "output_tokens_details": {"thinking_tokens": 3}},
)
LATE = event(
    "message_delta",
    delta={"stop_reason": "tool_use"},
    usage={"input_tokens": 30, "cache_read_input_tokens": None, "output_tokens": 15},
)
STOP = event("message_stop")
WRONG = event("message_delta", usage=[])
ERROR = event("error", error={"type": "overloaded_error", "message": "Overloaded"})
MODEL = "claude-sonnet-4-5-20250929"
WHOLE = Usage(25, 15, 4, 3, "end_turn", MODEL)
BEGUN = Usage(25, 1, 4, model=MODEL)

STREAMS = {
    "whole": (START + BLOCK + PING + TEXT + DELTA + STOP, WHOLE, True, None),
    "counts said anew": (START + LATE + STOP, Usage(30, 15, 4, None, "tool_use", MODEL), True, None),
    "cut off": (START + BLOCK + TEXT + TEXT, BEGUN, False, None),
    "cut before the stop": (START + TEXT + DELTA, WHOLE, False, None),
    "cut in an event": (START + TEXT + DELTA[:-30], BEGUN, False, None),
    "no last blank line": (START + DELTA + STOP[:-2], WHOLE, True, None),
    "CRLF": ((START + TEXT + DELTA + STOP).replace(b"\n", b"\r\n"), WHOLE, True, None),
    "CR": ((START + TEXT + DELTA + STOP).replace(b"\n", b"\r"), WHOLE, True, None),
    "mixed line ends": (START.replace(b"\n", b"\r\n") + TEXT + DELTA.replace(b"\n", b"\r") + STOP, WHOLE, True, None),
    "no space": ((START + TEXT + DELTA + STOP).replace(b": ", b":"), WHOLE, True, None),
    "comments": (b": hi\n\n" + START + b":\n:\n\n" + DELTA + b": x\n" + STOP, WHOLE, True, None),
    "byte order mark": (b"\xef\xbb\xbf" + START + DELTA + STOP, WHOLE, True, None),
    "malformed between": (START + b'data: {"type":"message_delta","usage":{\n\n' + DELTA + STOP, WHOLE, True, None),
    "wrong types": (START + event("message_delta", delta=1, usage="x") + DELTA + STOP, WHOLE, True, None),
    "error": (START + TEXT + ERROR, BEGUN, False, "overloaded_error"),
    "error without type": (event("error"), Usage(), False, "error"),
    "empty": (b"", Usage(), False, None),
}


def read(chunks, content_type=SSE):
    reader = ANTHROPIC.operations.response_reader(
        ANTHROPIC.operations.match_operation("POST", MESSAGES, {}), Facts(), 200, content_type, headers={}
    )
    for chunk in chunks:
        reader.feed(chunk)
    reader.end()
    return reader.usage, reader.finished, reader.error_type


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1 << 20])
@pytest.mark.parametrize("name", STREAMS)
def test_usage_reason_and_end_of_a_stream_are_read_in_pieces_of_any_size(name, size):
    data, *told = STREAMS[name]
    assert read([data[i : i + size] for i in range(0, len(data), size)]) == tuple(told)


@given(st.sampled_from(sorted(STREAMS)), st.lists(st.integers(0, 1500), max_size=8))
def test_a_stream_reads_the_same_in_any_chunking(name, cuts):
    data, *told = STREAMS[name]
    assert read([data[a:b] for a, b in pairwise([0, *sorted(cuts), len(data)])]) == tuple(told)


@given(
    st.lists(
        st.binary(max_size=40)
        | st.sampled_from(
            [START, TEXT, DELTA, STOP, ERROR, b"\r", b"\n\n", b'data:{"type":"message_delta","usage":[]}']
        ),
        max_size=12,
    ),
    st.sampled_from([SSE, JSON]),
)
def test_rubbish_never_raises_and_reads_the_same_in_any_chunking(pieces, content_type):
    whole = b"".join(pieces)
    assert read(pieces, content_type) == read([whole], content_type)
    assert read([whole[i : i + 1] for i in range(len(whole))], content_type) == read([whole], content_type)


RESPONSE = (
    b'{"id":"msg_1","type":"message","model":"claude-sonnet-4-5-20250929","content":[{"type":"text","text":"%b"}],'
    b'"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":25,"cache_read_input_tokens":4,'
    b'"output_tokens":15,"output_tokens_details":{"thinking_tokens":3}}}'
)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (RESPONSE % b"hi", (WHOLE, True, None)),
        (RESPONSE % (b'\\"usage\\":{' * 200_000), (WHOLE, True, None)),
        (RESPONSE.replace(b":25,", b':"x",') % b"hi", (Usage(finish_reason="end_turn", model=MODEL), True, None)),
        (b'{"type":"error","error":{"type":"not_found_error"}}', (Usage(), True, "not_found_error")),
        (b"oops", (Usage(), False, None)),
        (b"[]", (Usage(), True, None)),
    ],
)
def test_the_usage_of_a_json_response_is_read_and_long_responses_are_not_held(data, told):
    assert read([data], JSON) == told
    assert read([data[i : i + 50_000] for i in range(0, len(data), 50_000)], JSON) == told


@pytest.mark.parametrize(
    "request_line", ["GET /v1/models", "POST /v1/messages/count_tokens", "GET /v1/messages/batches/b/results"]
)
def test_operations_without_tokens_have_no_reader(request_line):
    assert (
        ANTHROPIC.operations.response_reader(
            ANTHROPIC.operations.match_operation(*request_line.split(), {}), Facts(), 200, JSON
        )
        is None
    )


REFUSAL = Refusal(429, "rate_limited", "Wait a little.", retry_after=7)
CALL = {"model": "m", "max_tokens": 1, "messages": [USER]}


# The SDK's own choice of HTTP library differs between its versions.
httpx = getattr(anthropic._base_client, "httpx", None) or anthropic._base_client.httpx2


def client(handler):
    return anthropic.Anthropic(api_key="x", http_client=httpx.Client(transport=httpx.MockTransport(handler)))


def responding(status, body, headers):
    return client(lambda _: httpx.Response(status, content=body, headers=headers))


def sent_by(call):
    """Make a call with the SDK; return how Wirekey reads its request."""
    caught = []

    def catch(request):
        request.read()
        operation = ANTHROPIC.operations.match_operation(
            request.method, request.url.raw_path.decode().partition("?")[0], request.headers
        )
        content_type = request.headers.get("content-type", "")
        reads = operation and operation.body is Body.JSON
        facts = ANTHROPIC.operations.read_request(operation, {}, content_type, request.content) if reads else None
        caught.append((operation and operation.name, facts))
        return httpx.Response(400, json={"type": "error", "error": {"type": "x", "message": "enough"}})

    with pytest.raises(anthropic.BadRequestError):
        call(client(catch))
    return caught[0]


CALLS = {
    "message": (lambda c: c.messages.create(**CALL), ("messages", Facts("m", False, 1, False, False, 0, 1))),
    "stream": (
        lambda c: c.messages.stream(**CALL, system="hä", tools=[WEATHER]).__enter__(),
        ("messages", Facts("m", True, 1, True, True, 1, 1, ("get_weather",))),
    ),
    "beta message": (
        lambda c: c.beta.messages.create(**CALL, betas=["x"]),
        ("messages", Facts("m", False, 1, False, False, 0, 1)),
    ),
    "count": (
        lambda c: c.messages.count_tokens(model="m", messages=[USER]),
        ("messages.count_tokens", Facts("m", False, 1, False, False, 0)),
    ),
    "batch": (
        lambda c: c.messages.batches.create(requests=batch(CALL, CALL)["requests"]),
        ("messages.batches.create", Facts("m", False, 2, False, False, 0, 1)),
    ),
    "cancelled batch": (lambda c: c.messages.batches.cancel("msgbatch_1"), ("messages.batches.cancel", None)),
    "models": (lambda c: c.models.list(limit=3), ("models.list", None)),
    "model": (lambda c: c.models.retrieve("claude-sonnet-4-5"), ("models.get", None)),
    "file": (lambda c: c.beta.files.upload(file=("a.txt", b"x", "text/plain")), ("files.create", None)),
    "file content": (lambda c: c.beta.files.download("file_1"), ("files.content", None)),
}


@pytest.mark.parametrize("name", CALLS)
def test_requests_of_the_sdk_are_recognised(name):
    call, understood = CALLS[name]
    assert sent_by(call) == understood


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, anthropic.BadRequestError),
        (401, anthropic.AuthenticationError),
        (403, anthropic.PermissionDeniedError),
        (404, anthropic.NotFoundError),
        (413, anthropic.APIStatusError),
        (429, anthropic.RateLimitError),
        (503, anthropic.InternalServerError),
        (504, anthropic.InternalServerError),
    ],
)
def test_the_sdk_raises_its_own_exception_with_wirekeys_message(status, kind):
    body, headers = ANTHROPIC.operations.error_response(
        Refusal(status, "some_code", "What to do.", Fault.OPERATOR), "id-1"
    )
    with pytest.raises(kind, match="What to do") as raised:
        responding(status, body, headers).messages.create(**CALL)
    assert raised.value.request_id == "id-1"
    assert raised.value.body["request_id"] == "id-1"


def test_an_error_has_a_retry_after():
    assert ANTHROPIC.operations.error_response(REFUSAL, "id-1")[1]["retry-after"] == "7"


@pytest.mark.parametrize("sent", [b"", START + BLOCK + TEXT, (START + TEXT).replace(b"\n", b"\r\n"), b": comment\n"])
def test_the_sdk_raises_at_an_error_appended_to_a_stream(sent):
    appended = ANTHROPIC.operations.stream_error(
        REFUSAL, ANTHROPIC.operations.match_operation("POST", MESSAGES, {}), SSE
    )
    stream = responding(200, sent + appended, {"content-type": SSE}).messages.create(**CALL, stream=True)
    with pytest.raises(anthropic.APIStatusError, match="Wait a little"):
        list(stream)


def test_nothing_can_be_appended_to_json():
    assert (
        ANTHROPIC.operations.stream_error(REFUSAL, ANTHROPIC.operations.match_operation("POST", MESSAGES, {}), JSON)
        == b""
    )


def test_the_key_is_set_in_its_own_header():
    assert ANTHROPIC.credentials.header("sk-ant-1", "/v1/messages") == ("x-api-key", "sk-ant-1")


def test_cache_write_tokens_of_a_message_are_counted():
    start = START.replace(b'"cache_creation_input_tokens": 0', b'"cache_creation_input_tokens": 900')
    operation = ANTHROPIC.operations.match_operation("POST", MESSAGES, {})
    reader = ANTHROPIC.operations.response_reader(operation, Facts(stream=True), 200, "text/event-stream")
    for piece in (start, BLOCK, TEXT, DELTA):
        reader.feed(piece)
    assert reader.usage.cache_write_tokens == 900
