"""Model strings with real SDKs: a provider in front of the name, parameters behind, and what is refused."""

from __future__ import annotations

import json

import openai
import pytest
from google import genai
from google.genai import errors as genai_errors

from tests.end_to_end.test_translation import CLIENTS, Anthropic, Chat, Converse, Gemini
from tests.support.own_simulator import simulator
from tests.support.running import wirekey_behind
from tests.threats.conftest import beginning
from wirekey.providers.registry import BACKENDS
from wirekey_simulator.text import TEXT

__all__ = ["simulator"]

LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
POLICY = """package wirekey.authz
default allow := true
deny contains "no pro" if input.model == "gemini-2.5-pro"
deny contains "not there" if { input.backend == "anthropic"; input.agent_id == "bob" }
"""
SENT = {
    "openai": ("openai:gpt-4o-mini", "gpt-4o-mini"),
    "gemini": ("gemini:google/gemini-2.5-flash", "gemini-2.5-flash"),
    "anthropic": ("anthropic:claude-haiku-4-5", "claude-haiku-4-5"),
    "bedrock": ("bedrock:amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0"),
}
"""Provider → the model that programs ask for, and the one that is sent."""
OWN = {
    "openai.chat": ("openai", "gemini"),
    "openai.responses": ("openai",),
    "gemini": ("gemini",),
    "anthropic": ("anthropic",),
    "converse": ("bedrock",),
}
"""Format → the providers that answer it themselves."""


@pytest.fixture(scope="module")
def wirekey(tmp_path_factory, simulator):
    folder = tmp_path_factory.mktemp("wirekey")
    policy = folder / "policy"
    policy.mkdir()
    (policy / "authz.rego").write_text(POLICY)
    routes = [
        {"match": "by-route", "model": "gemini:google/gemini-2.5-flash?effort=low", "fallback": ["openai:gpt-4o-mini"]},
        {"match": "at-claude-*", "provider": "anthropic", "model": "claude-haiku-4-5"},
        {"match": "at-claude-*", "model": "gpt-4o-mini"},
        {"match": "then-*", "model": "sim-fail-503", "fallback": ["gemini:gemini-2.5-flash?temperature=0.25"]},
    ]
    settings = {"listen": LISTEN, "routes": routes, "policy": {"path": str(policy)}}
    with wirekey_behind(folder, simulator, **settings) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def way(wirekey):
    token = wirekey.add_agent("alice")
    wirekey.bob = wirekey.add_agent("bob")
    return f"http://{wirekey.running.gateway}", token, wirekey.agents.pair("alice")


@pytest.fixture(autouse=True)
def nothing_seen(simulator):
    simulator.forget()


# The id of Bedrock's model has a colon, which ends the name in a Gemini path.
PAIRS = [(client, provider) for client in CLIENTS for provider in SENT if (client, provider) != ("gemini", "bedrock")]


@pytest.mark.parametrize(("client", "provider"), PAIRS)
def test_the_provider_in_front_of_a_name_serves_every_format(way, wirekey, client, provider):
    since = beginning()
    program = CLIENTS[client](*way)
    asked, sent = SENT[provider]
    assert (program.plain(asked), program.streamed(asked)) == (TEXT, TEXT)
    for event in wirekey.finished_events(2, since):
        assert (event["requested_model"], event["model"], event["outcome"]) == (sent, sent, "completed")
        assert (event["translation"] is None) == (provider in OWN[client])


def in_path(model):
    """Return a model string as a program with Google's SDK writes it: the SDK refuses `?` and `&`."""
    return model.replace("?", "%3F").replace("&", "%26").replace("=", "%3D")


def last_sent(simulator):
    return json.loads(simulator.seen[-1].body)


@pytest.mark.parametrize("delivery", ["sim-at-once", "sim-bytewise", "sim-pauses", "sim-close"])
def test_parameters_of_the_name_win_over_the_body_in_any_delivery(way, simulator, delivery):
    chat = Chat(*way).client.chat.completions
    asked = {"messages": [{"role": "user", "content": "Hi"}], "temperature": 1.5, "extra_body": {"seed": 7}}
    for stream in (False, True):
        found = chat.create(model=f"openai:{delivery}?temperature=0.25&seed=1&maxTokens=50", stream=stream, **asked)
        assert list(found)
        body = last_sent(simulator)
        assert (body["temperature"], body["seed"], body["max_completion_tokens"]) == (0.25, 1, 50)
        assert body["model"] == delivery


def test_each_sdk_may_write_parameters_behind_the_name(way, simulator):
    Gemini(*way).streamed(in_path("gemini-2.5-flash?topK=3&reasoning_effort=medium"))
    config = last_sent(simulator)["generationConfig"]
    assert config == {"topK": 3, "thinkingConfig": {"thinkingBudget": 2048}}
    Anthropic(*way).plain("claude-haiku-4-5?temperature=0.5&thinking_budget=0")
    assert (last_sent(simulator)["temperature"], last_sent(simulator)["thinking"]) == (0.5, {"type": "disabled"})
    Converse(*way).streamed("amazon.nova-lite-v1:0?temperature=0.5&max_tokens=9")
    assert last_sent(simulator)["inferenceConfig"] == {"temperature": 0.5, "maxTokens": 9}
    Chat(*way).plain("gemini:gemini-2.5-flash?thinking_budget=128")
    assert last_sent(simulator)["extra_body"]["google"]["thinking_config"] == {"thinking_budget": 128}


def test_parameters_reach_a_model_of_another_format(way, simulator):
    Anthropic(*way).plain("gemini:google/gemini-2.5-flash?temperature=0.5&top_k=9")
    config = last_sent(simulator)["generationConfig"]
    assert (config["temperature"], config["topK"], config["maxOutputTokens"]) == (0.5, 9, 500)


def test_routes_and_fallbacks_have_model_strings(way, simulator, wirekey):
    since = beginning()
    Chat(*way).plain("by-route")
    assert (last_sent(simulator)["model"], last_sent(simulator)["reasoning_effort"]) == ("gemini-2.5-flash", "low")
    Chat(*way).streamed("then-else")
    assert (last_sent(simulator)["model"], last_sent(simulator)["temperature"]) == ("gemini-2.5-flash", 0.25)
    first, second = wirekey.finished_events(2, since)
    assert (first["model"], second["model"], second["attempts"]) == ("gemini-2.5-flash", "gemini-2.5-flash", 2)


def test_a_prefix_comes_before_the_provider_of_a_route(way, simulator, wirekey):
    """Another route for the name applies, if it does not lead to another provider."""
    since = beginning()
    assert Chat(*way).plain("at-claude-1") == Chat(*way).plain("anthropic:at-claude-1") == TEXT
    assert {seen.target for seen in simulator.seen} == {"/v1/messages"}
    assert Chat(*way).plain("openai:at-claude-1") == TEXT
    assert simulator.seen[-1].target == "/v1/chat/completions"
    assert [event["route"] for event in wirekey.finished_events(3, since)] == ["routes[1]", "routes[1]", "routes[2]"]


@pytest.mark.parametrize("client", ["openai.chat", "gemini", "anthropic", "converse"])
def test_the_policy_judges_the_model_and_the_backend_that_are_sent(way, wirekey, simulator, client):
    base, token, pair = way
    for model in ("gemini:google/gemini-2.5-pro?temperature=1", "gemini:gemini-2.5-pro"):
        program = CLIENTS[client](base, token, pair)
        with pytest.raises(program.error, match="no pro"):
            program.plain(in_path(model) if client == "gemini" else model)
    assert not simulator.seen


def test_the_policy_sees_the_provider_that_a_call_is_translated_for(way, wirekey, simulator):
    with pytest.raises(openai.PermissionDeniedError, match="not there"):
        Chat(way[0], wirekey.bob, None).plain("anthropic:claude-haiku-4-5")
    assert not simulator.seen
    assert Chat(*way).plain("anthropic:claude-haiku-4-5") == TEXT


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("gpt-4o-mini?tools=x", "there are temperature, top_p"),
        ("gpt-4o-mini?temperature=3", "must be a number from 0 to 2"),
        ("gpt-4o-mini?temperature", "must be a number"),
        ("gpt-4o-mini?thinking_budget=3", "there are temperature, top_p, max_tokens"),
        ("openai:gpt-4o-mini?", "there are temperature"),
    ],
)
def test_a_string_that_cannot_be_followed_is_refused_with_the_known_names(way, simulator, wirekey, model, words):
    since = beginning()
    with pytest.raises(openai.BadRequestError, match=words):
        Chat(*way).plain(model)
    assert not simulator.seen
    assert wirekey.finished_event(since)["outcome"] == "denied"


@pytest.mark.parametrize("backend", [*BACKENDS, "gemini-cli-other"])
def test_a_backend_that_is_not_enabled_is_refused_by_name(way, simulator, wirekey, backend):
    since = beginning()
    with pytest.raises(openai.PermissionDeniedError) as refused:
        Chat(*way).plain(f"{backend}:google/gemini-3-flash-preview")
    assert refused.value.code == "backend_not_enabled"
    wanted = f"backends.{backend}.enabled" if backend in BACKENDS else ", ".join(BACKENDS)
    assert wanted in str(refused.value)
    assert not simulator.seen
    assert wirekey.finished_event(since)["policy_reason"].startswith("backend_not_enabled")


@pytest.mark.parametrize("client", ["gemini", "anthropic", "converse", "openai.responses"])
def test_each_sdk_raises_its_exception_for_a_backend_that_is_not_enabled(way, client):
    program = CLIENTS[client](*way)
    for call in (program.plain, program.streamed):
        with pytest.raises(program.error, match="not enabled"):
            call("gemini-oauth-plan:google/gemini-2.5-pro")


def test_model_strings_work_through_the_proxy(wirekey, simulator, way, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", wirekey.proxy_url("alice", way[1]))
    monkeypatch.setenv("SSL_CERT_FILE", str(wirekey.certs / "bundle.pem"))
    client = genai.Client(api_key="placeholder")
    asked = in_path("anthropic:claude-haiku-4-5?temperature=0.5")
    assert client.models.generate_content(model=asked, contents="Hi").text == TEXT
    assert last_sent(simulator)["temperature"] == 0.5
    with pytest.raises(genai_errors.ClientError, match="backend gemini-oauth-free is not enabled"):
        client.models.generate_content(model="gemini-oauth-free:gemini-2.5-flash", contents="Hi")
