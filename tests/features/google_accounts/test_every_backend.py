"""Each backend of Code Assist with each SDK and curl, whole and as a stream, with a tool and an image."""

from __future__ import annotations

import base64
import json
import subprocess

import pytest
from google.genai import types

from tests.end_to_end.test_translation import CLIENTS
from tests.features.google_accounts.code_assist_simulator import default_login, login, logins, simulator
from tests.support.conversation import installed
from tests.support.google import stand_ins
from tests.support.running import KEY_ENVIRONMENT, Wirekey, behind
from tests.threats.conftest import beginning
from wirekey_simulator.code_assist import PROJECT

__all__ = ["logins", "simulator"]

LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
TOKENS = {kind: f"ya29.sim-known-{kind}-canary-9e" for kind in ("plan", "free", "auto")}
LOGIN_TOKENS = TOKENS.values()
BACKENDS = {
    "gemini-oauth-plan": ("login-file", PROJECT),
    "gemini-oauth-free": ("login-file", PROJECT),
    "gemini-oauth-auto": ("a", PROJECT),
    "gemini-cli-cloud-project": ("gemini-cli-cloud-project", "cloud-project-1"),
}
"""The name of the credential of each backend, and its project."""
IMAGE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(24)).decode()
USE_TOOL = 'Weather? simulated-session: [{"tool": "get_weather", "input": {"city": "Ulm"}}]'
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION = {"name": "get_weather", "description": "The weather of a city.", "parameters": SCHEMA}


def chat_with(client, model, stream):
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": USE_TOOL}, image]}]
    tools = [{"type": "function", "function": FUNCTION}]
    found = client.chat.completions.create(model=model, messages=messages, tools=tools, stream=stream)
    if not stream:
        return [(call.function.name, call.function.arguments) for call in found.choices[0].message.tool_calls]
    deltas = [call for chunk in found if chunk.choices for call in chunk.choices[0].delta.tool_calls or ()]
    return [(deltas[0].function.name, "".join(each.function.arguments or "" for each in deltas))]


def gemini_with(client, model, stream):
    declared = {**FUNCTION, "parameters": None, "parameters_json_schema": SCHEMA}
    config = types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=[declared])], automatic_function_calling={"disable": True}
    )
    contents = [types.Part.from_bytes(data=base64.b64decode(IMAGE), mime_type="image/png"), USE_TOOL]
    models = client.models
    ask = models.generate_content_stream if stream else models.generate_content
    found = ask(model=model, contents=contents, config=config)
    chunks = list(found) if stream else [found]
    return [(call.name, json.dumps(call.args)) for each in chunks for call in each.function_calls or ()]


def anthropic_with(client, model, stream):
    source = {"type": "base64", "media_type": "image/png", "data": IMAGE}
    content = [{"type": "image", "source": source}, {"type": "text", "text": USE_TOOL}]
    ask = {
        "model": model,
        "max_tokens": 99,
        "messages": [{"role": "user", "content": content}],
        "tools": [{"name": "get_weather", "input_schema": SCHEMA}],
    }
    if stream:
        with client.messages.stream(**ask) as events:
            message = events.get_final_message()
    else:
        message = client.messages.create(**ask)
    return [(block.name, json.dumps(block.input)) for block in message.content if block.type == "tool_use"]


WITH_TOOLS = {"openai.chat": chat_with, "gemini": gemini_with, "anthropic": anthropic_with}


@pytest.fixture(scope="module")
def served(tmp_path_factory, simulator, logins):
    folder = tmp_path_factory.mktemp("logins")
    (folder / "accounts").mkdir(mode=0o700)
    files = {"plan": folder / "plan.json", "free": folder / "free.json", "auto": folder / "accounts" / "a.json"}
    for kind, file in files.items():
        file.write_text(login(TOKENS[kind], account_id="a", refresh_token=f"1//{kind}"))
        file.chmod(0o600)
    (folder / "default.json").write_text(default_login(logins))
    settings = {
        "listen": LISTEN,
        "backends": {
            "gemini-oauth-plan": {"enabled": True, "login_file": str(files["plan"])},
            "gemini-oauth-free": {"enabled": True, "login_file": str(files["free"])},
            "gemini-oauth-auto": {"enabled": True, "storage": str(folder / "accounts"), "accounts": ["a"]},
            "gemini-cli-cloud-project": {"enabled": True, "project_id": "cloud-project-1"},
        },
    }
    environ = KEY_ENVIRONMENT | stand_ins(code_assist=simulator.url, logins=logins.url)
    environ |= {"GOOGLE_APPLICATION_CREDENTIALS": str(folder / "default.json")}
    proxy = Wirekey(tmp_path_factory.mktemp("wirekey"), behind(simulator, **settings), environ=environ)
    proxy.base = f"http://{proxy.running.gateway}"
    proxy.token = proxy.add_agent("alice")
    yield proxy
    proxy.stop()


@pytest.fixture
def wirekey(served, simulator):
    simulator.simulator.script.clear()
    simulator.forget()
    return served


def image_and_project(simulator):
    """What reached Code Assist: the image of the call, and its project."""
    (body,) = [json.loads(seen.body) for seen in simulator.seen if "ontent" in seen.target]
    parts = body["request"]["contents"][0]["parts"]
    (image,) = [part["inlineData"] for part in parts if "inlineData" in part]
    return image, body["project"]


def check_event(event, backend):
    assert (event["upstream"], event["credential"]) == (backend, f"{backend}/{BACKENDS[backend][0]}")
    assert (event["status"], event["outcome"]) == (200, "completed")
    assert event["output_tokens"] > 0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("client", WITH_TOOLS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_each_sdk_sends_an_image_and_gets_a_call_of_its_tool(wirekey, simulator, backend, client, stream):
    since = beginning()
    program = CLIENTS[client](wirekey.base, wirekey.token, None)
    ((name, arguments),) = WITH_TOOLS[client](program.client, f"{backend}:gemini-2.5-pro", stream)
    assert (name, json.loads(arguments)) == ("get_weather", {"city": "Ulm"})
    assert image_and_project(simulator) == ({"mimeType": "image/png", "data": IMAGE}, BACKENDS[backend][1])
    check_event(wirekey.finished_event(since), backend)


def curl_request(name, model, stream):
    """The path and the body of a call in a format, with an image and a tool."""
    if name == "gemini":
        action = "streamGenerateContent?alt=sse" if stream else "generateContent"
        parts = [{"inlineData": {"mimeType": "image/png", "data": IMAGE}}, {"text": USE_TOOL}]
        body = {"contents": [{"role": "user", "parts": parts}], "tools": [{"functionDeclarations": [FUNCTION]}]}
        return f"/v1beta/models/{model.replace(':', '%3A')}:{action}", body
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}}
    path, body = "/v1/chat/completions", {"tools": [{"type": "function", "function": FUNCTION}]}
    if name == "anthropic":
        image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": IMAGE}}
        path, body = "/v1/messages", {"max_tokens": 99, "tools": [{"name": "get_weather", "input_schema": SCHEMA}]}
    messages = [{"role": "user", "content": [image, {"type": "text", "text": USE_TOOL}]}]
    return path, body | {"model": model, "messages": messages, "stream": stream}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", ["openai", "gemini", "anthropic"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_curl_sends_an_image_and_gets_a_call_of_its_tool(wirekey, simulator, backend, name, stream):
    since = beginning()
    path, body = curl_request(name, f"{backend}:gemini-2.5-pro", stream)
    headers = ["Content-Type: application/json", f"Authorization: Bearer {wirekey.token}"]
    headers += ["anthropic-version: 2023-06-01"] if name == "anthropic" else []
    command = [installed("curl"), "-sS", "--fail-with-body", *(f"-H{header}" for header in headers)]
    command += ["-d", json.dumps(body), wirekey.base + path]
    done = subprocess.run(command, env={}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    assert "get_weather" in done.stdout
    assert "Ulm" in done.stdout
    if stream:
        assert done.stdout.count("data: ") >= 1
    else:
        assert isinstance(json.loads(done.stdout), dict)
    assert image_and_project(simulator) == ({"mimeType": "image/png", "data": IMAGE}, BACKENDS[backend][1])
    check_event(wirekey.finished_event(since), backend)
