"""Programs with a base_url: no proxy setting, no CA, an agent's token as the key; each SDK as it is."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json

import anthropic
import boto3
import httpx
import openai
import pytest
from botocore.config import Config
from google import genai

from tests.support.own_simulator import simulator, since
from tests.support.running import PROVIDER_KEYS, wirekey_behind
from wirekey.providers.registry import PROVIDERS

__all__ = ["simulator", "since"]

QUESTION = [{"role": "user", "content": "Say hello."}]
LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": "127.0.0.1:0"}


@pytest.fixture(scope="module")
def wirekey(tmp_path_factory, simulator):
    with wirekey_behind(tmp_path_factory.mktemp("wirekey"), simulator, listen=LISTEN) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def base(wirekey):
    return f"http://{wirekey.running.gateway}"


@pytest.fixture(scope="module")
def token(wirekey):
    return wirekey.add_agent("alice")


@pytest.fixture
def openai_client(base, token):
    with openai.OpenAI(api_key=token, base_url=base + "/v1", max_retries=0) as client:
        yield client


@pytest.mark.parametrize("root", ["/v1", "/api/v1/openai/v1"])
def test_openai(base, token, root, wirekey, since):
    with openai.OpenAI(api_key=token, base_url=base + root, max_retries=0) as client:
        response = client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION)
        assert response.choices[0].message.content
        chunks = list(client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION, stream=True))
        assert len(chunks) > 2
        assert client.embeddings.create(model="text-embedding-3-small", input="hello").data
        assert client.responses.create(model="gpt-4o-mini", input="hello").output_text
    events = wirekey.finished_events(4, since)
    assert {(event["agent_id"], event["provider"], event["outcome"]) for event in events} == {
        ("alice", "openai", "completed")
    }
    assert (events[0]["path"], events[0]["target"]) == ("/v1/chat/completions", "/openai/v1/chat/completions")
    assert all(event["input_tokens"] for event in events)


@pytest.mark.parametrize("root", ["", "/api/v1/gemini"])
def test_gemini(base, token, root, wirekey, since):
    client = genai.Client(api_key=token, http_options={"base_url": base + root})
    assert client.models.generate_content(model="gemini-2.5-flash", contents="hello").text
    assert len(list(client.models.generate_content_stream(model="gemini-2.5-flash", contents="hello"))) > 1
    for event in wirekey.finished_events(2, since):
        assert (event["agent_id"], event["provider"], event["outcome"]) == ("alice", "gemini", "completed")


def test_a_gemini_upload_starts_and_continues_at_the_gateway(base, token, wirekey, since, tmp_path):
    path = tmp_path / "note.txt"
    path.write_text("a note")
    client = genai.Client(api_key=token, http_options={"base_url": base})
    assert client.files.upload(file=path).name
    for event in wirekey.finished_events(2, since):
        assert (event["agent_id"], event["operation"], event["outcome"]) == ("alice", "upload", "completed")


@pytest.mark.parametrize("root", ["", "/api/v1/anthropic"])
def test_anthropic(base, token, root, wirekey, since):
    with anthropic.Anthropic(api_key=token, base_url=base + root, max_retries=0) as client:
        asked = {"model": "claude-sonnet-4-5", "max_tokens": 64, "messages": QUESTION}
        assert client.messages.create(**asked).content
        with client.messages.stream(**asked) as stream:
            assert stream.get_final_message().content
        assert client.models.list().data
    for event in wirekey.finished_events(3, since):
        assert (event["agent_id"], event["provider"], event["outcome"]) == ("alice", "anthropic", "completed")


@pytest.mark.parametrize("root", ["", "/api/v1/bedrock"])
@pytest.mark.parametrize("model", ["anthropic.claude-3-5-sonnet-20241022-v2:0", "us.amazon.nova-pro-v1:0"])
@pytest.mark.usefixtures("token")
def test_boto3_with_the_agents_own_pair(base, root, model, wirekey, since):
    pair = wirekey.agents.pair("alice")
    client = boto3.client(
        "bedrock-runtime",
        endpoint_url=base + root,
        region_name="us-east-1",
        aws_access_key_id=pair.access_key,
        aws_secret_access_key=pair.secret.reveal(),
        config=Config(retries={"total_max_attempts": 1}),
    )
    messages = [{"role": "user", "content": [{"text": "hello"}]}]
    assert client.converse(modelId=model, messages=messages)["output"]
    assert list(client.converse_stream(modelId=model, messages=messages)["stream"])
    for event in wirekey.finished_events(2, since):
        assert (event["agent_id"], event["requested_model"], event["outcome"]) == ("alice", model, "completed")


@pytest.mark.parametrize("stream", [False, True])
def test_openai_clients_reach_gemini_models_at_googles_openai_endpoint(
    openai_client, stream, wirekey, simulator, since
):
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    asked = {"model": "gemini-2.5-flash", "messages": QUESTION, "tools": tools}
    response = openai_client.chat.completions.create(**asked, stream=stream)
    assert list(response) if stream else response.choices
    event = wirekey.finished_event(since)
    assert (event["provider"], event["operation"], event["path"], event["target"]) == (
        "gemini",
        "chat.completions",
        "/v1beta/openai/chat/completions",
        "/gemini/v1beta/openai/chat/completions",
    )
    assert (event["tool_count"], event["outcome"]) == (1, "completed")
    assert stream or event["input_tokens"]
    assert f"Bearer {PROVIDER_KEYS['gemini']}".encode() in dict(simulator.seen[-1].headers).values()


def test_the_gateway_accepts_http2_with_prior_knowledge(base, token, wirekey, since):
    with httpx.Client(http1=False, http2=True, base_url=base) as client:
        body = {"model": "gpt-4o-mini", "messages": QUESTION}
        response = client.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {token}"})
    assert (response.http_version, response.status_code) == ("HTTP/2", 200)
    assert wirekey.finished_event(since)["outcome"] == "completed"


def test_local_endpoints_respond_at_the_gateway(base, wirekey, since):
    made = wirekey.agents.add_client("bob")
    with httpx.Client(base_url=base) as client:
        assert client.get("/health").json() == {"status": "ok"}
        assert client.head("/health").status_code == 200
        assert client.get("/ready").status_code == 200
        asked = {
            "client_id": made.client_id,
            "client_secret": made.client_secret.reveal(),
            "grant_type": "client_credentials",
        }
        token = client.post("/api/v1/auth/token", json=asked).json()["access_token"]
        assert client.post("/api/v1/auth/token", content=b"x" * 100_000).status_code == 413
    with httpx.Client(base_url=base, http1=False, http2=True) as client:
        assert client.post("/api/v1/auth/token", content=iter([b"x" * 50_000] * 100)).status_code == 413
    with httpx.Client(base_url=base) as client:
        body = {"model": "gpt-4o-mini", "messages": QUESTION}
        response = client.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {token}"})
    assert response.status_code == 200
    assert wirekey.finished_event(since)["agent_id"] == "bob"
    assert token not in wirekey.output.read_text()


def test_the_root_says_what_runs(base, wirekey, since):
    response = httpx.get(base)
    assert response.status_code == 200
    assert response.json() == {
        "name": "wirekey",
        "status": "ok",
        "simulated": False,
        "base_urls": ["/v1", "/v1beta", "/model", *(f"/api/v1/{name}" for name in PROVIDERS)],
    }
    assert httpx.head(base).status_code == 200
    assert httpx.post(base, json={}).status_code == 405


ALT = "$alt=json;enum-encoding=int"


@pytest.mark.parametrize("query", [ALT, ALT.replace("$", "%24"), ALT.replace("$", "%24").replace(";", "%3B")])
def test_the_query_of_googles_generated_clients_is_json(base, token, query, wirekey, since):
    headers = {"x-goog-api-key": token}
    with contextlib.closing(http.client.HTTPConnection(base.removeprefix("http://"))) as connection:
        body = json.dumps({"content": {"parts": [{"text": "x"}]}})
        path = f"/v1beta/models/text-embedding-004:embedContent?{query}"
        connection.request("POST", path, body, headers | {"content-type": "application/json"})
        response = connection.getresponse()
        assert response.status == 200, response.read()
        assert json.loads(response.read())["embedding"]
    event = wirekey.finished_event(since)
    assert (event["operation"], event["requested_model"]) == ("embedContent", "text-embedding-004")


@pytest.mark.parametrize("declared", ["application/x-amz-json-1.1", "text/plain", "application/octet-stream", None])
@pytest.mark.parametrize("action", ["converse", "invoke"])
def test_bedrock_gets_the_content_type_that_the_client_declares(base, token, action, declared, simulator):
    simulator.forget()
    bodies = {
        "converse": {"messages": [{"role": "user", "content": [{"text": "x"}]}]},
        "invoke": {"messages": [{"role": "user", "content": [{"text": "x"}]}]},
    }
    with contextlib.closing(http.client.HTTPConnection(base.removeprefix("http://"))) as connection:
        headers = {"authorization": f"Bearer {token}"} | ({"content-type": declared} if declared else {})
        path = f"/model/amazon.nova-lite-v1:0/{action}"
        connection.request("POST", path, json.dumps(bodies[action]), headers)
        response = connection.getresponse()
        assert response.status == 200, response.read()
    (seen,) = simulator.seen
    arrived = {name.lower(): value.decode() for name, value in seen.headers}
    assert arrived.get(b"content-type") == declared


@pytest.mark.parametrize("declared", ["text/plain", "application/x-amz-json-1.1", "application/x-www-form-urlencoded"])
def test_a_body_of_another_provider_must_be_declared_as_json(base, token, declared):
    headers = {"authorization": f"Bearer {token}", "content-type": declared}
    body = json.dumps({"model": "gpt-4o-mini", "messages": QUESTION})
    assert httpx.post(f"{base}/v1/chat/completions", content=body, headers=headers).status_code == 400


REFUSED = [
    ("POST", "/api/v1/openai", 404, "no_such_path"),
    ("POST", "/api/v1/nobody/v1/x", 404, "no_such_path"),
    ("POST", "/api/v1/openai/v1/../../admin", 404, "unknown_operation"),
    ("POST", "/api/v1/openai//v1/chat/completions", 404, "unknown_operation"),
    ("POST", "/api/v1/openai/%2e%2e/v1/chat/completions", 404, "unknown_operation"),
    ("POST", "/api/v1/bedrock/@evil.example/model/x/converse", 404, "unknown_operation"),
    ("POST", "/v1/chat/completions", 401, "no_agent"),
]


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row[1])
def test_a_request_without_a_destination_is_refused_and_recorded(base, token, row, wirekey, since):
    method, path, status, code = row
    headers = {"authorization": f"Bearer {token}"} if status == 404 else {}
    with contextlib.closing(http.client.HTTPConnection(base.removeprefix("http://"))) as connection:
        connection.request(method, path, b"{}", headers | {"content-type": "application/json"})
        response = connection.getresponse()
        assert response.status == status
    event = wirekey.finished_event(since)
    assert (event["outcome"], event["policy_result"]) == ("denied", "deny")
    assert event["policy_reason"].startswith(code)


@pytest.mark.parametrize("region", ["eu-west-1", "us-east-1.evil.example/", "x", "us-east-1#"])
def test_D4_no_host_is_built_of_a_region_that_the_client_names(base, region, wirekey, simulator, since):
    simulator.forget()
    response = httpx.post(
        f"{base}/model/us.amazon.nova-pro-v1:0/converse",
        json={"messages": []},
        headers={"x-aws-region": region, "x-aws-bearer-token": "k"},
    )
    assert response.status_code in (400, 403)
    assert simulator.seen == []
    assert wirekey.finished_event(since)["outcome"] == "denied"


def test_errors_come_in_the_shape_that_raises_the_sdks_exception(base):
    with pytest.raises(openai.AuthenticationError, match="has no agent token"):
        openai.OpenAI(api_key="sk-not-ours", base_url=base + "/v1", max_retries=0).models.list()
    with pytest.raises(anthropic.AuthenticationError, match="has no agent token"):
        anthropic.Anthropic(api_key="sk-not-ours", base_url=base, max_retries=0).messages.create(
            model="m", max_tokens=1, messages=QUESTION
        )
    client = genai.Client(api_key="AIza", http_options={"base_url": base})
    with pytest.raises(genai.errors.ClientError, match="has no agent token"):
        client.models.generate_content(model="m", contents="x")


def test_no_key_is_in_any_written_file(wirekey):
    written = wirekey.output.read_bytes() + json.dumps(wirekey.events()).encode()
    for key in PROVIDER_KEYS.values():
        assert key.encode() not in written


@pytest.mark.parametrize(
    "written", ["gemini-2.5-flash?temperature=0.25", "gemini-2.5-flash%3Ftemperature%3D0.25", "gemini:gemini-2.5-flash"]
)
@pytest.mark.parametrize("action", ["generateContent", "streamGenerateContent?alt=sse"])
def test_a_model_of_a_gemini_path_may_have_parameters(base, token, simulator, wirekey, since, written, action):  # noqa: PLR0917  # fixtures
    simulator.forget()
    with contextlib.closing(http.client.HTTPConnection(base.removeprefix("http://"))) as connection:
        body = json.dumps({"contents": [{"parts": [{"text": "x"}]}]})
        headers = {"x-goog-api-key": token, "content-type": "application/json"}
        connection.request("POST", f"/v1beta/models/{written}:{action}", body, headers)
        response = connection.getresponse()
        assert (response.status, bool(response.read())) == (200, True)
    (seen,) = simulator.seen
    assert seen.target == f"/v1beta/models/gemini-2.5-flash:{action}"
    sent = body if "temperature" not in written else '{"generationConfig":{"temperature":0.25},' + body[1:]
    assert seen.sha256 == hashlib.sha256(sent.encode()).hexdigest()
    event = wirekey.finished_event(since)
    assert (event["requested_model"], event["path"]) == ("gemini-2.5-flash", seen.target.partition("?")[0])


def test_gemini_settings_of_an_openai_program_reach_gemini_where_it_reads_them(base, token, simulator):
    simulator.forget()
    rest = json.dumps({"model": "gemini-2.5-flash", "messages": QUESTION})[1:]
    response = httpx.post(
        f"{base}/v1/chat/completions",
        content='{"gemini_cached_content":"cachedContents/c1",' + rest,
        headers={"authorization": f"Bearer {token}", "content-type": "application/json"},
    )
    assert response.status_code == 200, response.text
    (seen,) = simulator.seen
    written = '{"extra_body":{"google":{"cached_content":"cachedContents/c1"}},' + rest
    assert (seen.provider, seen.sha256) == ("gemini", hashlib.sha256(written.encode()).hexdigest())
