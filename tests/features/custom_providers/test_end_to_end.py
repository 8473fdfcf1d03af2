"""Custom providers, such as Azure OpenAI and OpenRouter: through the proxy and the gateway, with the real SDK."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess

import anthropic
import httpx
import openai
import pytest
from google import genai
from google.genai import errors, types

from tests.support.running import KEY_ENVIRONMENT, PROVIDER_KEYS, SimulatorThread, Wirekey, behind
from tests.support.sessions import PNG
from wirekey.core.call import new_call_id

AZURE_KEY, ROUTER_KEY = "azure-real-key-0c41d7e9", "sk-or-real-router-key-77e1"
HOST, OTHER_HOST = "corp.openai.azure.com", "eu.openai.azure.com"
MESSAGES = [{"role": "user", "content": "Say hello."}]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
POLICY = """
package wirekey.authz
default allow := true
to_azure if input.provider == "azure"
to_azure if input.backend == "azure"
deny contains "no secrets at azure" if {
    to_azure
    input.model == "forbidden"
}
"""
ENTRA = """
async def headers(call, head):
    return {"authorization": f"Bearer entra-token-of-{call.provider}"}
"""


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    """A simulator that stands in for Azure and a compatible host, too."""
    keys = {name: [key] for name, key in PROVIDER_KEYS.items()}
    accepted = {**keys, "azure": [AZURE_KEY, "entra-token-of-entra", "the-clients-own"], "compatible": [ROUTER_KEY]}
    running = SimulatorThread(tmp_path_factory.mktemp("hosts"), keys=accepted)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def served(tmp_path_factory, hosts):
    folder = tmp_path_factory.mktemp("wirekey")
    (folder / "policies").mkdir()
    (folder / "policies" / "azure.rego").write_text(POLICY)
    (folder / "entra.py").write_text(ENTRA)
    azure = {"path": "/openai", "deployments": True, "prices": "azure", "upstream_url": hosts.url}
    configuration = behind(
        hosts,
        listen={"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None},
        routes=[
            {"match": "gpt-4.1-mini", "provider": "azure"},
            {"match": "claude-at-azure", "provider": "azure", "model": "gpt-4o"},
            {"match": "falls", "model": "sim-fail-503", "fallback": ["openrouter:openai/gpt-4o-mini"]},
            {"match": "by-string", "model": "azure:gpt-4o?temperature=0.25"},
            {"match": "moved", "called_provider": "azure", "provider": "openai", "model": "gpt-4o-mini"},
        ],
    )
    configuration["policy"] = {"path": str(folder / "policies")}
    configuration["providers"]["custom"] = [
        {"name": "azure", "hosts": [HOST, OTHER_HOST], "auth": "api-key", "keys": ["env:REAL_AZURE"], **azure},
        {"name": "entra", "hosts": ["entra.openai.azure.com"], "auth": "python:entra:headers", **azure},
        {"name": "own-key", "hosts": ["own.openai.azure.com"], "key_source": "passthrough", "auth": "api-key", **azure},
        {
            "name": "openrouter",
            "hosts": ["openrouter.ai"],
            "path": "/api",
            "keys": ["env:REAL_ROUTER"],
            "prices": "openrouter",
            "upstream_url": hosts.url,
        },
    ]
    environ = {**KEY_ENVIRONMENT, "REAL_AZURE": AZURE_KEY, "REAL_ROUTER": ROUTER_KEY}
    running = Wirekey(folder, configuration, environ=environ)
    running.token = running.add_agent("alice", role="engineer")
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def nothing_yet(hosts):
    hosts.forget()


class Way:
    """How a program reaches a custom provider: `url` is its base, `client` the HTTP client for it."""

    def __init__(self, served, name):
        self.name, self.served = name, served

    def url(self, host, provider):
        return f"https://{host}" if self.name == "proxy" else f"http://{self.served.running.gateway}/api/v1/{provider}"

    def client(self):
        if self.name == "gateway":
            return httpx.Client(trust_env=False)
        trusted = ssl.create_default_context(cafile=self.served.root)
        return httpx.Client(
            proxy=self.served.proxy_url("alice", self.served.token), verify=trusted, trust_env=False, timeout=60
        )

    def azure(self, host=HOST, provider="azure", **options):
        return openai.AzureOpenAI(
            azure_endpoint=self.url(host, provider),
            api_version="2024-10-21",
            max_retries=0,
            http_client=self.client(),
            **({"api_key": self.served.token} | options),
        )

    def compatible(self, host, provider, path):
        base = self.url(host, provider) + path
        return openai.OpenAI(base_url=base, api_key=self.served.token, max_retries=0, http_client=self.client())


@pytest.fixture(params=["proxy", "gateway"])
def way(request, served):
    return Way(served, request.param)


def sent(hosts):
    """The only request that reached the simulator: path, key headers."""
    (seen,) = hosts.seen
    headers = {name.decode().lower(): value.decode() for name, value in seen.headers}
    keys = {name: value for name, value in headers.items() if name in ("authorization", "api-key", "x-api-key")}
    return seen.target, keys


def test_a_chat_with_a_deployment_of_azure(way, served, hosts):
    began = new_call_id()
    response = way.azure().chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
    assert response.choices[0].message.content
    target = "/openai/deployments/gpt-4o-mini/chat/completions?api-version=2024-10-21"
    assert sent(hosts) == (target, {"api-key": AZURE_KEY})
    event = served.finished_event(began)
    assert (event["provider"], event["operation"], event["model"]) == ("azure", "chat.completions", "gpt-4o-mini")
    assert (event["credential"], event["outcome"], event["tool_name"]) == ("azure/1", "completed", "azure-api")
    assert event["target"] == "/azure/deployments/gpt-4o-mini/chat/completions"
    assert event["input_tokens"] == response.usage.prompt_tokens
    assert event["cost_usd"] > 0


def test_a_stream_with_tools_at_azure(way, served, hosts):
    began = new_call_id()
    script = 'simulated-session: [{"tool": "weather", "input": {"city": "Rome"}}]'
    messages = [{"role": "user", "content": script}]
    stream = way.azure().chat.completions.create(
        model="gpt-4o", messages=messages, tools=[TOOL], tool_choice="required", stream=True
    )
    called = [
        call.function.name
        for chunk in stream
        for choice in chunk.choices
        for call in choice.delta.tool_calls or ()
        if call.function.name
    ]
    assert called == ["weather"]
    event = served.finished_event(began)
    assert (event["stream"], event["tool_count"], event["finish_reason"]) == (1, 1, "tool_calls")
    assert event["output_tokens"] > 0


def test_the_second_host_of_a_provider_is_called_by_its_own_name(served, hosts):
    began = new_call_id()
    Way(served, "proxy").azure(OTHER_HOST).embeddings.create(model="text-embedding-3-small", input="x")
    assert sent(hosts)[0].startswith("/openai/deployments/text-embedding-3-small/embeddings?")
    assert served.finished_event(began)["provider"] == "azure"


def test_the_newer_paths_of_azure(way, served, hosts):
    client = way.compatible(HOST, "azure", "/openai/v1")
    assert client.responses.create(model="gpt-4o-mini", input="Say hello.").output_text
    assert sent(hosts) == ("/openai/v1/responses", {"api-key": AZURE_KEY})
    hosts.forget()
    assert way.azure().responses.create(model="gpt-4o-mini", input="Say hello.").output_text
    assert sent(hosts)[0] == "/openai/responses?api-version=2024-10-21"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_compatible_host_below_a_path(way, served, hosts, stream):
    began = new_call_id()
    client = way.compatible("openrouter.ai", "openrouter", "/api/v1")
    response = client.chat.completions.create(model="openai/gpt-4o-mini", messages=MESSAGES, stream=stream)
    if stream:
        assert "".join(chunk.choices[0].delta.content or "" for chunk in response if chunk.choices)
    assert sent(hosts) == ("/api/v1/chat/completions", {"authorization": f"Bearer {ROUTER_KEY}"})
    event = served.finished_event(began)
    assert (event["provider"], event["credential"]) == ("openrouter", "openrouter/1")
    assert event["cost_usd"] > 0


def test_a_policy_decides_by_the_name_of_the_provider(way, served, hosts):
    with pytest.raises(openai.PermissionDeniedError, match="no secrets at azure"):
        way.azure().chat.completions.create(model="forbidden", messages=MESSAGES)
    base = f"http://{served.running.gateway}"
    chats = openai.OpenAI(base_url=f"{base}/v1", api_key=served.token, max_retries=0).chat.completions
    with pytest.raises(openai.PermissionDeniedError, match="no secrets at azure"):
        chats.create(model="azure:forbidden", messages=MESSAGES)
    claude = anthropic.Anthropic(base_url=base, api_key=served.token, max_retries=0)
    with pytest.raises(anthropic.PermissionDeniedError, match="no secrets at azure"):
        claude.messages.create(model="azure:forbidden", max_tokens=50, messages=MESSAGES)
    assert hosts.seen == []


def test_the_deployment_decides_and_a_policy_also_sees_the_model_of_the_body(served, hosts):
    began = new_call_id()
    client = Way(served, "gateway").azure(azure_deployment="gpt-4o-mini")
    client.chat.completions.create(model="another", messages=MESSAGES)
    event = served.finished_event(began)
    assert (event["requested_model"], event["model"]) == ("gpt-4o-mini", "gpt-4o-mini")


def test_a_route_leads_to_a_custom_provider_and_back(served, hosts):
    began = new_call_id()
    base = f"http://{served.running.gateway}"
    client = openai.OpenAI(base_url=f"{base}/v1", api_key=served.token, max_retries=0)
    assert client.chat.completions.create(model="gpt-4.1-mini", messages=MESSAGES).choices
    assert sent(hosts) == ("/openai/v1/chat/completions", {"api-key": AZURE_KEY})
    event = served.finished_event(began)
    assert (event["provider"], event["route"], event["credential"]) == ("openai", "routes[0]", "azure/1")
    hosts.forget()
    Way(served, "gateway").azure().chat.completions.create(model="moved", messages=MESSAGES)
    assert sent(hosts) == ("/v1/chat/completions", {"authorization": f"Bearer {PROVIDER_KEYS['openai']}"})


def test_a_call_in_another_format_is_translated_for_a_custom_provider(served, hosts):
    client = anthropic.Anthropic(base_url=f"http://{served.running.gateway}", api_key=served.token, max_retries=0)
    response = client.messages.create(model="claude-at-azure", max_tokens=50, messages=MESSAGES)
    assert response.content[0].text
    assert sent(hosts) == ("/openai/v1/chat/completions", {"api-key": AZURE_KEY})


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_tools_and_images_reach_a_custom_provider_from_each_sdk(served, hosts, stream):
    base, picture = f"http://{served.running.gateway}", base64.b64encode(PNG).decode()
    script = 'simulated-session: [{"tool": "weather", "input": {"city": "Rome"}}]'
    parts = [{"type": "text", "text": script}]
    parts.append({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}})
    asked = {"messages": [{"role": "user", "content": parts}], "tools": [TOOL], "stream": stream}
    router = Way(served, "gateway").compatible("openrouter.ai", "openrouter", "/api/v1")
    for chats, model in ((Way(served, "gateway").azure(), "gpt-4o"), (router, "openai/gpt-4o")):
        found = chats.chat.completions.create(model=model, **asked)
        texts = [chunk.model_dump_json() for chunk in found] if stream else [found.model_dump_json()]
        assert sum('"name":"weather"' in text for text in texts) == 1
    claude = anthropic.Anthropic(base_url=base, api_key=served.token, max_retries=0)
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": picture}}
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    asked = {"messages": [{"role": "user", "content": [{"type": "text", "text": script}, image]}], "max_tokens": 50}
    asked |= {"model": "openrouter:openai/gpt-4o", "tools": [{"name": "weather", "input_schema": schema}]}
    if stream:
        with claude.messages.stream(**asked) as events:
            made = events.get_final_message()
    else:
        made = claude.messages.create(**asked)
    assert [block.name for block in made.content if block.type == "tool_use"] == ["weather"]
    google = genai.Client(api_key=served.token, http_options={"base_url": base})
    declared = types.FunctionDeclaration(name="weather", parameters_json_schema=schema)
    asked = {
        "model": "azure:gpt-4o",
        "contents": [script, types.Part.from_bytes(data=PNG, mime_type="image/png")],
        "config": types.GenerateContentConfig(tools=[types.Tool(function_declarations=[declared])]),
    }
    models = google.models
    found = list(models.generate_content_stream(**asked)) if stream else [models.generate_content(**asked)]
    assert [call.name for chunk in found for call in chunk.function_calls or ()] == ["weather"]
    assert len(hosts.seen) == 4
    assert all(picture.encode() in seen.body for seen in hosts.seen)


def test_real_curl_calls_a_deployment(served, hosts):
    url = f"http://{served.running.gateway}/api/v1/azure/openai/deployments/gpt-4o/chat/completions"
    command = ["curl", "-sS", "--fail-with-body", "--noproxy", "*", f"{url}?api-version=2024-10-21"]
    command += ["-H", f"api-key: {served.token}", "--json", json.dumps({"messages": MESSAGES, "stream": True})]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith(b"data: [DONE]\n\n")
    assert sent(hosts)[1] == {"api-key": AZURE_KEY}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_the_name_of_a_custom_provider_in_front_of_a_model(served, hosts, stream):
    began = new_call_id()
    client = openai.OpenAI(base_url=f"http://{served.running.gateway}/v1", api_key=served.token, max_retries=0)
    for asked, target, sent_model in (
        ("azure:gpt-4o?temperature=0.5", "/openai/v1/chat/completions", "gpt-4o"),
        ("openrouter:openai/gpt-4o-mini", "/api/v1/chat/completions", "openai/gpt-4o-mini"),
        ("by-string", "/openai/v1/chat/completions", "gpt-4o"),
        ("openrouter:gpt-4.1-mini", "/api/v1/chat/completions", "gpt-4.1-mini"),
    ):
        hosts.forget()
        assert list(client.chat.completions.create(model=asked, messages=MESSAGES, stream=stream))
        assert sent(hosts)[0] == target, asked
        assert json.loads(hosts.seen[0].body)["model"] == sent_model
    events = served.finished_events(4, began)
    assert [event["provider"] for event in events] == ["azure", "openrouter", "openai", "openrouter"]
    assert [event["credential"] for event in events] == ["azure/1", "openrouter/1", "azure/1", "openrouter/1"]
    hosts.forget()
    assert list(client.chat.completions.create(model="falls", messages=MESSAGES, stream=stream))
    assert [seen.target for seen in hosts.seen] == ["/v1/chat/completions", "/api/v1/chat/completions"]


def test_a_custom_provider_in_front_of_a_model_in_the_formats_of_others(served, hosts):
    base = f"http://{served.running.gateway}"
    claude = anthropic.Anthropic(base_url=base, api_key=served.token, max_retries=0)
    assert claude.messages.create(model="openrouter:x-ai/grok-4", max_tokens=50, messages=MESSAGES).content[0].text
    assert sent(hosts) == ("/api/v1/chat/completions", {"authorization": f"Bearer {ROUTER_KEY}"})
    hosts.forget()
    google = genai.Client(api_key=served.token, http_options={"base_url": base})
    assert google.models.generate_content(model="azure:gpt-4o-mini", contents="Say hello.").text
    assert sent(hosts) == ("/openai/v1/chat/completions", {"api-key": AZURE_KEY})
    hosts.forget()
    # What is no provider belongs to the name.
    with pytest.raises(errors.ClientError) as refused:
        google.models.generate_content(model="nobody:gpt-4o-mini", contents="Say hello.")
    assert (refused.value.code, hosts.seen) == (404, [])
    openai.OpenAI(base_url=f"{base}/v1", api_key=served.token).chat.completions.create(
        model="nobody:gpt-4o-mini", messages=MESSAGES
    )
    assert json.loads(hosts.seen[0].body)["model"] == "nobody:gpt-4o-mini"


def test_a_function_of_the_operator_makes_the_token_of_entra(way, served, hosts):
    began = new_call_id()
    way.azure("entra.openai.azure.com", "entra").chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert sent(hosts)[1] == {"authorization": "Bearer entra-token-of-entra"}
    assert served.finished_event(began)["credential"] == "entra/extension"


def test_the_programs_own_key_is_passed_through_the_proxy(served, hosts):
    client = Way(served, "proxy").azure("own.openai.azure.com", api_key="the-clients-own")
    client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert sent(hosts)[1] == {"api-key": "the-clients-own"}


def test_an_unknown_provider_or_deployment_path_is_refused(served, hosts):
    headers = {"api-key": served.token}
    for path in (
        "/api/v1/unknown/v1/chat/completions",
        "/api/v1/azure/openai/deployments/x/files",
        "/api/v1/azure/openai/deployments/x%2F../chat/completions",
        "/api/v1/azure/openai/DEPLOYMENTS/x/chat/completions",
    ):
        response = httpx.post(f"http://{served.running.gateway}{path}", headers=headers, json={}, trust_env=False)
        assert response.status_code == 404, path
    assert hosts.seen == []


def test_no_key_is_in_the_record_or_the_log(served):
    written = served.output.read_text() + str(served.events())
    for secret in (AZURE_KEY, ROUTER_KEY, "entra-token-of-entra", "the-clients-own", served.token):
        assert secret not in written


def test_the_embedded_simulator_stands_in_for_a_custom_provider(tmp_path):
    azure = {"name": "azure", "hosts": [HOST], "path": "/openai", "deployments": True, "auth": "api-key"}
    listen = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
    running = Wirekey(tmp_path, {"listen": listen, "providers": {"custom": [azure]}}, "--simulator")
    running.token = running.add_agent("alice")
    response = Way(running, "gateway").azure().chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert response.choices[0].message.content
    event = running.finished_event()
    assert (event["provider"], event["credential"], event["simulated"]) == ("azure", "azure/simulator", 1)
    banner = running.output.read_text()
    assert "  azure " in banner
    assert "  vertex " not in banner
    running.stop()
