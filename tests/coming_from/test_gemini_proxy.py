"""Each row of docs/coming-from/gemini-proxy.md, run against a Wirekey with the configuration of the page."""

from __future__ import annotations

import json
import secrets

import httpx
import openai
import pytest

from tests.coming_from.pages import code_of, row_tests
from tests.coming_from.stage import Stage, read_setting, shown_configuration, staged
from tests.support.running import PATIENCE, PROVIDER_KEYS, SimulatorThread

PAGE = "docs/coming-from/gemini-proxy.md"
CHAT = {"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "Say hello."}]}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
CALL_A_TOOL = [{"role": "user", "content": "Please call a tool."}]


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    simulator = SimulatorThread(tmp_path_factory.mktemp("simulator"))
    environ = {"GEMINI_API_KEY": PROVIDER_KEYS["gemini"]}
    with staged(tmp_path_factory.mktemp("wirekey"), simulator, shown_configuration(PAGE), environ) as stage:
        yield stage
    simulator.stop()


def client(stage: Stage) -> openai.OpenAI:
    return openai.OpenAI(api_key=stage.token, base_url=f"{stage.base}/v1", max_retries=0)


def arrived(stage: Stage) -> dict:
    assert stage.arrived.provider == "gemini"
    return json.loads(stage.arrived.body)


def proxy_key(stage: Stage, here: str) -> None:
    key = secrets.token_urlsafe(32)
    file = stage.wirekey.folder / "key.json"
    file.write_text(json.dumps([{"agent": f"old-{key[:6]}", code_of(here)[1]: key}]))
    _, *arguments, _ = code_of(here)[0].split()
    stage.command(*arguments, str(file))
    stage.accepts(key)


def without_key(stage: Stage, here: str) -> None:
    name, _, value = code_of(here)[0].partition("=")
    assert here.endswith("with a warning")
    with stage.again({name: value}) as other:
        assert other.ask("POST", "/v1/chat/completions", CHAT, token="").status_code == 200
        assert "EVERYBODY" in other.wirekey.output.read_text().upper()


def port(_: Stage, here: str) -> None:
    name, _, value = code_of(here)[0].partition("=")
    assert str(read_setting("{}", {name: value}).listen.gateway) == value


def models(stage: Stage, here: str) -> None:
    rows = stage.ask("GET", "/v1/models").json()["data"]
    assert rows
    assert {row["owned_by"] for row in rows} == {"google"}
    assert all(isinstance(row[name], int | str) for row in rows for name in code_of(here))


def chat(stage: Stage, here: str) -> None:
    assert here == "the same"
    assert client(stage).chat.completions.create(**CHAT).choices[0].message.content
    assert stage.event()["provider"] == "gemini"


def streamed(stage: Stage, here: str) -> None:
    assert here == "the same"
    text = stage.ask("POST", "/v1/chat/completions", CHAT | {"stream": True}).text
    assert text.rstrip().endswith("data: [DONE]")
    assert text.count("data: ") > 2


def tools(stage: Stage, here: str) -> None:
    assert here == "the same"
    asked = {"model": CHAT["model"], "messages": CALL_A_TOOL, "tools": [TOOL], "tool_choice": "auto"}
    called = client(stage).chat.completions.create(**asked).choices[0].message.tool_calls
    assert called[0].function.name == "look"
    chunks = client(stage).chat.completions.create(**asked, stream=True)
    assert any(choice.delta.tool_calls for chunk in chunks for choice in chunk.choices)


def images(stage: Stage, here: str) -> None:
    assert here == "the same"
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]}]
    assert client(stage).chat.completions.create(model=CHAT["model"], messages=messages).choices
    assert arrived(stage)["messages"] == messages


def parameters(stage: Stage, here: str) -> None:
    assert here == "the same"
    chosen = {"temperature": 0.3, "max_tokens": 50, "top_p": 0.9, "stop": ["X"]}
    assert client(stage).chat.completions.create(**CHAT, **chosen).choices
    assert {name: arrived(stage)[name] for name in chosen} == chosen


def health(stage: Stage, here: str) -> None:
    assert here == "the same"
    assert httpx.get(f"{stage.base}/health", timeout=PATIENCE).json() == {"status": "ok"}


def google_login(stage: Stage, here: str) -> None:
    assert code_of(here) == ["google.oauth_client"]
    login = {"oauth_client": {"id": "env:LOGIN_ID", "secret": "env:LOGIN_SECRET"}}
    enabled = {"gemini-oauth-auto": {"enabled": True}}
    with stage.again({"LOGIN_ID": "an-id", "LOGIN_SECRET": "a-secret"}, google=login, backends=enabled) as other:
        to_google = other.ask("GET", "/auth/login", token="")
        assert to_google.status_code in (302, 303, 307)
        assert to_google.headers["location"].startswith("https://accounts.google.com/")
        assert other.ask("GET", "/auth/callback", token="").status_code == 400, "of no login"
        assert other.ask("GET", "/auth/status", token="").json() == {"authenticated": False}


def token_store(_: Stage, here: str) -> None:
    section, backend, setting = code_of(here)[0].split(".")
    read = read_setting(f"{section}: {{{backend}: {{{setting}: elsewhere}}}}")
    assert read.backends.gemini_oauth_auto.storage.name == "elsewhere"


CHECKS = {
    "`PROXY_API_KEY`": proxy_key,
    "no `PROXY_API_KEY`, with a warning": without_key,
    "`PROXY_PORT`": port,
    "`/auth/login`, `/auth/callback`, `/auth/status`": google_login,
    "`TOKEN_STORE_PATH`": token_store,
    "`GET /v1/models`": models,
    "`POST /v1/chat/completions`": chat,
    "`stream: true`, ended by `[DONE]`": streamed,
    "`tools` and `tool_choice`": tools,
    "images in base64": images,
    "`temperature`, `max_tokens`, `top_p`, `stop`": parameters,
    "`GET /health` without a key": health,
}


test_what_a_row_says_is_so, test_every_check_belongs_to_a_row = row_tests(PAGE, CHECKS)
