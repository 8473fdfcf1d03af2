"""Three Google accounts, of which Google limits two: each way to choose one leads all SDKs to the third."""

from __future__ import annotations

import json
import time

import anthropic
import openai
import pytest
from google import genai

from tests.support.google import stand_ins
from tests.support.running import KEY_ENVIRONMENT, PROVIDER_KEYS, SimulatorThread, Wirekey, behind
from wirekey_simulator.text import TEXT

TOKENS = {
    "a": "ya29.sim-limited-a-canary-4a",
    "b": "ya29.sim-limited-b-canary-4b",
    "c": "ya29.sim-known-c-canary-4c",
}
MODEL = "gemini-oauth-auto:gemini-2.5-pro"
ASKED = [{"role": "user", "content": "Hi"}]


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    keys = {name: [key] for name, key in PROVIDER_KEYS.items()} | {"code_assist": [*TOKENS.values()]}
    running = SimulatorThread(tmp_path_factory.mktemp("simulator"), keys=keys)
    yield running
    running.stop()


@pytest.fixture(params=["session-affinity", "random", "first-available", "round-robin"])
def wirekey(request, tmp_path, simulator):
    storage = tmp_path / "accounts"
    storage.mkdir(mode=0o700)
    ends = int((time.time() + 7200) * 1000)
    for name, token in TOKENS.items():
        login = {"account_id": name, "access_token": token, "expiry_date": ends, "refresh_token": f"1//{name}"}
        (storage / f"{name}.json").write_text(json.dumps(login))
        (storage / f"{name}.json").chmod(0o600)
    backend = {"enabled": True, "storage": str(storage), "selection_strategy": request.param, "fallback": None}
    settings = behind(
        simulator,
        listen={"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None},
        backends={"gemini-oauth-auto": backend},
        failover={"max_attempts": 4},
    )
    proxy = Wirekey(tmp_path / "wirekey", settings, environ=KEY_ENVIRONMENT | stand_ins(code_assist=simulator.url))
    proxy.token = proxy.add_agent("alice")
    simulator.forget()
    yield proxy
    proxy.stop()


def texts_of_each_sdk(wirekey):
    """Yield what each SDK gets, plain and as a stream."""
    base = f"http://{wirekey.running.gateway}"
    google = genai.Client(api_key=wirekey.token, http_options={"base_url": base})
    yield google.models.generate_content(model=MODEL, contents="Hi").text
    yield "".join(chunk.text or "" for chunk in google.models.generate_content_stream(model=MODEL, contents="Hi"))
    chat = openai.OpenAI(api_key=wirekey.token, base_url=f"{base}/v1", max_retries=0).chat.completions
    yield chat.create(model=MODEL, messages=ASKED).choices[0].message.content
    chunks = chat.create(model=MODEL, messages=ASKED, stream=True)
    yield "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    claude = anthropic.Anthropic(api_key=wirekey.token, base_url=base, max_retries=0).messages
    yield claude.create(model=MODEL, messages=ASKED, max_tokens=100).content[0].text
    with claude.stream(model=MODEL, messages=ASKED, max_tokens=100) as stream:
        yield stream.get_final_text()


def test_accounts_that_google_limits_are_asked_at_most_once_and_the_third_serves_every_call(wirekey, simulator):
    assert list(texts_of_each_sdk(wirekey)) == [TEXT] * 6
    asked = [
        dict(seen.headers)[b"authorization"].decode().removeprefix("Bearer ")
        for seen in simulator.seen
        if "enerateContent" in seen.target
    ]
    assert asked.count(TOKENS["c"]) == 6
    assert max(asked.count(TOKENS["a"]), asked.count(TOKENS["b"])) <= 1
    assert {event["credential"] for event in wirekey.finished_events(6)} == {"gemini-oauth-auto/c"}
