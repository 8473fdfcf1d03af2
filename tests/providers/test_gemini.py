import json

import httpx
import pytest
from google.genai import errors
from google.genai._api_client import HttpResponse
from hypothesis import given, settings
from hypothesis import strategies as st

from wirekey.core.body import Body
from wirekey.core.errors import Refusal
from wirekey.core.operation import Facts, Kind, Operation, Usage
from wirekey.providers.gemini import GEMINI
from wirekey.providers.gemini.responses import GeminiArrayReader, GeminiJsonReader, GeminiSseReader

PATH = "/v1beta/models/gemini-2.5-flash"
GENERATE = GEMINI.operations.match_operation("POST", f"{PATH}:generateContent", {})
STREAM = GEMINI.operations.match_operation("POST", f"{PATH}:streamGenerateContent", {})


def operation(path, method="POST"):
    return GEMINI.operations.match_operation(method, path, {})


def read(body, path=f"{PATH}:generateContent", query=None, content_type="application/json"):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return GEMINI.operations.read_request(operation(path), query or {}, content_type, data)


# Recognition

J, N, RAW = Body.JSON, Body.NONE, Body.OPAQUE
OPERATIONS = [
    ("POST", f"{PATH}:generateContent", "generateContent", J, Kind.INFERENCE, "gemini-2.5-flash"),
    ("POST", f"{PATH}:streamGenerateContent", "streamGenerateContent", J, Kind.INFERENCE, "gemini-2.5-flash"),
    ("POST", f"{PATH}:countTokens", "countTokens", J, Kind.INFERENCE, "gemini-2.5-flash"),
    ("POST", "/v1/models/gemini-embedding-001:embedContent", "embedContent", J, Kind.INFERENCE, "gemini-embedding-001"),
    ("POST", "/v1alpha/models/a:batchEmbedContents", "batchEmbedContents", J, Kind.INFERENCE, "a"),
    ("POST", "/v1beta/tunedModels/mine-1:generateContent", "generateContent", J, Kind.INFERENCE, "tunedModels/mine-1"),
    ("POST", "/v1beta/dynamic/abc-1:generateContent", "generateContent", J, Kind.INFERENCE, "dynamic/abc-1"),
    ("POST", "/v1/dynamic/abc-1:streamGenerateContent", "streamGenerateContent", J, Kind.INFERENCE, "dynamic/abc-1"),
    ("POST", "/v1beta/models/imagen-4.0-generate-001:predict", "predict", J, Kind.INFERENCE, "imagen-4.0-generate-001"),
    ("GET", "/v1beta/models", "models.list", N, Kind.LISTING, None),
    ("GET", "/v1/models/gemini-2.5-flash", "models.get", N, Kind.LISTING, "gemini-2.5-flash"),
    ("POST", "/v1beta/cachedContents", "cachedContents.create", J, Kind.STORAGE, None),
    ("GET", "/v1beta/cachedContents", "cachedContents.list", N, Kind.STORAGE, None),
    ("GET", "/v1beta/cachedContents/c1", "cachedContents.get", N, Kind.STORAGE, None),
    ("PATCH", "/v1beta/cachedContents/c1", "cachedContents.patch", J, Kind.STORAGE, None),
    ("DELETE", "/v1beta/cachedContents/c1", "cachedContents.delete", N, Kind.STORAGE, None),
    ("GET", "/v1beta/files", "files.list", N, Kind.STORAGE, None),
    ("GET", "/v1beta/files/f1", "files.get", N, Kind.STORAGE, None),
    ("DELETE", "/v1beta/files/f1", "files.delete", N, Kind.STORAGE, None),
    ("GET", "/v1beta/files/f1:download", "files.download", N, Kind.STORAGE, None),
    ("GET", "/download/v1beta/files/f1:download", "files.download", N, Kind.STORAGE, None),
    ("POST", "/upload/v1beta/files", "upload", RAW, Kind.STORAGE, None),
    ("PUT", "/upload/v1beta/files", "upload", RAW, Kind.STORAGE, None),
    ("POST", "/v1beta/openai/chat/completions", "chat.completions", J, Kind.INFERENCE, None),
    ("POST", "/v1beta/openai/embeddings", "embeddings", J, Kind.INFERENCE, None),
    ("POST", "/v1beta/openai/images/generations", "images.generations", J, Kind.INFERENCE, None),
    ("GET", "/v1beta/openai/models", "models.list", N, Kind.LISTING, None),
    ("GET", "/v1beta/openai/models/gemini-2.5-flash", "models.get", N, Kind.LISTING, "gemini-2.5-flash"),
]


@pytest.mark.parametrize("row", OPERATIONS, ids=lambda row: f"{row[0]} {row[1]}")
def test_every_operation_is_found_by_method_and_path(row):
    method, path, name, body, kind, model = row
    assert operation(path, method) == Operation(name, body, kind, model, name == "streamGenerateContent")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{PATH}:generateContent"),
        ("HEAD", "/v1beta/models"),
        ("OPTIONS", "/v1beta/models"),
        ("TRACE", "/v1beta/models"),
        ("POST", f"{PATH}:generateContent/"),
        ("POST", f"{PATH}%3AgenerateContent"),
        ("POST", f"{PATH}:generateContent:streamGenerateContent"),
        ("POST", f"{PATH}:GenerateContent"),
        ("POST", f"{PATH}:generateContent\n"),
        ("POST", f"{PATH}:generateContent;x=1"),
        ("POST", f"{PATH}:generateContent?alt=sse"),
        ("POST", "//v1beta/models/a:generateContent"),
        ("POST", "/v1beta//models/a:generateContent"),
        ("POST", "/v1beta/models/../tunedModels/a:generateContent"),
        ("POST", "/v1beta/models/..:generateContent"),
        ("POST", "/v1beta/models/%2e%2e:generateContent"),
        ("POST", "/v1beta/models/a%2Fb:generateContent"),
        ("POST", "/v1beta/models/models/a:generateContent"),
        ("POST", "/v1beta/models/tunedModels/a:generateContent"),
        ("POST", "/v1beta/models/:generateContent"),
        ("POST", "/v1beta/models/a\\b:generateContent"),
        ("POST", "/v1beta/models/a\x00:generateContent"),
        ("POST", "/v1beta/models/ä:generateContent"),
        ("POST", "/v2/models/a:generateContent"),
        ("POST", "/google.ai.generativelanguage.v1beta.GenerativeService/GenerateContent"),
    ],
)
def test_other_methods_and_odd_spellings_are_not_operations(method, path):
    assert operation(path, method) is None


def test_a_request_with_a_method_override_header_is_not_an_operation():
    for name in ("x-http-method-override", "x-http-method", "x-method-override"):
        assert GEMINI.operations.match_operation("GET", "/v1beta/files/f1", {name: "DELETE"}) is None


# Facts

TURN = {"role": "user", "parts": [{"text": "secret words"}]}
FUNCTIONS = [{"name": "weather", "parameters": {"name": "not this"}}, {"name": "time"}]


@pytest.mark.parametrize(
    ("body", "facts"),
    [
        ({"contents": [TURN]}, {"message_count": 1}),
        ({"contents": [TURN, TURN, TURN]}, {"message_count": 3}),
        ({"contents": TURN}, {"message_count": 1}),
        ({"contents": []}, {"message_count": 0}),
        ({}, {"message_count": None}),
        ({"contents": [TURN], "systemInstruction": TURN}, {"has_system": True}),
        ({"contents": [TURN], "system_instruction": {"parts": {"text": "x"}}}, {"has_system": True}),
        ({"contents": [TURN], "systemInstruction": None}, {"has_system": False}),
        (
            {"tools": [{"functionDeclarations": FUNCTIONS}]},
            {"tools": ("weather", "time"), "tool_count": 2, "has_tools": True},
        ),
        ({"tools": {"function_declarations": FUNCTIONS[0]}}, {"tools": ("weather",)}),
        (
            {"tools": [{"function_declarations": FUNCTIONS}, {"google_search": {}}, {"codeExecution": {}}]},
            {"tools": ("weather", "time", "googleSearch", "codeExecution"), "tool_count": 4},
        ),
        ({"tools": [{"urlContext": {}, "googleSearch": None}]}, {"tools": ("urlContext",)}),
        ({"tools": []}, {"has_tools": False, "tool_count": 0}),
        ({"generationConfig": {"maxOutputTokens": 99}}, {"max_tokens": 99}),
        ({"generation_config": {"max_output_tokens": 7}}, {"max_tokens": 7}),
        ({"generationConfig": {"temperature": 0}}, {"max_tokens": None}),
        ({"model": "models/gemini-2.5-flash"}, {"model": "gemini-2.5-flash"}),
        ({"model": "gemini-2.5-flash"}, {"model": "gemini-2.5-flash"}),
    ],
)
def test_facts_are_read_as_google_reads_the_body(body, facts):
    found = read(body)
    assert {name: getattr(found, name) for name in facts} == facts
    assert found.model == "gemini-2.5-flash"
    assert not found.stream


@pytest.mark.parametrize(
    ("path", "body", "facts"),
    [
        (f"{PATH}:streamGenerateContent", {"contents": [TURN]}, {"stream": True, "message_count": 1}),
        (f"{PATH}:countTokens", {"contents": [TURN, TURN]}, {"message_count": 2}),
        (
            f"{PATH}:countTokens",
            {
                "generateContentRequest": {
                    "model": "models/gemini-2.5-flash",
                    "contents": [TURN],
                    "systemInstruction": TURN,
                }
            },
            {"message_count": 1, "has_system": True},
        ),
        (f"{PATH}:embedContent", {"content": TURN}, {"message_count": 1, "has_system": None}),
        (f"{PATH}:batchEmbedContents", {"requests": [{"content": TURN}] * 3}, {"message_count": 3}),
        (f"{PATH}:predict", {"instances": [{"prompt": "x"}]}, {"message_count": 1}),
        (
            "/v1beta/cachedContents",
            {"model": "models/gemini-2.5-flash", "contents": [TURN], "tools": [{"googleSearch": {}}]},
            {"model": "gemini-2.5-flash", "message_count": 1, "tool_count": 1},
        ),
        (
            "/v1beta/openai/chat/completions",
            {"model": "models/gemini-2.5-flash", "messages": [{"role": "user", "content": "x"}], "stream": True},
            {"model": "gemini-2.5-flash", "message_count": 1, "stream": True, "asks_usage": True, "other_models": ()},
        ),
        (
            "/v1beta/openai/chat/completions",
            {"model": "models/m", "messages": [], "models": ["m", "models/n"]},
            {"model": "m", "other_models": ("n",)},
        ),
        (
            "/v1beta/openai/embeddings",
            {"model": "gemini-embedding-001", "input": "x"},
            {"model": "gemini-embedding-001"},
        ),
    ],
)
def test_facts_of_the_other_operations(path, body, facts):
    found = read(body, path)
    assert {name: getattr(found, name) for name in facts} == facts


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "empty"),
        (b"[]", "object"),
        (b'\xef\xbb\xbf{"contents":[]}', "byte order mark"),
        (b'{"contents":"\xff"}', "UTF-8"),
        (b'{"contents":[],}', "JSON"),
        (b'{"contents":[],"generationConfig":{"maxOutputTokens":NaN}}', "JSON"),
        (b'{"contents":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "deep"),
        (b'{"contents":[],"contents":[]}', "contents"),
        (b'{"contents":[],"content\\u0073":[]}', "twice"),
        # Without the limit of entries, a body of 300 KB took more than half a second of the loop that serves everyone.
        (b'{"tools":[' + b",".join([b"{}"] * 1025) + b"]}", "more than 1024 tools"),
        (b'{"tools":[{"googleSearch":{},"googleSearch":{}}]}', "tools[0]"),
        (b'{"tools":[{"functionDeclarations":[{"name":"a","name":"b"}]}]}', "functionDeclarations[0]"),
        (b'{"generationConfig":{"maxOutputTokens":1,"max_output_tokens":9}}', "max_output_tokens"),
        (b'{"systemInstruction":{},"system_instruction":{}}', "system_instruction"),
        (b'{"generationConfig":{},"generation_config":{}}', "generation_config"),
        (b'{"tools":[{"functionDeclarations":[],"function_declarations":[]}]}', "function_declarations"),
        (b'{"contents":"x"}', "contents"),
        (b'{"generationConfig":{"maxOutputTokens":"9"}}', "maxOutputTokens"),
        (b'{"generationConfig":[]}', "generationConfig"),
        (b'{"tools":[{"functionDeclarations":[{"name":1}]}]}', "name"),
        (b'{"model":"models/gemini-2.5-pro"}', "model"),
        (b'{"model":7}', "model"),
    ],
)
def test_an_ambiguous_body_is_refused_and_the_error_names_the_place(body, word):
    with pytest.raises(Refusal) as refused:
        read(body)
    assert refused.value.status == 400
    assert word in refused.value.message
    assert "secret words" not in refused.value.message


def test_an_inner_request_with_another_model_than_the_path_is_refused():
    for path, body in (
        (f"{PATH}:batchEmbedContents", {"requests": [{"content": TURN}, {"model": "models/other"}]}),
        (f"{PATH}:countTokens", {"generateContentRequest": {"model": "models/other"}}),
        ("/v1beta/tunedModels/a:generateContent", {"model": "models/a"}),
    ):
        with pytest.raises(Refusal, match="400"):
            read(body, path)


@pytest.mark.parametrize("written", ["gemini-2.5-flash", "models/gemini-2.5-flash"])
@pytest.mark.parametrize("name", ["generateContentRequest", "generate_content_request"])
@pytest.mark.parametrize(
    "path",
    [
        "/v1beta/models/gemini-2.5-flash",
        "/v1beta/models/gemini%3Agemini-2.5-flash",
        "/v1beta/models/gemini-cli-acp%3Agoogle%2Fgemini-2.5-flash",
        "/v1beta/models/gemini-2.5-flash%3Ftemperature%3D0.5",
    ],
)
def test_a_count_may_name_the_model_of_its_path_again(path, name, written):
    facts = read({name: {"model": written, "contents": [TURN]}}, f"{path}:countTokens")
    assert facts.message_count == 1


def test_query_parameters_that_change_the_meaning_are_refused():
    assert read({}, query={"alt": "sse", "key": "x"})
    for query in ({"$httpMethod": "GET"}, {"$httpHeaders": "x"}, {"alt": "proto"}, {"$alt": "proto"}):
        with pytest.raises(Refusal):
            read({}, query=query)


def test_a_body_declared_as_something_else_is_refused():
    assert read({}, content_type="")
    assert read({}, content_type="application/json; charset=UTF-8")
    for content_type in (
        "application/x-protobuf",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-16",
    ):
        with pytest.raises(Refusal):
            read({}, content_type=content_type)


# Responses


def part(text="", **more):
    return {"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0, **more}]}


def counts(prompt, output=None, **more):
    fields = {"promptTokenCount": prompt, "candidatesTokenCount": output, **more}
    return {key: value for key, value in fields.items() if value is not None}


PARTS = [
    {**part("Hel"), "usageMetadata": counts(7), "modelVersion": "gemini-2.5-flash"},
    {**part('"usageMetadata": {"promptTokenCount": 1}, ü, 日本, "finishReason": "X"'), "usageMetadata": counts(7, 2)},
    {
        **part("!", finishReason="STOP"),
        "usageMetadata": counts(7, 11, cachedContentTokenCount=4, thoughtsTokenCount=5, toolUsePromptTokenCount=3),
        "modelVersion": "gemini-2.5-flash",
    },
]
WHOLE = Usage(10, 16, 4, 5, "STOP", "gemini-2.5-flash")
BLOCKED = [{"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": counts(9)}]
ERROR = {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}


def sse(parts, end="\r\n\r\n"):
    return "".join(f"data: {json.dumps(each, ensure_ascii=False)}{end}" for each in parts).encode()


def array(parts):
    return ("[" + "\n,\r\n".join(json.dumps(each, indent=2, ensure_ascii=False) for each in parts) + "\n]\n").encode()


def read_event(reader, chunks):
    for chunk in chunks:
        reader.feed(chunk)
    reader.end()
    return reader.usage, reader.finished, reader.error_type


STREAMS = {
    "whole": (PARTS, (WHOLE, True, None)),
    "cut off": (PARTS[:2], (Usage(7, 2, model="gemini-2.5-flash"), False, None)),
    "prompt blocked": (BLOCKED, (Usage(9, finish_reason="SAFETY"), True, None)),
    "counts after the end": (
        [*PARTS[:2], part(finishReason="MAX_TOKENS"), {"usageMetadata": counts(7, 20)}],
        (Usage(7, 20, finish_reason="MAX_TOKENS", model="gemini-2.5-flash"), True, None),
    ),
    "an error": (
        [*PARTS[:1], ERROR],
        (Usage(7, model="gemini-2.5-flash"), False, "UNAVAILABLE"),
    ),
    "second candidate ends first": (
        [{"candidates": [{"index": 1, "finishReason": "SAFETY"}]}, *PARTS],
        (WHOLE, True, None),
    ),
    "counts of no meaning": (
        [{**part(finishReason="STOP"), "usageMetadata": {"promptTokenCount": -1}}],
        (Usage(finish_reason="STOP"), True, None),
    ),
    "nothing": ([], (Usage(), False, None)),
}
WRITTEN = {
    "events": (GeminiSseReader, sse),
    "events with LF": (GeminiSseReader, lambda parts: sse(parts, "\n\n")),
    "events with CR": (GeminiSseReader, lambda parts: sse(parts, "\r\r")),
    "array": (GeminiArrayReader, array),
    "dense array": (GeminiArrayReader, lambda parts: json.dumps(parts, separators=(",", ":")).encode()),
}


@pytest.mark.parametrize(("make", "write"), WRITTEN.values(), ids=WRITTEN)
@pytest.mark.parametrize(("parts", "learnt"), STREAMS.values(), ids=STREAMS)
def test_streams_read_the_same_in_every_form_and_any_chunking(parts, learnt, make, write):
    data = write(parts)
    assert read_event(make(), [data]) == learnt
    assert read_event(make(), (bytes([byte]) for byte in data)) == learnt
    for place in range(0, len(data), 3):
        assert read_event(make(), [data[:place], data[place:]]) == learnt


def test_a_bare_error_ends_a_stream_of_events():
    data = sse(PARTS[:1]) + json.dumps(ERROR, indent=1).encode()
    assert read_event(GeminiSseReader(), [data])[2] == "UNAVAILABLE"
    assert read_event(GeminiSseReader(), [data, b"\n"])[2] == "UNAVAILABLE"


@pytest.mark.parametrize(
    ("body", "learnt"),
    [
        (json.dumps(PARTS[2]), (WHOLE, True, None)),
        (json.dumps(ERROR), (Usage(), True, "UNAVAILABLE")),
        (json.dumps([ERROR], indent=2), (Usage(), True, "UNAVAILABLE")),
        ('{"embedding":{"values":[0.1]}}', (Usage(), True, None)),
        ('{"candidates":3}', (Usage(), True, None)),
        ('{"candidates":[{"finishReason":"STOP"}]', (Usage(finish_reason="STOP"), False, None)),
        ("<html>", (Usage(), False, None)),
        ("", (Usage(), False, None)),
    ],
)
def test_whole_responses_are_read(body, learnt):
    assert read_event(GeminiJsonReader(), [body.encode()]) == learnt


def test_a_response_too_long_to_hold_is_read_from_its_ends():
    image = {"inlineData": {"data": "A" * 3_000_000}}
    body = {"candidates": [{"content": {"parts": [image]}, "finishReason": "STOP"}], **PARTS[2], "modelVersion": "m"}
    body["candidates"] = [{"content": {"parts": [image]}, "finishReason": "STOP"}]
    data = json.dumps(body).encode()
    usage = Usage(10, 16, 4, 5, "STOP", "m")
    assert read_event(GeminiJsonReader(), [data]) == (usage, True, None)
    assert read_event(GeminiSseReader(), [b"data: " + data + b"\n\n"]) == (usage, True, None)
    assert read_event(GeminiArrayReader(), [b"[" + data[:70_000], data[70_000:] + b"]"]) == (usage, True, None)


@settings(max_examples=200)
@given(
    st.lists(
        st.binary(max_size=40)
        | st.sampled_from([b"data: ", b'"error"', b'{"candidates":[{', b"\n\n", b'"finishReason"'])
    )
)
def test_rubbish_never_raises(chunks):
    for make in (GeminiSseReader, GeminiArrayReader, GeminiJsonReader):
        assert read_event(make(), chunks) == read_event(make(), [b"".join(chunks)])


@pytest.mark.parametrize(
    ("path", "status", "content_type", "reader"),
    [
        (f"{PATH}:generateContent", 200, "application/json; charset=UTF-8", GeminiJsonReader),
        (f"{PATH}:streamGenerateContent", 200, "text/event-stream", GeminiSseReader),
        (f"{PATH}:streamGenerateContent", 200, "application/json", GeminiArrayReader),
        (f"{PATH}:streamGenerateContent", 429, "application/json", GeminiJsonReader),
        (f"{PATH}:generateContent", 502, "text/html", type(None)),
        (f"{PATH}:countTokens", 200, "application/json", type(None)),
        ("/v1beta/cachedContents", 200, "application/json", type(None)),
    ],
)
def test_the_reader_fits_the_response(path, status, content_type, reader):
    assert type(GEMINI.operations.response_reader(operation(path), Facts(), status, content_type)) is reader


def test_openai_operations_have_openai_readers():
    chat = operation("/v1beta/openai/chat/completions")
    reader = GEMINI.operations.response_reader(chat, Facts(stream=True), 200, "text/event-stream")
    chunk = b'data: {"choices":[{"index":0,"finish_reason":"stop","delta":{}}],"usage":{"prompt_tokens":3}}\n\n'
    assert read_event(reader, [chunk])[0] == Usage(3, finish_reason="stop")


# Errors

REFUSAL = Refusal(429, "too_many_calls", "Slow down; try again soon.", retry_after=9)


def response(status, body, headers):
    return httpx.Response(status, content=body, headers=headers)


def test_an_error_raises_its_message_in_the_sdk():
    body, headers = GEMINI.operations.error_response(REFUSAL, "id-1")
    with pytest.raises(errors.ClientError, match="Slow down; try again soon") as raised:
        errors.APIError.raise_for_response(response(429, body, headers))
    assert (raised.value.code, raised.value.status) == (429, "RESOURCE_EXHAUSTED")
    assert headers["retry-after"] == "9"
    assert headers["content-type"].startswith("application/json")


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (400, "INVALID_ARGUMENT"),
        (401, "UNAUTHENTICATED"),
        (403, "PERMISSION_DENIED"),
        (413, "INVALID_ARGUMENT"),
        (421, "INVALID_ARGUMENT"),
        (503, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
        (599, "INTERNAL"),
    ],
)
def test_statuses_have_googles_names(status, word):
    body, headers = GEMINI.operations.error_response(Refusal(status, "code", "m"), "id")
    assert json.loads(body)["error"]["status"] == word
    assert "retry-after" not in headers


@pytest.mark.parametrize("sent", [sse(PARTS[:1]), sse(PARTS[:1]).rstrip(), b""])
def test_an_error_in_a_stream_of_events_raises_in_the_sdk(sent):
    data = sent + GEMINI.operations.stream_error(REFUSAL, STREAM, "text/event-stream")
    stream = HttpResponse({}, response(200, data, {"content-type": "text/event-stream"}))
    chunks = list(stream.segments())
    assert chunks[-1]["error"]["message"] == REFUSAL.message
    # The SDK compares the beginning of the chunk, written again as JSON.
    assert json.dumps(chunks[-1]).startswith('{"error":')
    assert len(chunks) == (2 if sent else 1)
    assert read_event(GeminiSseReader(), [data])[2] == "RESOURCE_EXHAUSTED"


def test_an_error_in_an_array_is_its_last_element():
    sent = array(PARTS[:1]).rstrip(b"]\n")
    data = sent + GEMINI.operations.stream_error(REFUSAL, STREAM, "application/json")
    assert json.loads(data)[-1]["error"]["code"] == 429
    assert read_event(GeminiArrayReader(), [data])[2] == "RESOURCE_EXHAUSTED"


def test_nothing_is_appended_to_a_response_that_is_not_a_stream():
    assert GEMINI.operations.stream_error(REFUSAL, GENERATE, "application/json") == b""


def test_an_error_in_an_openai_stream_has_openais_shape():
    chat = operation("/v1beta/openai/chat/completions")
    assert b'data: {"error":' in GEMINI.operations.stream_error(REFUSAL, chat, "text/event-stream")


def test_the_key_is_set_in_googles_header():
    assert GEMINI.credentials.header("k", f"{PATH}:generateContent") == ("x-goog-api-key", "k")


def test_the_openai_endpoints_take_the_key_as_openai_does():
    for path in ("/v1beta/openai/chat/completions", "/v1beta/openai/models"):
        assert GEMINI.credentials.header("k", path) == ("authorization", "Bearer k")


NAMED = "/v1beta/models/gemini-2.5-pro"
WRITTEN = [
    (f"{NAMED}?temperature=0.7:generateContent", "gemini-2.5-pro?temperature=0.7", ""),
    (
        f"{NAMED}?temperature=0.7&top_p=1:streamGenerateContent?alt=sse",
        "gemini-2.5-pro?temperature=0.7&top_p=1",
        "alt=sse",
    ),
    (f"{NAMED}%3Ftemperature%3D0.7:generateContent", "gemini-2.5-pro?temperature=0.7", ""),
    (
        "/v1beta/models/gemini:gemini-2.5-pro%3Ftemperature%3D0.7%26top_p%3D1:generateContent",
        "gemini:gemini-2.5-pro?temperature=0.7&top_p=1",
        "",
    ),
    ("/v1beta/models/gemini:gemini-2.5-pro:countTokens", "gemini:gemini-2.5-pro", ""),
    ("/v1/models/gemini:gemini-2.5-pro?seed=1:generateContent?x=y", "gemini:gemini-2.5-pro?seed=1", "x=y"),
    (f"{NAMED}:generateContent?alt=sse", "gemini-2.5-pro", "alt=sse"),
    ("/v1beta/models/openai:gpt-4o:generateContent", "openai:gpt-4o", ""),
    ("/v1beta/models/gemini-cli-acp:google/gemini-3:countTokens", "gemini-cli-acp:google/gemini-3", ""),
    ("/v1beta/models/gemini-cli-acp%3Agoogle/gemini-3:generateContent", "gemini-cli-acp:google/gemini-3", ""),
    ("/v1beta/models/gemini%3Agoogle%2Fgemini-3%3Fseed%3D1:generateContent", "gemini:google/gemini-3?seed=1", ""),
]


@pytest.mark.parametrize(("target", "model", "query"), WRITTEN)
def test_a_model_of_a_path_may_have_a_provider_and_parameters(target, model, query):
    plain = GEMINI.operations.plain_target(target)
    path, _, rest = plain.partition("?")
    found = GEMINI.operations.match_operation("POST", path, {})
    assert (found.model, rest) == (model, query)
    assert GEMINI.operations.plain_target(plain) == plain


@pytest.mark.parametrize(
    "target",
    [
        f"{NAMED}?temperature=0.7:generatecontent",
        f"{NAMED}?temperature=0.7:generateContent:x",
        f"{NAMED}?a?b:generateContent",
        f"{NAMED}?..%2F:generateContent",
        f"{NAMED}?temperature=0.7:batchGenerateContent",
        "/v1beta/models/elsewhere:gpt-4o:generateContent",
        "/v1beta/models/gemini:other/gemini-2.5-pro:generateContent",
        "/v1beta/models/a/b?temperature=1:generateContent",
    ],
)
def test_no_other_query_becomes_part_of_a_name(target):
    assert GEMINI.operations.plain_target(target) == target
    found = GEMINI.operations.match_operation("POST", target.partition("?")[0], {})
    assert found is None or found.kind is not Kind.INFERENCE
