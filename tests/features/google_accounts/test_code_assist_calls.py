"""Programs whose models Code Assist serves, with the login of a person or of a Google Cloud project."""

from __future__ import annotations

import base64
import json

import anthropic
import boto3
import httpx
import openai
import pytest
from botocore.config import Config
from google import genai
from google.genai import errors as genai_errors
from google.genai import types

from tests.features.google_accounts.code_assist_simulator import default_login, login, logins, simulator
from tests.support.google import stand_ins
from tests.support.running import KEY_ENVIRONMENT, Wirekey, behind
from tests.threats.conftest import beginning
from wirekey_simulator.code_assist import PROJECT
from wirekey_simulator.text import TEXT

__all__ = ["logins", "simulator"]

LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
PLAN_TOKEN = "ya29.sim-known-plan-canary-71c0"
FREE_TOKEN = "ya29.sim-new-free-canary-88d1"
TOKENS = {
    "a": "ya29.sim-limited-a-canary-0a",
    "b": "ya29.sim-exhausted-b-canary-0b",
    "c": "ya29.sim-known-c-canary-0c",
    "v": "ya29.sim-validation-v-canary-0d",
}
WRONG_TOKEN = "ya29.sim-known-wrong-canary-0e"
LOGIN_TOKENS = [PLAN_TOKEN, FREE_TOKEN, *TOKENS.values()]
IMAGE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(24)).decode()
BODY = b'{"contents":[{"parts":[{"text":"Hi"}]}]}'
USE_TOOL = 'Weather? simulated-session: [{"tool": "get_weather", "input": {"city": "Ulm"}}]'
TOOL = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture(scope="module")
def wirekey(tmp_path_factory, simulator, logins):
    folder = tmp_path_factory.mktemp("logins")
    (folder / "plan.json").write_text(login(PLAN_TOKEN))
    (folder / "free.json").write_text(login(FREE_TOKEN))
    (folder / "accounts").mkdir(mode=0o700)
    for name, token in TOKENS.items():
        file = folder / "accounts" / f"{name}.json"
        file.write_text(login(token, account_id=name, refresh_token=f"1//{name}"))
        file.chmod(0o600)
    (folder / "adc.json").write_text(default_login(logins, quota_project_id="quota-project-1"))
    settings = {
        "listen": LISTEN,
        "backends": {
            "gemini-oauth-plan": {"enabled": True, "login_file": str(folder / "plan.json")},
            "gemini-oauth-auto": {
                "enabled": True,
                "storage": str(folder / "accounts"),
                "accounts": ["a", "b", "c"],
                "selection_strategy": "first-available",
            },
            "gemini-cli-cloud-project": {"enabled": True, "project_id": "cloud-project-1"},
        },
        "default_backend": "gemini-oauth-plan",
        "routes": [
            {"match": "claude-*", "provider": "gemini-oauth-plan", "model": "gemini-2.5-pro"},
            {"match": "nova-*", "provider": "gemini-oauth-plan", "model": "gemini-2.5-pro"},
            {"match": "cloud-*", "provider": "gemini-cli-cloud-project", "model": "gemini-2.5-pro"},
            {"match": "off-*", "provider": "gemini-oauth-free", "model": "gemini-2.5-pro"},
        ],
        "failover": {"max_attempts": 4},
    }
    environ = KEY_ENVIRONMENT | stand_ins(code_assist=simulator.url, logins=logins.url)
    environ |= {"GOOGLE_APPLICATION_CREDENTIALS": str(folder / "adc.json")}
    proxy = Wirekey(tmp_path_factory.mktemp("wirekey"), behind(simulator, **settings), environ=environ)
    proxy.base = f"http://{proxy.running.gateway}"
    proxy.token = proxy.add_agent("alice")
    # The first call looks up the project, so that what a test scripts is for its own call.
    assert post(proxy, "/v1beta/models/gemini-2.5-pro:generateContent", BODY).status_code == 200
    yield proxy
    proxy.stop()


@pytest.fixture(autouse=True)
def fresh(simulator):
    simulator.simulator.script.clear()
    simulator.forget()


@pytest.fixture
def google(wirekey):
    return genai.Client(api_key=wirekey.token, http_options={"base_url": wirekey.base})


@pytest.fixture
def chat(wirekey):
    return openai.OpenAI(api_key=wirekey.token, base_url=f"{wirekey.base}/v1", max_retries=0)


def calls(simulator, *, lookups=False):
    """The requests that reached Code Assist: those for models, or those for a project."""
    found = [seen for seen in simulator.seen if seen.provider == "code_assist"]
    models = [seen for seen in found if "ontent" in seen.target or "countTokens" in seen.target]
    return [seen for seen in found if seen not in models] if lookups else models


def headers_of(seen):
    return {name.decode().lower(): value.decode() for name, value in seen.headers}


def generate(google, model, *, stream):
    """The text of a response."""
    if stream:
        chunks = google.models.generate_content_stream(model=model, contents="Hi")
        return "".join(chunk.text or "" for chunk in chunks)
    return google.models.generate_content(model=model, contents="Hi").text


def post(wirekey, path, body, **headers):
    return httpx.post(wirekey.base + path, content=body, headers={"x-goog-api-key": wirekey.token} | headers)


# Gemini's own format.


def test_a_request_is_sent_in_its_envelope_with_the_clients_own_bytes(wirekey, simulator):
    body = (
        b'{ "contents": [{"role":"user", "parts":[{"text":"caf\xc3\xa9 \\u00e9"}]}],"generationConfig":{"topP":1.0} }'
    )
    since = beginning()
    response = post(wirekey, "/v1beta/models/gemini-2.5-pro:generateContent", body)
    assert response.status_code == 200
    assert set(response.json()) == {"candidates", "usageMetadata", "modelVersion", "responseId"}
    assert response.headers["content-length"] == str(len(response.content))
    (seen,) = calls(simulator)
    assert seen.target == "/v1internal:generateContent"
    assert body in seen.body
    envelope = json.loads(seen.body)
    assert envelope["model"] == "gemini-2.5-pro"
    assert envelope["project"] == PROJECT
    assert envelope["user_prompt_id"] == wirekey.finished_event(since)["id"]
    headers = headers_of(seen)
    assert headers["authorization"] == f"Bearer {PLAN_TOKEN}"
    assert headers["user-agent"].startswith("wirekey/")
    assert "x-goog-api-key" not in headers


def test_a_call_is_recorded_without_a_cost_and_with_its_account(wirekey, google):
    since = beginning()
    google.models.generate_content(model="gemini-2.5-pro", contents="Hi")
    event = wirekey.finished_event(since)
    assert event["credential"] == "gemini-oauth-plan/login-file"
    assert event["upstream"] == "gemini-oauth-plan"
    assert event["outcome"] == "completed"
    assert event["input_tokens"] > 0
    assert event["output_tokens"] > 0
    assert event["cost_usd"] is None


def test_a_cloud_project_is_named_in_each_call_and_has_a_cost(wirekey, simulator, google):
    since = beginning()
    assert google.models.generate_content(model="cloud-1", contents="Hi").text == TEXT
    (seen,) = calls(simulator)
    assert json.loads(seen.body)["project"] == "cloud-project-1"
    assert headers_of(seen)["x-goog-user-project"] == "quota-project-1"
    assert calls(simulator, lookups=True) == []
    event = wirekey.finished_event(since)
    assert event["credential"] == "gemini-cli-cloud-project/gemini-cli-cloud-project"
    assert event["cost_usd"] > 0


def test_streams_pass_as_events_or_as_an_array_as_the_client_asks(wirekey):
    path = "/v1beta/models/gemini-2.5-flash:streamGenerateContent"
    events = post(wirekey, f"{path}?alt=sse", BODY)
    assert events.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in events.text.splitlines() if line]
    assert all(line.startswith('data: {"candidates"') for line in lines)
    array = post(wirekey, path, BODY)
    assert array.headers["content-type"] == "application/json; charset=UTF-8"
    assert len(array.json()) == len(lines)
    text = "".join(part["candidates"][0]["content"]["parts"][0]["text"] for part in array.json())
    assert text == TEXT


@pytest.mark.parametrize("delivery", ["bytewise", "pauses", "close", "crlf"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_response_is_the_same_however_it_is_delivered(wirekey, simulator, google, delivery, stream):
    simulator.simulator.script.add(delivery)
    since = beginning()
    assert generate(google, "gemini-2.5-pro", stream=stream) == TEXT
    event = wirekey.finished_event(since)
    assert (event["outcome"], event["finish_reason"]) == ("completed", "STOP")


def test_tokens_are_counted(google):
    assert google.models.count_tokens(model="gemini-2.5-pro", contents="Hi").total_tokens > 0


@pytest.mark.parametrize("member", ["serviceTier", "store"])
def test_members_that_code_assist_does_not_know_are_refused(wirekey, simulator, member):
    body = json.dumps({"contents": [{"parts": [{"text": "Hi"}]}], member: "x"}).encode()
    response = post(wirekey, "/v1beta/models/gemini-2.5-pro:generateContent", body)
    assert response.status_code == 400
    assert member in response.json()["error"]["message"]
    assert calls(simulator) == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1beta/models/gemini-oauth-plan%3Agemini-embedding-001:embedContent", {"content": {"parts": []}}),
        ("/v1/embeddings", {"model": "gemini-oauth-plan:gemini-embedding-001", "input": "Hi"}),
    ],
    ids=["gemini", "openai"],
)
def test_embeddings_are_not_offered(wirekey, simulator, path, body):
    response = httpx.post(wirekey.base + path, json=body, headers={"authorization": f"Bearer {wirekey.token}"})
    assert response.status_code == 400
    assert "does not" in response.text
    assert calls(simulator) == []


# Other formats.


def test_openai_chat_with_an_image_and_a_tool(chat, simulator):
    content = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}},
    ]
    answer = chat.chat.completions.create(
        model="gemini-2.5-pro",
        messages=[{"role": "system", "content": "Be short."}, {"role": "user", "content": content}],
        temperature=0.5,
        max_tokens=50,
        top_p=0.9,
        stop=["END"],
    )
    assert answer.id.startswith("chatcmpl-")
    assert answer.object == "chat.completion"
    assert answer.model == "gemini-2.5-pro"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    request = json.loads(calls(simulator)[0].body)["request"]
    assert request["contents"][0]["parts"][1]["inlineData"] == {"mimeType": "image/png", "data": IMAGE}
    config = request["generationConfig"]
    assert (config["temperature"], config["maxOutputTokens"], config["topP"]) == (0.5, 50, 0.9)
    assert config["stopSequences"] == ["END"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_openai_chat_calls_tools(chat, stream):
    ask = {
        "model": "gemini-2.5-pro",
        "messages": [{"role": "user", "content": USE_TOOL}],
        "tools": [{"type": "function", "function": TOOL}],
        "tool_choice": "required",
    }
    if not stream:
        choice = chat.chat.completions.create(**ask).choices[0]
        names = [call.function.name for call in choice.message.tool_calls]
        reason = choice.finish_reason
    else:
        chunks = [chunk for chunk in chat.chat.completions.create(**ask, stream=True) if chunk.choices]
        assert chunks[0].choices[0].delta.role == "assistant"
        called = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
        names = [call.function.name for call in called if call.function.name]
        reasons = [chunk.choices[0].finish_reason for chunk in chunks]
        assert not any(reasons[:-1])
        reason = reasons[-1]
    assert names == ["get_weather"]
    assert reason == "tool_calls"


def test_openai_chat_streams_until_done(wirekey):
    ask = {"model": "gemini-2.5-flash", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    headers = {"authorization": f"Bearer {wirekey.token}"}
    response = httpx.post(f"{wirekey.base}/v1/chat/completions", json=ask, headers=headers)
    assert response.text.endswith("data: [DONE]\n\n")


def test_openai_responses(chat):
    assert chat.responses.create(model="gemini-2.5-pro", input="Hi").output_text == TEXT
    with chat.responses.stream(model="gemini-2.5-pro", input="Hi") as stream:
        assert stream.get_final_response().output_text == TEXT


def test_anthropic_messages(wirekey):
    client = anthropic.Anthropic(api_key=wirekey.token, base_url=wirekey.base, max_retries=0)
    ask = {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}
    assert client.messages.create(**ask).content[0].text == TEXT
    with client.messages.stream(**ask) as stream:
        assert stream.get_final_text() == TEXT
    tool = {"name": "get_weather", "input_schema": TOOL["parameters"]}
    ask["messages"] = [{"role": "user", "content": USE_TOOL}]
    called = client.messages.create(**ask, tools=[tool], tool_choice={"type": "any"})
    assert [block.name for block in called.content if block.type == "tool_use"] == ["get_weather"]


def test_converse(wirekey):
    pair = wirekey.agents.pair("alice")
    session = boto3.Session(aws_access_key_id=pair.access_key, aws_secret_access_key=pair.secret.reveal())
    retries = Config(retries={"total_max_attempts": 1})
    client = session.client("bedrock-runtime", region_name="us-east-1", endpoint_url=wirekey.base, config=retries)
    ask = {"modelId": "nova-1", "messages": [{"role": "user", "content": [{"text": "Hi"}]}]}
    assert client.converse(**ask)["output"]["message"]["content"][0]["text"] == TEXT
    stream = client.converse_stream(**ask)["stream"]
    text = "".join(part["contentBlockDelta"]["delta"].get("text", "") for part in stream if "contentBlockDelta" in part)
    assert text == TEXT


def test_google_genai_with_tools_and_an_image(google, simulator):
    config = types.GenerateContentConfig(
        system_instruction="Be short.",
        tools=[
            types.Tool(
                function_declarations=[{**TOOL, "parameters": None, "parameters_json_schema": TOOL["parameters"]}]
            )
        ],
        tool_config={"function_calling_config": {"mode": "ANY"}},
        automatic_function_calling={"disable": True},
    )
    parts = [types.Part.from_bytes(data=base64.b64decode(IMAGE), mime_type="image/png"), USE_TOOL]
    answer = google.models.generate_content(model="gemini-2.5-pro", contents=parts, config=config)
    assert [call.name for call in answer.function_calls] == ["get_weather"]
    assert "inlineData" in json.loads(calls(simulator)[0].body)["request"]["contents"][0]["parts"][0]


def test_models_of_other_providers_stay_with_them(wirekey, simulator):
    client = anthropic.Anthropic(api_key=wirekey.token, base_url=wirekey.base, max_retries=0)
    client.messages.create(model="other-model", max_tokens=9, messages=[{"role": "user", "content": "Hi"}])
    assert [seen.provider for seen in simulator.seen] == ["anthropic"]


# Backends that are not enabled.


@pytest.mark.parametrize("model", ["gemini-oauth-free:gemini-2.5-pro", "off-1"])
def test_a_backend_that_is_not_enabled_is_refused_with_its_setting(chat, simulator, model):
    with pytest.raises(openai.PermissionDeniedError) as refused:
        chat.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hi"}])
    assert refused.value.code == "backend_not_enabled"
    assert "backends.gemini-oauth-free.enabled" in refused.value.message
    assert calls(simulator) == []


# Limits, errors and several accounts.


def test_the_next_account_is_used_when_one_is_limited(wirekey, simulator, google):
    since = beginning()
    model = "gemini-oauth-auto:gemini-2.5-pro"
    for _ in range(2):
        assert google.models.generate_content(model=model, contents="Hi").text == TEXT
    tokens = [headers_of(seen)["authorization"].removeprefix("Bearer ") for seen in calls(simulator)]
    assert tokens == [TOKENS["a"], TOKENS["b"], TOKENS["c"], TOKENS["c"]]
    first, second = wirekey.finished_events(2, since)
    assert (first["credential"], first["attempts"]) == ("gemini-oauth-auto/c", 3)
    assert (second["credential"], second["attempts"]) == ("gemini-oauth-auto/c", 1)


def test_the_fallback_is_tried_when_every_account_is_limited(wirekey, simulator):
    simulator.simulator.script.add("fail=429,retry-after=3000")
    response = post(wirekey, "/v1beta/models/gemini-9-limited:generateContent", BODY)
    assert response.status_code == 200
    assert response.headers["x-wirekey-model"] == "gemini-2.5-flash"
    assert [json.loads(seen.body)["model"] for seen in calls(simulator)] == ["gemini-9-limited", "gemini-2.5-flash"]
    simulator.forget()
    # It rests now, so the model that is limited is not asked again.
    response = post(wirekey, "/v1beta/models/gemini-9-limited:generateContent", BODY)
    assert response.headers["x-wirekey-model"] == "gemini-2.5-flash"
    assert [json.loads(seen.body)["model"] for seen in calls(simulator)] == ["gemini-2.5-flash"]


def test_a_limit_without_a_fallback_is_429_with_the_time(wirekey, simulator):
    simulator.simulator.script.add("fail=429,retry-after=3300")
    path = "/v1beta/models/gemini-cli-cloud-project%3Agemini-9-cloud:generateContent"
    limited = post(wirekey, path, BODY)
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "3300")
    simulator.forget()
    again = post(wirekey, path, BODY)
    assert again.status_code == 429
    assert 0 < int(again.headers["retry-after"]) <= 3300
    assert again.json()["error"]["status"] == "RESOURCE_EXHAUSTED"
    assert calls(simulator) == []


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_errors_have_the_shape_of_the_format_called(wirekey, simulator, google, chat, stream):
    simulator.simulator.script.add("fail=400")
    with pytest.raises(genai_errors.ClientError) as refused:
        generate(google, "gemini-2.5-pro", stream=stream)
    assert refused.value.code == 400
    simulator.simulator.script.add("fail=400")
    with pytest.raises(openai.BadRequestError):
        chat.chat.completions.create(
            model="gemini-2.5-pro", messages=[{"role": "user", "content": "Hi"}], stream=stream
        )


def test_a_forbidden_project_is_named_with_what_to_check(wirekey, simulator):
    simulator.simulator.script.add("fail=403", 2)
    response = post(wirekey, "/v1beta/models/cloud-1:generateContent", BODY)
    assert response.status_code == 403
    assert "cloud-project-1" in response.json()["error"]["message"]
    assert "enabled" in response.json()["error"]["message"]


def test_no_token_is_in_a_log_a_record_or_an_error(wirekey, simulator, google):
    simulator.simulator.script.add("echo-key", 2)
    with pytest.raises(genai_errors.APIError) as refused:
        google.models.generate_content(model="gemini-2.5-flash-echo", contents="Hi")
    assert "canary" not in str(refused.value)
    logged = wirekey.output.read_text()
    stored = b"".join((wirekey.state / name).read_bytes() for name in ("audit.db", "audit.db-wal"))
    for token in (PLAN_TOKEN, *TOKENS.values()):
        assert token not in logged
        assert token.encode() not in stored


def test_the_start_says_whose_terms_apply(wirekey):
    logged = wirekey.output.read_text()
    for name in ("gemini-oauth-plan", "gemini-oauth-auto", "gemini-cli-cloud-project"):
        assert f"The backend {name} uses" in logged


def test_models_are_listed(wirekey, chat, google):
    listed = {model.id: model.owned_by for model in chat.models.list()}
    assert listed["gemini-2.0-flash-lite"] == "google"
    assert "models/gemini-1.5-pro" in [model.name for model in google.models.list()]
