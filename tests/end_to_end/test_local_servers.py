"""Local model servers over plain HTTP, upstreams below a path, and routes with conditions."""

from __future__ import annotations

import json
import re

import httpx
import openai
import pytest

from tests.docs.pages import blocks_of
from tests.support.local_server import USAGE, local_server
from tests.support.running import KEY_ENVIRONMENT, PROVIDER_KEYS, Wirekey, behind
from wirekey.core.call import new_call_id

LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
MESSAGES = [{"role": "user", "content": "Say hello."}]
PAGE = "docs/guides/local-models.md"


@pytest.fixture(scope="module")
def local():
    with local_server() as running:
        yield running


@pytest.fixture(scope="module")
def served(tmp_path_factory, simulator, local):
    """A Wirekey with the routes of the guide, and others, that lead to the stand-in."""
    folder = tmp_path_factory.mktemp("wirekey")
    (folder / "vllm-key").write_text("key-of-the-local-server")
    (folder / "vllm-key").chmod(0o600)
    routes = [
        {"match": "llama*", "upstream_url": local.url, "auth": "none"},
        {"match": "qwen*", "upstream_url": local.url, "auth": "bearer", "keys": ["file:vllm-key"]},
        {"match": "below-*", "upstream_url": f"{local.url}/api/v2", "auth": "none"},
        {"format": "openai.chat", "role": "intern", "upstream_url": local.url, "auth": "none", "model": "llama3.2"},
        {"match": "for-bob", "agent": ["b?b", "carol"], "upstream_url": local.url, "auth": "none"},
    ]
    configuration = behind(simulator, routes=routes, listen=LISTEN, default_backend="gemini")
    running = Wirekey(folder, configuration, environ=KEY_ENVIRONMENT)
    running.tokens = {name: running.add_agent(name, role=role) for name, role in AGENTS.items()}
    yield running
    running.stop()


AGENTS = {"alice": "engineer", "bob": "engineer", "dora": "intern"}


@pytest.fixture(autouse=True)
def nothing_yet(local, simulator):
    local.arrived.clear()
    simulator.forget()


def client(served, agent="alice") -> openai.OpenAI:
    base = f"http://{served.running.gateway}/v1"
    return openai.OpenAI(api_key=served.tokens[agent], base_url=base, max_retries=0)


def test_a_chat_goes_to_the_local_server_without_any_key(served, local, simulator):
    began = new_call_id()
    response = client(served).chat.completions.create(model="llama3.2", messages=MESSAGES)
    assert response.choices[0].message.content == "Hello!"
    (arrived,) = local.arrived
    assert (arrived.path, arrived.body["model"]) == ("/v1/chat/completions", "llama3.2")
    assert arrived.headers["host"] == f"127.0.0.1:{local.port}"
    assert "authorization" not in arrived.headers
    assert not any(served.tokens["alice"] in value for value in arrived.headers.values())
    assert simulator.seen == []
    event = served.finished_event(began)
    assert (event["route"], event["credential"], event["outcome"]) == ("routes[0]", "routes[0]/none", "completed")
    assert (event["input_tokens"], event["output_tokens"]) == (USAGE["prompt_tokens"], USAGE["completion_tokens"])


def test_a_stream_in_several_packets_arrives_and_is_metered(served, local):
    began = new_call_id()
    chunks = client(served).chat.completions.create(model="llama3.2", messages=MESSAGES, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Hello!"
    event = served.finished_event(began)
    assert (event["outcome"], event["output_tokens"], event["finish_reason"]) == ("completed", 3, "stop")


def test_a_key_of_the_routes_own_is_sent(served, local):
    client(served).chat.completions.create(model="qwen3", messages=MESSAGES)
    assert local.arrived[0].headers["authorization"] == "Bearer key-of-the-local-server"


def test_the_path_of_an_upstream_comes_before_that_of_the_call(served, local):
    began = new_call_id()
    client(served).chat.completions.create(model="below-1", messages=MESSAGES)
    assert local.arrived[0].path == "/api/v2/v1/chat/completions"
    assert served.finished_event(began)["path"] == "/v1/chat/completions"


def test_many_calls_reuse_a_client_connection(served, local):
    sdk = client(served)
    for _ in range(5):
        assert sdk.chat.completions.create(model="llama3.2", messages=MESSAGES).choices
    assert len(local.arrived) == 5


def test_a_condition_on_role_and_format(served, local, simulator):
    client(served, "dora").chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
    assert local.arrived[0].body["model"] == "llama3.2"
    client(served, "dora").embeddings.create(model="text-embedding-3-small", input="x")
    client(served, "alice").chat.completions.create(model="gemini-2.5-flash", messages=MESSAGES)
    assert (len(local.arrived), len(simulator.seen)) == (1, 2)


def test_a_condition_on_the_agent(served, local, simulator):
    client(served, "bob").chat.completions.create(model="for-bob", messages=MESSAGES)
    assert len(local.arrived) == 1
    client(served, "alice").chat.completions.create(model="for-bob", messages=MESSAGES)
    assert (len(local.arrived), len(simulator.seen)) == (1, 1)


def test_a_model_of_no_provider_goes_to_the_default_backend(served, simulator):
    client(served).chat.completions.create(model="gemma-3-27b-it", messages=MESSAGES)
    assert simulator.seen[0].provider == "gemini"
    client(served).responses.create(model="gpt-4o-mini", input="x")
    assert simulator.seen[1].provider == "openai"


def test_the_request_of_the_guide_reaches_the_local_server(served, local):
    (command,) = [block.text for block in blocks_of(PAGE) if block.language == "bash"]
    path = re.search(r"http://127\.0\.0\.1:8000(\S+)", command)[1]
    body = json.loads(re.search(r"-d '(.*)'", command)[1])
    headers = {"authorization": f"Bearer {served.tokens['alice']}"}
    response = httpx.post(f"http://{served.running.gateway}{path}", json=body, headers=headers)
    assert response.status_code == 200
    assert local.arrived[0].body == body


def test_C8_no_key_of_a_provider_is_sent_without_tls(served, local):
    for model in ("llama3.2", "qwen3", "below-1"):
        client(served).chat.completions.create(model=model, messages=MESSAGES)
    sent = str([arrived.headers for arrived in local.arrived])
    assert not any(key in sent for key in PROVIDER_KEYS.values())


def test_a_local_server_that_is_down_is_a_502(tmp_path, simulator):
    routes = [{"match": "llama*", "upstream_url": "http://127.0.0.1:9", "auth": "none"}]
    running = Wirekey(tmp_path, behind(simulator, routes=routes, listen=LISTEN), environ=KEY_ENVIRONMENT)
    try:
        running.tokens = {"alice": running.add_agent("alice")}
        with pytest.raises(openai.APIStatusError, match="could not be reached") as refused:
            client(running).chat.completions.create(model="llama3.2", messages=MESSAGES)
        assert refused.value.status_code == 502
    finally:
        running.stop()
