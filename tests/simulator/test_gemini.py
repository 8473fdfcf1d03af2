import json

import pytest
from google.genai.types import File, GenerateContentResponse

from tests.simulator.requests import request
from wirekey_simulator.behaviour import parse_behaviour
from wirekey_simulator.exchange import BadRequest
from wirekey_simulator.gemini import check_credentials, failure, respond
from wirekey_simulator.state import State
from wirekey_simulator.text import TEXT

ASK = {"contents": [{"role": "user", "parts": [{"text": "Say hello"}]}]}
SCHEMA = {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}}
ASK_TOOL = {
    "contents": [{"parts": [{"text": "Call a tool"}]}],
    "tools": [{"functionDeclarations": [{"name": "weather", "parameters": SCHEMA}]}],
}
ASK_THOUGHTS = ASK | {"generationConfig": {"thinkingConfig": {"includeThoughts": True}}}
MODEL = "/v1beta/models/gemini-2.5-flash"
COUNTS = "input-tokens=100, cached-tokens=60, tokens=30, reasoning-tokens=10"


def ask(action, body=ASK, behaviour="", *, method="POST", state=None, headers=None):
    path = action if action.startswith("/") else f"{MODEL}:{action}"
    return respond(request(method, path, body, headers), parse_behaviour(behaviour), state or State())


def get(path, body=None, method="GET", **more):
    return json.loads(ask(path, body, method=method, **more).body)


def sse_events(made):
    pieces = [piece.decode() for piece in made.pieces]
    assert all(piece.startswith("data: ") and piece.endswith("\n\n") for piece in pieces)
    return [json.loads(piece[6:]) for piece in pieces]


def array(made):
    return json.loads(b"".join(made.pieces))


def said(responses):
    return "".join(part.get("text", "") for one in responses for part in one["candidates"][0]["content"]["parts"])


def test_a_plain_response_is_a_response_of_the_sdk():
    made = json.loads(ask("generateContent").body)
    response = GenerateContentResponse.model_validate(made)
    assert response.text == TEXT
    assert response.candidates[0].finish_reason.value == "STOP"
    assert response.model_version == "gemini-2.5-flash"


@pytest.mark.parametrize(
    ("action", "read"), [("streamGenerateContent?alt=sse", sse_events), ("streamGenerateContent", array)]
)
@pytest.mark.parametrize("asked", [ASK, ASK_TOOL, ASK_THOUGHTS])
def test_a_stream_has_the_same_content_as_the_plain_response(action, read, asked):
    plain = json.loads(ask("generateContent", asked, COUNTS).body)
    responses = read(ask(action, asked, COUNTS))
    assert said(responses) == said([plain])
    assert responses[-1]["candidates"][0]["finishReason"] == "STOP"
    assert responses[-1]["usageMetadata"] == plain["usageMetadata"]
    assert not any("finishReason" in response["candidates"][0] for response in responses[:-1])


@pytest.mark.parametrize("events", [0, 1, 2, 20])
def test_a_stream_has_as_many_responses_as_asked_for_and_at_least_one(events):
    made = ask("streamGenerateContent?alt=sse", behaviour=f"events={events}")
    assert len(sse_events(made)) == max(1, events)


def test_an_array_is_sent_element_by_element():
    pieces = list(ask("streamGenerateContent", behaviour="events=3").pieces)
    assert [piece[:2] for piece in pieces] == [b"[{", b"\n,", b"\n,", b"\n]"]
    assert json.loads(pieces[0][1:])


@pytest.mark.parametrize("behaviour", ["events=1, no-done", "events=0, no-done"])
def test_an_array_without_its_last_element_is_still_an_array(behaviour):
    assert array(ask("streamGenerateContent", behaviour=behaviour)) == []


def test_usage_counts_cached_tokens_within_the_prompt_and_thoughts_apart_from_the_candidates():
    usage = json.loads(ask("generateContent", ASK, COUNTS).body)["usageMetadata"]
    assert (usage["promptTokenCount"], usage["cachedContentTokenCount"]) == (100, 60)
    assert (usage["candidatesTokenCount"], usage["thoughtsTokenCount"], usage["totalTokenCount"]) == (20, 10, 130)


def test_a_function_is_called_when_the_prompt_says_so():
    (part,) = json.loads(ask("generateContent", ASK_TOOL).body)["candidates"][0]["content"]["parts"]
    assert part == {"functionCall": {"name": "weather", "args": {"city": "simulated"}}}


@pytest.mark.parametrize("action", ["generateContent", "streamGenerateContent"])
def test_a_response_ends_at_the_token_limit(action):
    made = ask(action, ASK | {"generationConfig": {"maxOutputTokens": 2}})
    responses = [json.loads(made.body)] if action == "generateContent" else array(made)
    assert responses[-1]["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert responses[-1]["usageMetadata"]["candidatesTokenCount"] == 2
    assert said(responses) == "Hello from "


@pytest.mark.parametrize(
    ("action", "body", "sentence"),
    [
        ("generateContent", {}, "contents is not specified"),
        ("generateContent", {"contents": [{"parts": "x"}]}, "parts must not be empty"),
        ("generateContent", {"contents": [{"role": "system", "parts": []}]}, "valid role"),
        ("streamGenerateContent", ASK | {"stream_options": {}}, 'Unknown name "stream_options"'),
        ("countTokens", {}, "contents is not specified"),
        ("embedContent", {}, "content is not specified"),
        ("batchEmbedContents", {}, "requests is not specified"),
        ("batchEmbedContents", {"requests": [{"model": "models/other"}]}, "model must match"),
        ("/v1beta/cachedContents", {}, "model is required"),
    ],
)
def test_a_request_that_lacks_something_is_refused(action, body, sentence):
    with pytest.raises(BadRequest, match=sentence):
        ask(action, body)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", f"{MODEL}:predictWeather", 404),
        ("GET", f"{MODEL}:generateContent", 404),
        ("POST", "/v1beta/models/gpt-4o:generateContent", 404),
        ("GET", "/v1beta/models/gpt-4o", 404),
        ("GET", "/v9/models", 404),
        ("GET", "/v1beta/nothing", 404),
        ("GET", "/v1beta/files/unknown", 403),
        ("GET", "/v1beta/cachedContents/unknown", 403),
        ("POST", "/upload/v1beta/files?upload_id=unknown", 404),
        ("POST", "/upload/v1beta/other", 404),
    ],
)
def test_unknown_paths_and_things_are_refused(method, path, status):
    with pytest.raises(BadRequest) as refused:
        ask(path, method=method)
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("path", "headers", "right"),
    [
        ("/v1beta/models", {"x-goog-api-key": "good"}, True),
        ("/v1beta/models?key=good", {}, True),
        ("/v1beta/openai/models", {"Authorization": "Bearer good"}, True),
        ("/v1beta/models", {"x-goog-api-key": "bad"}, False),
        ("/v1beta/models?key=bad", {}, False),
        ("/v1beta/openai/models", {"Authorization": "Bearer bad"}, False),
        ("/upload/v1beta/files?upload_id=AbSim1", {}, True),
        ("/upload/v1beta/files?upload_id=AbSim1", {"x-goog-api-key": "bad"}, False),
    ],
)
def test_the_key_is_checked(path, headers, right):
    sentence = check_credentials(request("GET", path, None, headers), {"good"})
    assert (sentence is None) == right


@pytest.mark.parametrize("path", ["/v1beta/models", "/upload/v1beta/files", "/v1beta/openai/models"])
def test_no_key_is_403(path):
    with pytest.raises(BadRequest, match="unregistered callers") as refused:
        check_credentials(request("GET", path), None)
    assert refused.value.status == 403


def test_a_wrong_key_is_400_with_its_reason():
    error = json.loads(failure(400, "API key not valid. Please pass a valid API key.", parse_behaviour("")).body)[
        "error"
    ]
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert error["details"][0]["reason"] == "API_KEY_INVALID"


def test_a_failure_has_a_retry_after_header():
    error = json.loads(failure(429, "Quota.", parse_behaviour("retry-after=2")).body)["error"]
    assert (error["code"], error["status"], error["message"]) == (429, "RESOURCE_EXHAUSTED", "Quota.")
    assert error["details"][0]["retryDelay"] == "2s"


def test_a_failure_inside_a_stream_ends_it_well_formed():
    made = ask("streamGenerateContent", behaviour="events=2")
    assert json.loads(next(iter(made.pieces)) + made.error_piece)[-1]["error"]["status"] == "UNAVAILABLE"
    assert ask("streamGenerateContent?alt=sse").error_piece.startswith(b'data: {"error"')


@pytest.mark.parametrize("body", [ASK, {"generateContentRequest": ASK | {"model": "models/gemini-2.5-flash"}}])
def test_tokens_are_counted_without_a_response(body):
    assert json.loads(ask("countTokens", body, "input-tokens=12").body)["totalTokens"] == 12


def test_embeddings_have_the_dimensions_asked_for():
    content = {"parts": [{"text": "x"}]}
    one = json.loads(ask("embedContent", {"content": content, "outputDimensionality": 8}).body)
    assert len(one["embedding"]["values"]) == 8
    two = {"model": "models/gemini-2.5-flash", "content": content}
    assert len(json.loads(ask("batchEmbedContents", {"requests": [two, two]}).body)["embeddings"]) == 2


def test_models_are_listed_and_shown():
    listed = get("/v1beta/models")["models"]
    assert get(f"/v1beta/{listed[0]['name']}") == listed[0]


def test_a_cache_is_created_changed_and_deleted():
    state = State()
    made = get("/v1beta/cachedContents", ASK | {"model": "models/gemini-2.5-pro"}, "POST", state=state)
    path = f"/v1beta/{made['name']}"
    assert get(path, state=state) == made
    assert get("/v1beta/cachedContents", state=state) == {"cachedContents": [made]}
    assert get(path, {"ttl": "60s"}, "PATCH", state=state)["ttl"] == "60s"
    assert get(path, method="DELETE", state=state) == {}
    assert get("/v1beta/cachedContents", state=state) == {}


START = {
    "X-Goog-Upload-Protocol": "resumable",
    "X-Goog-Upload-Command": "start",
    "X-Goog-Upload-Header-Content-Type": "text/plain",
}


def begin(state):
    made = ask("/upload/v1beta/files", {"file": {"displayName": "a"}}, state=state, headers=START)
    return dict(made.headers)["x-goog-upload-url"].removeprefix("https://localhost")


def send(url, content, command, offset, state):
    headers = {"X-Goog-Upload-Command": command, "X-Goog-Upload-Offset": str(offset)}
    return ask(url, content, state=state, headers=headers)


def test_a_file_is_uploaded_in_one_request_and_found_again():
    state = State()
    file = json.loads(send(begin(state), b"hello", "upload, finalize", 0, state).body)["file"]
    assert File.model_validate(file).size_bytes == 5
    assert get(f"/v1beta/{file['name']}", state=state) == file
    assert get("/v1beta/files", state=state) == {"files": [file]}
    assert get(f"/v1beta/{file['name']}", method="DELETE", state=state) == {}


def test_a_file_is_uploaded_in_pieces_at_the_right_offsets():
    state = State()
    url = begin(state)
    assert dict(send(url, b"hel", "upload", 0, state).headers)["x-goog-upload-status"] == "active"
    with pytest.raises(BadRequest, match="Offset must be 3"):
        send(url, b"lo", "upload, finalize", 0, state)
    asked = send(url, b"", "query", 0, state)
    assert dict(asked.headers)["x-goog-upload-size-received"] == "3"
    last = send(url, b"lo", "upload, finalize", 3, state)
    assert dict(last.headers)["x-goog-upload-status"] == "final"
    with pytest.raises(BadRequest, match="already"):
        send(url, b"", "upload, finalize", 5, state)


def test_an_upload_begins_with_its_protocol_and_command():
    with pytest.raises(BadRequest, match="resumable"):
        ask("/upload/v1beta/files", {}, headers={"X-Goog-Upload-Header-Content-Type": "text/plain"})


@pytest.mark.parametrize(
    "script", ["Call a tool", 'simulated-session: [{"tool": "weather", "input": {}}]'], ids=["any", "scripted"]
)
def test_a_model_that_demands_a_signature_signs_its_first_call_also_without_a_thought(script):
    body = ASK_TOOL | {"contents": [{"role": "user", "parts": [{"text": script}]}]}
    for model, signs in (("gemini-3-pro-preview", True), ("gemini-2.5-flash", False)):
        said = json.loads(ask(f"/v1beta/models/{model}:generateContent", body).body)["candidates"][0]["content"]
        assert ("thoughtSignature" in said["parts"][-1]) is signs
        results = {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": {"output": "1"}}}]}
        answered = body | {"contents": [*body["contents"], said, results]}
        assert ask(f"/v1beta/models/{model}:generateContent", answered).status == 200
