"""Vertex AI with the SDKs of Google and Anthropic, through the proxy and the gateway."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import threading

import anthropic
import httpx
import openai
import pytest
from anthropic import AnthropicVertex
from google import genai
from google.genai import errors, types
from google.oauth2.credentials import Credentials

from tests.features.vertex.vertex_simulator import simulator, tokens
from tests.support.google import stand_ins
from tests.support.running import KEY_ENVIRONMENT, Wirekey, behind, wait_for, wirekey_behind
from tests.support.sessions import PNG
from wirekey.core.call import new_call_id
from wirekey_simulator.text import TEXT

__all__ = ["simulator", "tokens"]

GEMINI, CLAUDE = "gemini-2.5-flash", "claude-sonnet-4-5@20250929"
SCRIPT = 'simulated-session: [{"tool": "weather", "input": {"city": "Rome"}}]'
LOCATION = "europe-west4"
AT = f"/projects/my-project/locations/{LOCATION}"
MESSAGES = [{"role": "user", "content": "Say hello."}]
REGO = """
package wirekey.authz
default allow := true
deny contains "no opus" if {
    input.provider == "vertex"
    startswith(input.model, "claude-opus")
}
"""


def configuration(simulator, folder, **vertex):
    (folder / "policies").mkdir()
    (folder / "policies" / "policy.rego").write_text(REGO)
    settings = behind(simulator, listen={"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None})
    settings["policy"] = {"path": str(folder / "policies")}
    settings["providers"]["vertex"] = {"locations": [LOCATION, "global", "us"], "upstream_url": simulator.url, **vertex}
    return settings


@pytest.fixture(scope="module")
def served(tmp_path_factory, simulator, tokens):
    folder = tmp_path_factory.mktemp("wirekey")
    (folder / "account.json").write_text(tokens.service_account())
    (folder / "account.json").chmod(0o600)
    settings = configuration(simulator, folder, credentials="account.json")
    running = Wirekey(folder, settings, environ=KEY_ENVIRONMENT)
    running.token = running.add_agent("alice", role="engineer")
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def nothing_yet(simulator):
    simulator.forget()


class Way:
    """How a program reaches Vertex AI: by Google's hosts through the proxy, or by the gateway."""

    def __init__(self, served, name):
        self.served, self.name = served, name
        self.clients = []
        """Clients of Google's SDK close when they are collected."""

    def url(self, location=LOCATION):
        if self.name == "gateway":
            return f"http://{self.served.running.gateway}/api/v1/vertex"
        return {
            "global": "https://aiplatform.googleapis.com",
            "us": "https://aiplatform.us.rep.googleapis.com",
        }.get(location, f"https://{location}-aiplatform.googleapis.com")

    def options(self):
        if self.name == "gateway":
            return {"trust_env": False, "timeout": 60}
        trusted = ssl.create_default_context(cafile=self.served.root)
        proxy = self.served.proxy_url("alice", self.served.token)
        return {"proxy": proxy, "verify": trusted, "trust_env": False, "timeout": 60}

    def genai(self, location=LOCATION, project="my-project"):
        client = genai.Client(
            vertexai=True,
            project=project,
            location=location,
            credentials=Credentials(self.served.token),
            http_options=types.HttpOptions(base_url=self.url(location), client_args=self.options()),
        )
        self.clients.append(client)
        return client

    def claude(self, location=LOCATION):
        return AnthropicVertex(
            region=location,
            project_id="my-project",
            access_token=self.served.token,
            base_url=f"{self.url(location)}/v1",
            max_retries=0,
            http_client=anthropic.DefaultHttpxClient(**self.options()),
        )


@pytest.fixture(params=["proxy", "gateway"])
def way(request, served):
    return Way(served, request.param)


def sent(simulator):
    """The only request that reached the simulator: its target and its credentials."""
    (seen,) = simulator.seen
    headers = {name.decode().lower(): value.decode() for name, value in seen.headers}
    return seen.target, headers.get("authorization", "").removeprefix("Bearer "), headers


def test_googles_sdk_gets_a_response_of_gemini(way, served, simulator, tokens):
    began = new_call_id()
    response = way.genai().models.generate_content(model=GEMINI, contents="Say hello.")
    assert response.text
    target, token, _ = sent(simulator)
    assert target == f"/v1beta1{AT}/publishers/google/models/{GEMINI}:generateContent"
    assert token in tokens.issued
    event = served.finished_event(began)
    assert (event["provider"], event["operation"], event["model"]) == ("vertex", "generateContent", GEMINI)
    assert (event["credential"], event["outcome"]) == ("vertex/default", "completed")
    assert event["input_tokens"] == response.usage_metadata.prompt_token_count
    assert event["cost_usd"] > 0


def test_googles_sdk_streams_and_calls_tools(way, served, simulator):
    declared = types.FunctionDeclaration(
        name="weather", parameters_json_schema={"type": "object", "properties": {"city": {"type": "string"}}}
    )
    config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[declared])])
    began = new_call_id()
    stream = way.genai().models.generate_content_stream(model=GEMINI, contents=SCRIPT, config=config)
    assert [call.name for chunk in stream for call in chunk.function_calls or ()] == ["weather"]
    event = served.finished_event(began)
    assert (event["operation"], event["stream"], event["tool_count"]) == ("streamGenerateContent", 1, 1)
    assert event["output_tokens"] > 0


def test_googles_sdk_counts_tokens(way, served, simulator):
    assert way.genai().models.count_tokens(model=GEMINI, contents="Say hello.").total_tokens > 0


def test_anthropics_sdk_gets_a_message_of_claude(way, served, simulator, tokens):
    began = new_call_id()
    response = way.claude().messages.create(model=CLAUDE, max_tokens=50, messages=MESSAGES)
    assert response.content[0].text
    target, token, _ = sent(simulator)
    assert target == f"/v1{AT}/publishers/anthropic/models/{CLAUDE}:rawPredict"
    assert token in tokens.issued
    event = served.finished_event(began)
    assert (event["provider"], event["operation"], event["model"]) == ("vertex", "rawPredict", CLAUDE)
    assert (event["input_tokens"], event["max_tokens"]) == (response.usage.input_tokens, 50)
    assert event["cost_usd"] > 0


def test_anthropics_sdk_streams_and_calls_tools(way, served, simulator):
    tool = {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
    began = new_call_id()
    with way.claude().messages.stream(
        model=CLAUDE, max_tokens=50, messages=[{"role": "user", "content": SCRIPT}], tools=[tool]
    ) as stream:
        response = stream.get_final_message()
    assert [block.name for block in response.content if block.type == "tool_use"] == ["weather"]
    event = served.finished_event(began)
    assert (event["operation"], event["stream"], event["tool_count"]) == ("streamRawPredict", 1, 1)
    assert (event["finish_reason"], event["outcome"]) == ("tool_use", "completed")


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_each_sdk_sends_tools_and_images(served, simulator, stream):
    """In one request. The simulated model calls the tool that its script names."""
    way, picture = Way(served, "gateway"), base64.b64encode(PNG).decode()
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    declared = types.FunctionDeclaration(name="weather", parameters_json_schema=schema)
    asked = {
        "model": GEMINI,
        "contents": [SCRIPT, types.Part.from_bytes(data=PNG, mime_type="image/png")],
        "config": types.GenerateContentConfig(tools=[types.Tool(function_declarations=[declared])]),
    }
    models = way.genai().models
    found = list(models.generate_content_stream(**asked)) if stream else [models.generate_content(**asked)]
    assert [call.name for chunk in found for call in chunk.function_calls or ()] == ["weather"]

    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": picture}}
    message = {"role": "user", "content": [image, {"type": "text", "text": SCRIPT}]}
    asked = {"model": CLAUDE, "max_tokens": 50, "messages": [message]}
    asked["tools"] = [{"name": "weather", "input_schema": schema}]
    if stream:
        with way.claude().messages.stream(**asked) as events:
            made = events.get_final_message()
    else:
        made = way.claude().messages.create(**asked)
    assert [block.name for block in made.content if block.type == "tool_use"] == ["weather"]

    parts = [{"type": "text", "text": SCRIPT}]
    parts.append({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}})
    chats = openai.OpenAI(base_url=f"{way.url()}/v1{AT}/endpoints/openapi", api_key=served.token).chat.completions
    tool = {"type": "function", "function": {"name": "weather", "parameters": schema}}
    asked = {"model": f"google/{GEMINI}", "messages": [{"role": "user", "content": parts}], "tools": [tool]}
    if stream:
        choices = [choice for chunk in chats.create(**asked, stream=True) for choice in chunk.choices]
        calls = [call for choice in choices for call in choice.delta.tool_calls or ()]
    else:
        calls = chats.create(**asked).choices[0].message.tool_calls
    assert [call.function.name for call in calls if call.function.name] == ["weather"]
    assert len(simulator.seen) == 3
    # Google's SDK writes the other alphabet of base64.
    assert all(picture.encode() in seen.body.replace(b"-", b"+").replace(b"_", b"/") for seen in simulator.seen)


@pytest.mark.parametrize("asks", [False, True], ids=["not asked", "asked"])
def test_a_streamed_chat_has_its_token_counts_recorded_and_the_client_gets_those_it_asked_for(way, served, asks):
    wanted = {"stream_options": {"include_usage": True}} if asks else {}
    base_url = f"{way.url()}/v1{AT}/endpoints/openapi"
    client = openai.OpenAI(
        base_url=base_url, api_key=served.token, max_retries=0, http_client=httpx.Client(**way.options())
    )
    began = new_call_id()
    asked = {"model": f"google/{GEMINI}", "messages": MESSAGES, "stream": True, **wanted}
    chunks = list(client.chat.completions.create(**asked))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TEXT
    assert [chunk.usage is not None for chunk in chunks] == [asks] * len(chunks)
    event = served.finished_event(began)
    assert event["outcome"] == "completed"
    assert event["input_tokens"] > 1
    assert event["output_tokens"] > 1
    if asks:
        assert event["input_tokens"] == chunks[-1].usage.prompt_tokens


def test_real_curl_calls_gemini_and_claude(served, simulator):
    base = f"http://{served.running.gateway}/api/v1/vertex/v1{AT}/publishers"
    contents = {"contents": [{"role": "user", "parts": [{"text": "Say hello."}]}]}
    message = {"anthropic_version": "vertex-2023-10-16", "max_tokens": 5, "messages": MESSAGES, "stream": True}
    for path, body, expected in (
        (f"google/models/{GEMINI}:streamGenerateContent?alt=sse", contents, b'"finishReason"'),
        (f"anthropic/models/{CLAUDE}:streamRawPredict", message, b"event: message_stop"),
    ):
        command = ["curl", "-sS", "--fail-with-body", "--noproxy", "*", f"{base}/{path}", "--json", json.dumps(body)]
        command += ["-H", f"authorization: Bearer {served.token}"]
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout
        assert expected in done.stdout


def test_anthropics_sdk_counts_tokens(way, served, simulator):
    began = new_call_id()
    assert way.claude().messages.count_tokens(model=CLAUDE, messages=MESSAGES).input_tokens > 0
    assert served.finished_event(began)["requested_model"] == CLAUDE


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_openais_sdk_at_the_compatible_endpoint(way, served, simulator, stream):
    began = new_call_id()
    client = openai.OpenAI(
        base_url=f"{way.url()}/v1{AT}/endpoints/openapi",
        api_key=served.token,
        max_retries=0,
        http_client=httpx.Client(**way.options()),
    )
    response = client.chat.completions.create(model=f"google/{GEMINI}", messages=MESSAGES, stream=stream)
    if stream:
        assert "".join(chunk.choices[0].delta.content or "" for chunk in response if chunk.choices)
    event = served.finished_event(began)
    assert (event["provider"], event["operation"]) == ("vertex", "chat.completions")
    assert event["model"] == f"google/{GEMINI}"


@pytest.mark.parametrize("location", ["global", "us"])
def test_each_location_has_its_host(way, served, simulator, location):
    assert way.claude(location).messages.create(model=CLAUDE, max_tokens=50, messages=MESSAGES).content
    assert f"/locations/{location}/" in sent(simulator)[0]


def test_a_policy_decides_by_provider_and_model(served, simulator):
    way = Way(served, "proxy")
    with pytest.raises(anthropic.PermissionDeniedError, match="no opus"):
        way.claude().messages.create(model="claude-opus-4-5", max_tokens=50, messages=MESSAGES)
    assert simulator.seen == []


def test_another_project_is_not_called(served, simulator):
    way = Way(served, "proxy")
    with pytest.raises(errors.ClientError, match=r"providers\.vertex\.projects"):
        way.genai(project="another-project").models.generate_content(model=GEMINI, contents="x")
    assert simulator.seen == []


def test_a_location_that_is_not_configured_is_refused_at_the_gateway(served, simulator):
    way = Way(served, "gateway")
    with pytest.raises(errors.ClientError, match="location"):
        way.genai("asia-east1").models.generate_content(model=GEMINI, contents="x")
    assert simulator.seen == []


def test_a_path_must_belong_to_the_host_that_is_called(served, simulator):
    way = Way(served, "proxy")
    with httpx.Client(**way.options()) as client:
        url = f"{way.url('global')}/v1{AT}/publishers/google/models/{GEMINI}:generateContent"
        response = client.post(url, json={"contents": []})
    assert (response.status_code, simulator.seen) == (421, [])
    assert "europe-west4-aiplatform.googleapis.com" in response.json()["error"]["message"]


MALFORMED = {
    "a stream that the path does not name": ("rawPredict", {"stream": True}),
    "another model in the body": ("rawPredict", {"model": "claude-haiku-4-5"}),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_an_ambiguous_request_for_claude_is_refused(served, simulator, what):
    action, more = MALFORMED[what]
    body = {"anthropic_version": "vertex-2023-10-16", "max_tokens": 5, "messages": MESSAGES, **more}
    url = f"http://{served.running.gateway}/api/v1/vertex/v1{AT}/publishers/anthropic/models/{CLAUDE}:{action}"
    response = httpx.post(url, json=body, headers={"authorization": f"Bearer {served.token}"}, trust_env=False)
    assert (response.status_code, simulator.seen) == (400, [])


def test_many_calls_share_one_token(served, simulator, tokens):
    way = Way(served, "gateway")
    client = way.genai()
    client.models.generate_content(model=GEMINI, contents="x")
    before = len(tokens.issued)
    for _ in range(4):
        client.models.generate_content(model=GEMINI, contents="x")
    assert len(tokens.issued) == before


def test_no_token_and_no_private_key_is_in_the_record_or_the_log(served, tokens):
    written = served.output.read_text() + json.dumps(served.events(), default=str)
    secrets = [*tokens.issued, served.token, json.loads(tokens.service_account())["private_key"][60:120]]
    assert tokens.issued
    assert not [secret for secret in secrets if secret in written]


def test_a_refused_token_is_replaced_in_the_same_call(served, simulator, tokens):
    way = Way(served, "proxy")
    way.genai().models.generate_content(model=GEMINI, contents="x")
    issued = list(tokens.issued)
    del tokens.issued[:]
    simulator.forget()
    began = new_call_id()
    try:
        stream = way.genai().models.generate_content_stream(model=GEMINI, contents="x")
        assert "".join(chunk.text or "" for chunk in stream)
        assert len(tokens.issued) == 1
    finally:
        tokens.issued[:0] = issued
    first, second = simulator.seen
    assert first.body == second.body
    event = served.finished_event(began)
    assert (event["attempts"], event["status"], event["outcome"]) == (2, 200, "completed")


def test_a_token_that_is_refused_although_it_is_new_is_not_sent_a_third_time(tmp_path, simulator, tokens):
    """The simulator refuses whatever token there is. Later, another one is fetched without a restart."""
    (tmp_path / "account.json").write_text(tokens.service_account())
    running = Wirekey(tmp_path, configuration(simulator, tmp_path, credentials="account.json"), environ=KEY_ENVIRONMENT)
    own = {"authorization": f"Bearer {running.add_agent('alice')}"}
    url = f"http://{running.running.gateway}/api/v1/vertex/v1{AT}/publishers/google/models/{GEMINI}:generateContent"
    body = {"contents": [{"role": "user", "parts": [{"text": "x"}]}]}
    failing = own | {"x-simulator": "fail=401"}
    response = httpx.post(url, json=body, headers=failing, trust_env=False)
    assert (response.status_code, len(simulator.seen)) == (401, 2)
    wait_for(lambda: httpx.post(url, json=body, headers=own, trust_env=False).is_success, "another token")
    running.stop()


def test_other_calls_go_on_while_a_token_is_fetched(tmp_path, simulator, tokens):
    """The token server does not respond. A call of another provider is not delayed by it."""
    (tmp_path / "account.json").write_text(tokens.service_account())
    running = Wirekey(tmp_path, configuration(simulator, tmp_path, credentials="account.json"), environ=KEY_ENVIRONMENT)
    running.token = running.add_agent("alice")
    way, done = Way(running, "gateway"), []
    tokens.go_on.clear()
    try:
        waiting = threading.Thread(
            target=lambda: done.append(way.genai().models.generate_content(model=GEMINI, contents="x").text)
        )
        waiting.start()
        wait_for(lambda: tokens.waiting, "the request for a token")
        base = f"http://{running.running.gateway}/v1"
        client = openai.OpenAI(base_url=base, api_key=running.token, max_retries=0)
        assert client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES).choices
        assert done == []
    finally:
        tokens.go_on.set()
    waiting.join(60)
    assert done
    assert done[0]
    running.stop()


def test_without_credentials_the_error_says_what_to_set(tmp_path, simulator):
    (tmp_path / "home").mkdir()
    environ = {**KEY_ENVIRONMENT, "HOME": str(tmp_path / "home"), "NO_GCE_CHECK": "true"}
    running = Wirekey(tmp_path, configuration(simulator, tmp_path), environ=environ)
    running.token = running.add_agent("alice")
    way = Way(running, "gateway")
    with pytest.raises(errors.ServerError, match="GOOGLE_APPLICATION_CREDENTIALS"):
        way.genai().models.generate_content(model=GEMINI, contents="x")
    assert simulator.seen == []
    running.stop()


def test_the_login_of_a_person_is_used_with_its_quota_project(tmp_path, simulator, tokens):
    login = {
        "type": "authorized_user",
        "client_id": "an-id.apps.example",
        "client_secret": "the-secret-of-a-client",
        "refresh_token": tokens.refresh_token,
        "quota_project_id": "billed-project",
    }
    (tmp_path / "adc.json").write_text(json.dumps(login))
    settings = configuration(simulator, tmp_path, projects=["my-project"])
    stand_in = stand_ins(logins=tokens.url.removesuffix("/token"))
    environ = {**KEY_ENVIRONMENT, **stand_in, "GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "adc.json")}
    running = Wirekey(tmp_path, settings, environ=environ)
    running.token = running.add_agent("alice")
    way = Way(running, "gateway")
    assert way.genai().models.generate_content(model=GEMINI, contents="x").text
    assert sent(simulator)[2]["x-goog-user-project"] == "billed-project"
    running.stop()


def test_the_programs_own_token_is_passed_through_the_proxy(tmp_path, simulator, tokens):
    tokens.issued.append("ya29.the-programs-own-token")
    settings = configuration(simulator, tmp_path, key_source="passthrough")
    running = Wirekey(tmp_path, settings, environ=KEY_ENVIRONMENT)
    running.token = running.add_agent("alice")
    way = Way(running, "proxy")
    client = AnthropicVertex(
        region=LOCATION,
        project_id="my-project",
        access_token="ya29.the-programs-own-token",
        base_url=f"{way.url()}/v1",
        max_retries=0,
        http_client=anthropic.DefaultHttpxClient(**way.options()),
    )
    assert client.messages.create(model=CLAUDE, max_tokens=50, messages=MESSAGES).content
    assert sent(simulator)[1] == "ya29.the-programs-own-token"
    running.stop()


def test_vertex_in_front_of_a_name_needs_its_setting(tmp_path, simulator):
    with wirekey_behind(tmp_path, simulator, listen={"gateway": "127.0.0.1:0", "console": None}) as running:
        base = f"http://{running.running.gateway}/v1"
        client = openai.OpenAI(api_key=running.add_agent("alice"), base_url=base, max_retries=0)
        with pytest.raises(openai.PermissionDeniedError, match=r"vertex is not enabled.*providers\.vertex") as refused:
            client.chat.completions.create(
                model="vertex:gemini-2.5-flash", messages=[{"role": "user", "content": "Hi"}]
            )
    assert refused.value.code == "backend_not_enabled"
    assert simulator.seen == []
