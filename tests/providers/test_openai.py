"""OpenAI: recognition, facts of requests, usage of responses, and errors."""

import json
from itertools import pairwise

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirekey.core.body import Body
from wirekey.core.errors import Fault, Refusal
from wirekey.core.operation import Facts, Kind, Usage
from wirekey.providers.registry import PROVIDERS

OPENAI = PROVIDERS["openai"]
JSON = "application/json"
SSE = "text/event-stream; charset=utf-8"

OPERATIONS = [
    ("POST /v1/chat/completions", "chat.completions", Body.JSON, Kind.INFERENCE, None),
    ("GET /v1/chat/completions/chatcmpl-1/messages", "chat.completions.messages", Body.NONE, Kind.STORAGE, None),
    ("POST /v1/responses", "responses", Body.JSON, Kind.INFERENCE, None),
    ("GET /v1/responses/resp_1", "responses.get", Body.NONE, Kind.STORAGE, None),
    ("POST /v1/responses/resp_1/cancel", "responses.cancel", Body.NONE, Kind.STORAGE, None),
    ("POST /v1/responses/input_tokens", "responses.input_tokens", Body.JSON, Kind.INFERENCE, None),
    ("POST /v1/completions", "completions", Body.JSON, Kind.INFERENCE, None),
    ("POST /v1/embeddings", "embeddings", Body.JSON, Kind.INFERENCE, None),
    ("POST /v1/images/generations", "images.generations", Body.JSON, Kind.INFERENCE, None),
    ("POST /v1/images/variations", "images.variations", Body.MULTIPART, Kind.INFERENCE, None),
    ("POST /v1/audio/speech", "audio.speech", Body.JSON, Kind.INFERENCE, None),
    ("POST /v1/audio/transcriptions", "audio.transcriptions", Body.MULTIPART, Kind.INFERENCE, None),
    ("POST /v1/audio/translations", "audio.translations", Body.MULTIPART, Kind.INFERENCE, None),
    ("POST /v1/moderations", "moderations", Body.JSON, Kind.INFERENCE, None),
    ("GET /v1/models", "models.list", Body.NONE, Kind.LISTING, None),
    ("GET /v1/models/gpt-4o", "models.get", Body.NONE, Kind.LISTING, "gpt-4o"),
    ("GET /v1/models/ft:gpt-4o:org::9abc", "models.get", Body.NONE, Kind.LISTING, "ft:gpt-4o:org::9abc"),
    ("POST /v1/files", "files.create", Body.OPAQUE, Kind.STORAGE, None),
    ("GET /v1/files/file-1/content", "files.content", Body.NONE, Kind.STORAGE, None),
    ("POST /v1/uploads/upload_1/parts", "uploads.parts", Body.OPAQUE, Kind.STORAGE, None),
    ("POST /v1/batches", "batches.create", Body.JSON, Kind.STORAGE, None),
]


@pytest.mark.parametrize(("request_line", "name", "body", "kind", "model"), OPERATIONS)
def test_operations_are_found_by_method_and_path(request_line, name, body, kind, model):
    found = OPENAI.operations.match_operation(*request_line.split(" "), {})
    assert found
    assert (found.name, found.body, found.kind, found.model) == (name, body, kind, model)


@pytest.mark.parametrize(
    "request_line",
    [
        "TRACE /v1/chat/completions",
        "HEAD /v1/models",
        "OPTIONS /v1/chat/completions",
        "post /v1/chat/completions",
        "POST /v1/chat/completions/",
        "POST //v1/chat/completions",
        "POST /v1//chat/completions",
        "POST /v1/./chat/completions",
        "POST /v1/files/../chat/completions",
        "POST /v1/chat%2fcompletions",
        "POST /v1/chat/%63ompletions",
        "POST /v1/chat/completions;x=1",
        "POST /v1\\chat\\completions",
        "POST /V1/chat/completions",
        "GET /v1/models/..",
        "GET /v1/models/.",
        "GET /v1/models/%2e%2e",
        "GET /v1/models/a%2Fb",
        "GET /v1/models/a\tb",
        "GET /v1/models/a\n",
        "GET /v1/models/" + "m" * 300,
        "POST https://api.openai.com/v1/chat/completions",
        "POST *",
    ],
)
def test_an_unknown_or_oddly_spelled_operation_is_not_found(request_line):
    method, _, path = request_line.partition(" ")
    assert OPENAI.operations.match_operation(method, path, {}) is None


@pytest.mark.parametrize(
    ("content_type", "body"),
    [("multipart/form-data; boundary=b", Body.MULTIPART), (JSON, Body.JSON), ("", Body.JSON)],
)
def test_an_image_edit_is_a_form_or_json(content_type, body):
    assert OPENAI.operations.match_operation("POST", "/v1/images/edits", {"content-type": content_type}).body is body


def facts_of(path, body, content_type=JSON):
    operation = OPENAI.operations.match_operation("POST", path, {"content-type": content_type})
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return OPENAI.operations.read_request(operation, {}, content_type, data)


CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
WEATHER = {"name": "get_weather", "parameters": {"type": "object", "properties": {"name": {"type": "string"}}}}
USER = {"role": "user", "content": "hi"}

REQUESTS = [
    (
        CHAT,
        {"model": "gpt-4o", "messages": [USER]},
        Facts("gpt-4o", message_count=1, has_system=False, has_tools=False, tool_count=0),
    ),
    (
        CHAT,
        {
            "model": "gpt-4o",
            "messages": [{"role": "system", "content": "x"}, USER],
            "stream": True,
            "max_completion_tokens": 7,
            "tools": [{"type": "function", "function": WEATHER}, {"type": "custom", "custom": {"name": "run"}}],
        },
        Facts("gpt-4o", True, 2, True, True, 2, 7, ("get_weather", "run"), asks_usage=False),
    ),
    (
        CHAT,
        {
            "model": "o3",
            "messages": [{"content": [{"type": "text", "text": "developer"}], "role": "user"}],
            "stream": True,
            "stream_options": {"include_usage": True},
            "functions": [WEATHER],
            "max_tokens": 5,
            "max_completion_tokens": 9,
        },
        Facts("o3", True, 1, False, True, 1, 9, ("get_weather",)),
    ),
    (
        CHAT,
        {"model": "o3", "messages": [{"role": "developer", "content": "x"}], "web_search_options": {"a": 1}},
        Facts(
            "o3",
            False,
            1,
            True,
            True,
            1,
            None,
            ("web_search",),
            reads_elsewhere=True,
            paid_tools=(("search_model", 1),),
        ),
    ),
    (
        CHAT,
        {"model": None, "messages": [], "stream": None, "tools": None, "max_tokens": None},
        Facts(None, message_count=0, has_system=False, has_tools=False, tool_count=0),
    ),
    (
        RESPONSES,
        {"model": "gpt-5", "input": "hi", "instructions": "be kind", "max_output_tokens": 99, "stream": True},
        Facts("gpt-5", True, 1, True, False, 0, 99),
    ),
    (
        RESPONSES,
        {
            "model": "gpt-5",
            "input": [USER, {"type": "message", "role": "system", "content": "x"}],
            "tools": [{"type": "function", **WEATHER}, {"type": "web_search"}],
        },
        Facts(
            *("gpt-5", False, 2, True, True, 2, None, ("get_weather", "web_search")),
            reads_elsewhere=True,
            paid_tools=(("web_search", None),),
        ),
    ),
    ("/v1/completions", {"model": "m", "prompt": "x", "max_tokens": 3}, Facts("m", message_count=1, max_tokens=3)),
    ("/v1/completions", {"model": "m", "prompt": ["x", "y"], "stream": True}, Facts("m", True, 2, asks_usage=False)),
    ("/v1/completions", {"model": "m", "prompt": [1, 2, 3]}, Facts("m", message_count=1)),
    ("/v1/completions", {"model": "m", "prompt": [[1], [2]]}, Facts("m", message_count=2)),
    ("/v1/embeddings", {"model": "text-embedding-3-small", "input": ["a"]}, Facts("text-embedding-3-small")),
    ("/v1/images/generations", {"model": "gpt-image-1", "stream": True}, Facts("gpt-image-1", stream=True)),
    ("/v1/audio/speech", {"model": "gpt-4o-mini-tts", "stream_format": "sse"}, Facts("gpt-4o-mini-tts", stream=True)),
    ("/v1/moderations", {"input": "x"}, Facts()),
    (
        "/v1/responses",
        {
            "model": "o3",
            "tools": [{"type": "image_generation", "model": "gpt-image-1", "svg": {"model": "gpt-5"}}],
            "moderation": {"model": "omni-moderation-latest"},
            "input": [
                "text",
                {"type": "tool_search_output", "tools": [{"type": "image_generation", "model": "gpt-image-2"}]},
                {"type": "additional_tools", "role": "developer", "tools": [{"type": "function", "name": "f"}]},
                {"type": "mcp_list_tools", "tools": [{"name": "listed by a server, not offered"}]},
            ],
        },
        Facts(
            "o3",
            message_count=4,
            has_system=True,
            has_tools=True,
            tool_count=3,
            tools=("image_generation", "image_generation", "f"),
            paid_tools=(("image_generation", None),),
            other_models=("omni-moderation-latest", "gpt-image-1", "gpt-5", "gpt-image-2"),
        ),
    ),
    (
        "/v1/chat/completions",
        {"model": "m", "models": ["m", "n"], "fallbacks": ["o", {"model": "p"}], "moderation": {"model": "q"}},
        Facts("m", has_system=False, has_tools=False, tool_count=0, other_models=("n", "o", "p", "q")),
    ),
    (
        "/v1/images/generations",
        {"model": "gpt-image-2", "moderation": "low", "svg": {"model": "gpt-5"}},
        Facts("gpt-image-2", other_models=("gpt-5",)),
    ),
    ("/v1/batches", {"input_file_id": "file-1", "endpoint": "/v1/embeddings"}, Facts()),
]


@pytest.mark.parametrize(("path", "body", "facts"), REQUESTS)
def test_the_facts_of_a_request_are_read(path, body, facts):
    assert facts_of(path, body) == facts


def form(*parts, boundary="b"):
    body = "".join(f"--{boundary}\r\n{headers}\r\n\r\n{value}\r\n" for headers, value in parts)
    return f"{body}--{boundary}--\r\n".encode()


def field(name):
    return f'Content-Disposition: form-data; name="{name}"'


FILE = (
    'Content-Disposition: form-data; name="file"; filename="a.mp3"\r\nContent-Type: audio/mpeg',
    '"model"\r\n--c\r\n',
)
TRANSCRIBE = "/v1/audio/transcriptions"
FORM = "multipart/form-data; boundary=b"


@pytest.mark.parametrize("boundary", ["b", '"b"'])
def test_model_and_stream_of_a_form_are_read(boundary):
    body = form(FILE, (field("model"), "whisper-1"), (field("stream"), "true"))
    assert facts_of(TRANSCRIBE, body, f"multipart/form-data; boundary={boundary}") == Facts("whisper-1", stream=True)


def test_the_model_that_draws_an_svg_is_read_from_a_form():
    body = form(
        (field("model"), "gpt-image-2"), (field("svg[model]"), "gpt-5"), (field("svg[reasoning][effort]"), "low")
    )
    assert facts_of("/v1/images/edits", body, FORM) == Facts("gpt-image-2", other_models=("gpt-5",))
    for odd in ((field("svg[model]"), "gpt-5"), (field("SVG[Model]"), "gpt-5")):
        with pytest.raises(Refusal, match="appears twice"):
            facts_of("/v1/images/edits", form((field("svg[model]"), "gpt-5"), odd), FORM)


@pytest.mark.parametrize(
    "headers",
    [
        "content-disposition:form-data;name=model",
        'Content-Disposition: form-data; name="model"\r\nContent-Type: text/plain; charset=utf-8',
        'Content-Type: text/plain\r\nContent-Disposition: Form-Data ; Name="model"',
    ],
)
def test_the_plain_spellings_of_form_fields_are_read(headers):
    odd = ("Content-Disposition: form-data; name=file; filename=a.mp3; filename*=utf-8''a.mp3", "x")
    assert facts_of(TRANSCRIBE, form(odd, (headers, "m")), "multipart/form-data; boundary=b") == Facts("m")


@pytest.mark.parametrize(
    "body",
    [
        form((field("model"), "a"), (field("model"), "b")),
        form((field("model"), "a"), (field("Model"), "b")),
        form((field("model"), "a"), (field("model[]"), "b")),
        form(('Content-Disposition: form-data; name="model"; filename="x"', "a")),
        form(("Content-Disposition: form-data; name=model; name=x", "a")),
        form((field("model") + "\r\nContent-Type: text/plain; charset=utf-7", "a")),
        form((field("model"), "a"), *[(field("x"), "")] * 2000),
        form(('Content-Disposition: form-data; name="x"; name="model"', "a")),
        form((field("model") + "\r\nContent-Transfer-Encoding: base64", "YQ==")),
        form((field("x") + "\r\n" + field("model"), "a")),
        form((field("x") + "\r\nContent-Disposition : form-data", "a")),
        form((field("model"), "a" * 2000)),
        form((field("model"), "a\x00b")),
        form((field("stream"), "perhaps")),
        b"preamble\r\n" + form((field("model"), "a")),
        form((field("model"), "a")) + form((field("model"), "b")),
        form((field("model"), "a")).replace(b"\r\n", b"\n"),
        form((field("model"), "a"))[:-4],
        form((field("model"), "a")).replace(b"--b\r\n", b"--bc\r\n", 1),
        form((field("model"), "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"))).decode().encode("latin-1"),
        b"",
    ],
)
def test_an_ambiguous_form_is_refused(body):
    with pytest.raises(Refusal) as refused:
        facts_of(TRANSCRIBE, body, "multipart/form-data; boundary=b")
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=b; boundary=c", "multipart/form-data; boundary=", JSON],
)
def test_a_form_needs_one_boundary(content_type):
    with pytest.raises(Refusal, match="boundary"):
        facts_of(TRANSCRIBE, form((field("model"), "a")), content_type)


def sent_by(call):
    """Make a call with the SDK; return how Wirekey reads its request."""
    caught = []

    def catch(request):
        request.read()
        headers = request.headers
        operation = OPENAI.operations.match_operation(
            request.method, request.url.raw_path.decode().partition("?")[0], headers
        )
        reads = operation and operation.body in (Body.JSON, Body.MULTIPART)
        content_type = headers.get("content-type", "")
        facts = OPENAI.operations.read_request(operation, {}, content_type, request.content) if reads else None
        caught.append((operation and operation.name, facts))
        return httpx.Response(400, json={"error": {"message": "enough"}})

    client = openai.OpenAI(api_key="x", http_client=httpx.Client(transport=httpx.MockTransport(catch)))
    with pytest.raises(openai.BadRequestError):
        call(client)
    return caught[0]


PICTURE = ("a.png", b"\x89PNG\r\n--x", "image/png")
CALLS = {
    "chat": (
        lambda c: c.chat.completions.create(model="m", messages=[USER], stream=True, temperature=0.5),
        ("chat.completions", Facts("m", True, 1, False, False, 0, asks_usage=False)),
    ),
    "response": (
        lambda c: c.responses.create(model="m", input="hä", tools=[{"type": "web_search"}]),
        (
            "responses",
            Facts(
                "m",
                False,
                1,
                False,
                True,
                1,
                None,
                ("web_search",),
                reads_elsewhere=True,
                paid_tools=(("web_search", None),),
            ),
        ),
    ),
    "stored response": (lambda c: c.responses.retrieve("resp_1", stream=True), ("responses.get", None)),
    "embedding": (lambda c: c.embeddings.create(model="m", input=["a"]), ("embeddings", Facts("m"))),
    "edited image": (
        lambda c: c.images.edit(model="m", image=[PICTURE, PICTURE], prompt="x", stream=True),
        ("images.edits", Facts("m", True)),
    ),
    "varied image": (lambda c: c.images.create_variation(image=PICTURE, model="m"), ("images.variations", Facts("m"))),
    "transcription": (
        lambda c: c.audio.transcriptions.create(model="m", file=PICTURE, stream=True, include=["logprobs"]),
        ("audio.transcriptions", Facts("m", True)),
    ),
    "translation": (
        lambda c: c.audio.translations.create(model="m", file=PICTURE),
        ("audio.translations", Facts("m")),
    ),
    "speech": (lambda c: c.audio.speech.create(model="m", input="x", voice="alloy"), ("audio.speech", Facts("m"))),
    "moderation": (lambda c: c.moderations.create(model="m", input="x"), ("moderations", Facts("m"))),
    "file": (lambda c: c.files.create(file=PICTURE, purpose="batch"), ("files.create", None)),
    "batches": (lambda c: c.batches.list(limit=3), ("batches.list", None)),
    "cancelled upload": (lambda c: c.uploads.cancel("upload_1"), ("uploads.cancel", None)),
    "fine-tuned model": (lambda c: c.models.retrieve("ft:gpt-4o:org::1"), ("models.get", None)),
}


@pytest.mark.parametrize("name", CALLS)
def test_requests_of_the_sdk_are_recognised(name):
    call, understood = CALLS[name]
    assert sent_by(call) == understood


MODEL = b'"model":"gpt-4o-2024-08-06"'
CHUNK = b'data: {%b,"choices":[{"index":0,"delta":{"content":"\xc3\xa9"},"finish_reason":null}]}' % MODEL + b"\n\n"
STOP = b'data: {%b,"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}' % MODEL + b"\n\n"
USAGE = (
    b'data: {"id":"1","model":"gpt-4o-2024-08-06","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":12,'
    b'"total_tokens":21,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":5}}}\n\n'
)
DONE = b"data: [DONE]\n\n"
WHOLE = Usage(9, 12, 4, 5, "stop", "gpt-4o-2024-08-06")
BARE = Usage(finish_reason="stop", model="gpt-4o-2024-08-06")
RESPONSE = (
    b'{"id":"resp_1","object":"response","status":"%b","error":%b,"incomplete_details":%b,"model":"gpt-5-2025-08-07",'
    b'"output":[{"type":"message"}],"tools":[{"type":"function","parameters":{"usage":{"type":"string"}}}],'
    b'"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":4},"output_tokens":12,'
    b'"output_tokens_details":{"reasoning_tokens":5},"total_tokens":21},"user":null,"metadata":{}}'
)
DELTA = b"response.output_text.delta"
TEXT = b'event: %b\ndata: {"type":"%b","delta":"\\"type\\":\\"error\\""}\n\n' % (DELTA, DELTA)


def typed(kind, response):
    return b'event: %b\ndata: {"type":"%b","sequence_number":3,"response":%b}\n\n' % (kind, kind, response)


def usage_with(reason):
    return Usage(9, 12, 4, 5, reason, "gpt-5-2025-08-07")


COMPLETED = typed(b"response.completed", RESPONSE % (b"completed", b"null", b"null"))
INCOMPLETE = typed(b"response.incomplete", RESPONSE % (b"incomplete", b"null", b'{"reason":"max_output_tokens"}'))
FAILED = typed(b"response.failed", RESPONSE % (b"failed", b'{"code":"server_error","message":"x"}', b"null"))

STREAMS = {
    "whole": (CHAT, CHUNK + CHUNK + STOP + USAGE + DONE, WHOLE, True, None),
    "without usage": (CHAT, CHUNK + STOP + DONE, BARE, True, None),
    "without DONE": (CHAT, CHUNK + STOP, BARE, True, None),
    "DONE only": (CHAT, CHUNK + DONE, Usage(), True, None),
    "cut off": (CHAT, CHUNK + CHUNK, Usage(), False, None),
    "cut in an event": (CHAT, CHUNK + STOP[:-40], Usage(), False, None),
    "no last blank line": (CHAT, CHUNK + STOP[:-2], BARE, True, None),
    "CRLF": (CHAT, (CHUNK + STOP + USAGE + DONE).replace(b"\n", b"\r\n"), WHOLE, True, None),
    "CR": (CHAT, (CHUNK + STOP + USAGE + DONE).replace(b"\n", b"\r"), WHOLE, True, None),
    "comments": (CHAT, b": hello\n\n: x\n" + CHUNK + b":\n\n" + STOP + b": ping\n" + USAGE, WHOLE, True, None),
    "no space": (CHAT, (CHUNK + STOP + USAGE + DONE).replace(b"data: ", b"data:"), WHOLE, True, None),
    "multi-line data": (CHAT, (STOP + USAGE).replace(b',"', b',\ndata: "'), WHOLE, True, None),
    "byte order mark": (CHAT, b"\xef\xbb\xbf" + STOP, BARE, True, None),
    "malformed event between": (CHAT, CHUNK + b'data: {"usage":{"x\n\n' + STOP + USAGE + DONE, WHOLE, True, None),
    "error event": (CHAT, CHUNK + b'data: {"error":{"type":"server_error"}}\n\n', Usage(), False, "server_error"),
    "error as text": (CHAT, CHUNK + b'data: {"error":"out of memory"}\n\n', Usage(), False, "error"),
    "several choices": (
        CHAT,
        STOP.replace(b'"index":0', b'"index":1').replace(b'"stop"', b'"length"') + CHUNK + STOP + DONE,
        BARE,
        True,
        None,
    ),
    "response completed": (RESPONSES, TEXT + COMPLETED, usage_with("completed"), True, None),
    "response incomplete": (RESPONSES, TEXT + INCOMPLETE, usage_with("max_output_tokens"), True, None),
    "response failed": (RESPONSES, TEXT + FAILED, usage_with("failed"), True, "server_error"),
    "response cut off": (RESPONSES, TEXT + TEXT, Usage(), False, None),
    "response error": (
        RESPONSES,
        TEXT + b'event: error\ndata: {"type":"error","code":"rate_limit_exceeded","message":"x"}\n\n',
        Usage(),
        False,
        "rate_limit_exceeded",
    ),
    "image": (
        "/v1/images/generations",
        b'data: {"type":"image_generation.completed","b64_json":"AA","usage":{"input_tokens":3,"output_tokens":4}}\n\n',
        Usage(3, 4),
        True,
        None,
    ),
    "transcript": (
        TRANSCRIBE,
        b'data: {"type":"transcript.text.done","usage":{"type":"tokens","input_tokens":3,"output_tokens":4}}\n\n',
        Usage(3, 4),
        True,
        None,
    ),
}


def read(path, chunks, content_type=SSE, status=200):
    reader = OPENAI.operations.response_reader(
        OPENAI.operations.match_operation("POST", path, {}), Facts(), status, content_type, headers={}
    )
    for chunk in chunks:
        reader.feed(chunk)
    reader.end()
    return reader.usage, reader.finished, reader.error_type


@pytest.mark.parametrize("name", STREAMS)
def test_usage_reason_and_end_of_a_stream_are_read(name):
    path, data, *told = STREAMS[name]
    assert read(path, [data]) == tuple(told)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_reads_the_same_in_pieces_of_any_size(name, size):
    path, data, *told = STREAMS[name]
    assert read(path, [data[i : i + size] for i in range(0, len(data), size)]) == tuple(told)


@given(st.sampled_from(sorted(STREAMS)), st.lists(st.integers(0, 3000), max_size=8))
def test_a_stream_reads_the_same_in_any_chunking(name, cuts):
    path, data, *told = STREAMS[name]
    edges = [0, *sorted(cuts), len(data)]
    assert read(path, [data[a:b] for a, b in pairwise(edges)]) == tuple(told)


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from(
                [CHUNK, STOP, USAGE, DONE, COMPLETED, b"\r", b"\n\n", b'"usage":{', b'"error":{', b"data:"]
            ),
        ),
        max_size=12,
    ),
    st.sampled_from([CHAT, RESPONSES]),
    st.sampled_from([SSE, JSON]),
)
def test_rubbish_never_raises_and_reads_the_same_in_any_chunking(pieces, path, content_type):
    whole = b"".join(pieces)
    assert read(path, pieces, content_type) == read(path, [whole], content_type)
    assert read(path, [whole[i : i + 1] for i in range(len(whole))], content_type) == read(path, [whole], content_type)


USAGE_OBJECT = USAGE[USAGE.index(b'"usage"') : -3]
CHAT_RESPONSE = (
    b'{"id":"1","model":"gpt-4o-2024-08-06","choices":[{"index":0,"message":{"content":"%b"},"finish_reason":"stop"}],'
    b"%b}"
)
JSON_RESPONSES = [
    (CHAT, CHAT_RESPONSE % (b"hi", USAGE_OBJECT), WHOLE, True, None),
    (CHAT, CHAT_RESPONSE % (b"hi " * 700_000, USAGE_OBJECT), WHOLE, True, None),
    (CHAT, (CHAT_RESPONSE % (b"hi " * 700_000, b""))[:-1_000_000], Usage(model=BARE.model), False, None),
    (CHAT, CHAT_RESPONSE % (b"hi", b'"usage":{"prompt_tokens":"many"}'), BARE, True, None),
    (CHAT, CHAT_RESPONSE % (b"hi", b'"usage":{"prompt_tokens":99999999999999999999}'), BARE, True, None),
    (RESPONSES, RESPONSE % (b"completed", b"null", b"null"), usage_with("completed"), True, None),
    (
        RESPONSES,
        RESPONSE % (b"incomplete", b"null", b'{"reason":"content_filter"}'),
        usage_with("content_filter"),
        True,
        None,
    ),
    (
        "/v1/embeddings",
        b'{"object":"list","data":[{"embedding":[%b0.5]}],"model":"text-embedding-3-small","usage":{"prompt_tokens":8}}'
        % (b"-0.0123456," * 200_000),
        Usage(8, model="text-embedding-3-small"),
        True,
        None,
    ),
    ("/v1/images/generations", b'{"created":1,"usage":{"input_tokens":5,"output_tokens":6}}', Usage(5, 6), True, None),
    (CHAT, b'{"error":{"type":"invalid_request_error","code":null}}', Usage(), True, "invalid_request_error"),
    (CHAT, b'{"error":"model not found"}', Usage(), True, "error"),
    (CHAT, b"<html>", Usage(), False, None),
    (CHAT, b"", Usage(), False, None),
]


@pytest.mark.parametrize("response", JSON_RESPONSES)
@pytest.mark.parametrize("size", [4096, 1 << 30])
def test_a_json_response_reads_the_same_in_pieces_and_long_responses_are_not_held(response, size):
    path, data, *told = response
    cut = [data[i : i + size] for i in range(0, len(data), size)]
    assert read(path, cut, JSON) == tuple(told)


@pytest.mark.parametrize("size", [65536, 3 << 20])
def test_the_usage_of_a_huge_event_is_read(size):
    long = COMPLETED.replace(b'[{"type":"message"}]', b'[{"text":"%b"}]' % (b"x" * 3_000_000))
    data = TEXT + long + TEXT
    assert read(RESPONSES, [data[i : i + size] for i in range(0, len(data), size)]) == (
        usage_with("completed"),
        True,
        None,
    )


@pytest.mark.parametrize(
    ("request_line", "content_type"),
    [
        ("GET /v1/models", JSON),
        ("GET /v1/files/f/content", JSON),
        ("POST /v1/moderations", JSON),
        ("POST /v1/audio/speech", "audio/mpeg"),
    ],
)
def test_listings_files_and_media_have_no_reader(request_line, content_type):
    assert (
        OPENAI.operations.response_reader(
            OPENAI.operations.match_operation(*request_line.split(), {}), Facts(), 200, content_type
        )
        is None
    )


REFUSAL = Refusal(429, "rate_limited", "Wait a little.", retry_after=7)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (503, openai.InternalServerError),
    ],
)
def test_the_sdk_raises_its_own_exception_with_wirekeys_message(status, kind):
    body, headers = OPENAI.operations.error_response(
        Refusal(status, "some_code", "What to do.", Fault.OPERATOR), "id-1"
    )
    client = openai.OpenAI(
        api_key="x",
        http_client=httpx.Client(
            transport=httpx.MockTransport(lambda _: httpx.Response(status, content=body, headers=headers)),
        ),
    )
    with pytest.raises(kind, match="What to do") as raised:
        client.chat.completions.create(model="m", messages=[])
    assert raised.value.code == "some_code"
    assert raised.value.request_id == "id-1"


@pytest.mark.parametrize(
    ("refusal", "header"),
    [
        (Refusal(503, "no_key", "x", Fault.OPERATOR), "false"),
        (Refusal(403, "denied", "x"), "false"),
        (Refusal(502, "upstream_unreachable", "x", Fault.PROVIDER), None),
        (Refusal(503, "cannot_record", "x", Fault.WIREKEY), None),
    ],
)
def test_the_sdk_retries_only_if_a_retry_can_help(refusal, header):
    assert OPENAI.operations.error_response(refusal, "id-1")[1].get("x-should-retry") == header


def test_an_error_has_a_retry_after():
    _, headers = OPENAI.operations.error_response(REFUSAL, "id-1")
    assert headers["retry-after"] == "7"
    assert "x-should-retry" not in headers


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
@pytest.mark.parametrize("sent", [b"", CHUNK, TEXT, CHUNK.replace(b"\n", b"\r\n"), b": comment\n"])
def test_the_sdk_raises_at_an_error_appended_to_a_stream(path, sent):
    appended = OPENAI.operations.stream_error(REFUSAL, OPENAI.operations.match_operation("POST", path, {}), SSE)
    client = openai.OpenAI(
        api_key="x",
        http_client=httpx.Client(
            transport=httpx.MockTransport(
                lambda _: httpx.Response(200, content=sent + appended, headers={"content-type": SSE}),
            ),
        ),
    )
    stream = (
        client.chat.completions.create(model="m", messages=[], stream=True)
        if path == CHAT
        else client.responses.create(model="m", input="x", stream=True)
    )
    with pytest.raises(openai.APIError, match="Wait a little"):
        list(stream)


def test_nothing_can_be_appended_to_json():
    assert OPENAI.operations.stream_error(REFUSAL, OPENAI.operations.match_operation("POST", CHAT, {}), JSON) == b""


def test_the_key_is_set_in_the_authorization_header():
    assert OPENAI.credentials.header("sk-1", "/v1/models") == ("authorization", "Bearer sk-1")
