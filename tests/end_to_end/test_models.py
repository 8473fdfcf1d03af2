"""The gateway's list of models, read by the SDKs: over all providers and routes, the models the agent may call."""

from __future__ import annotations

import anthropic
import httpx
import openai
import pytest
from google import genai

from tests.support.own_simulator import simulator, since
from tests.support.running import PROVIDER_KEYS, wirekey_behind

__all__ = ["simulator", "since"]

LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
POLICY = """package wirekey.authz

default allow := false

allow if not some_model_is_forbidden

some_model_is_forbidden if {
    input.agent_role == "narrow"
    not input.operation in {"models.list", "models.get"}
    not startswith(input.model, "gpt-4o")
}

some_model_is_forbidden if {
    input.agent_role == "none"
    startswith(input.operation, "models.")
}
"""
ROUTES = [
    {"match": "fast", "model": "gemini-2.5-flash", "provider": "gemini"},
    {"match": "gpt-4o-mini*"},
]
ONE_OF_EACH = {"gpt-4o-mini", "gemini-2.5-flash", "claude-sonnet-4-5", "amazon.nova-lite-v1:0", "fast"}


@pytest.fixture(scope="module")
def wirekey(tmp_path_factory, simulator):
    folder = tmp_path_factory.mktemp("wirekey")
    (folder / "policies").mkdir()
    (folder / "policies" / "models.rego").write_text(POLICY)
    settings = {"listen": LISTEN, "routes": ROUTES, "policy": {"path": str(folder / "policies")}}
    with wirekey_behind(folder, simulator, **settings) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def base(wirekey):
    return f"http://{wirekey.running.gateway}"


@pytest.fixture(scope="module")
def tokens(wirekey):
    roles = {"alice": "engineer", "bob": "narrow", "carol": "none"}
    return {name: wirekey.add_agent(name, role=role) for name, role in roles.items()} | {
        "reader": wirekey.add_agent("reader", permissions=("web:read",))
    }


def openai_client(base, token):
    return openai.OpenAI(api_key=token, base_url=base + "/v1", max_retries=0)


def test_in_openais_format(base, tokens, wirekey, simulator, since):
    with openai_client(base, tokens["alice"]) as client:
        found = {model.id: model.owned_by for model in client.models.list()}
        assert set(found) >= ONE_OF_EACH
        assert (found["claude-sonnet-4-5"], found["amazon.nova-lite-v1:0"]) == ("anthropic", "amazon")
        assert client.models.retrieve("gpt-4o-mini").id == "gpt-4o-mini"
        assert client.models.retrieve("us.amazon.nova-lite-v1:0").owned_by == "amazon"
        with pytest.raises(openai.NotFoundError, match="that this agent may call"):
            client.models.retrieve("gpt-none")
    listed, *one, missing = wirekey.finished_events(4, since)
    assert [event["operation"] for event in (listed, *one)] == ["models.list", "models.get", "models.get"]
    for event in (listed, *one):
        assert (event["agent_id"], event["provider"], event["policy_result"]) == ("alice", "openai", "allow")
        assert (event["status"], event["outcome"], event["attempts"]) == (200, "completed", 0)
        assert event["upstream"] is event["credential"] is None
        assert event["response_bytes"] > 0
    assert (missing["status"], missing["policy_reason"].partition(":")[0]) == (404, "model_not_found")


def test_in_geminis_format(base, tokens, wirekey, since):
    client = genai.Client(api_key=tokens["alice"], http_options={"base_url": base})
    found = {model.name.removeprefix("models/"): model.supported_actions for model in client.models.list()}
    assert set(found) >= ONE_OF_EACH
    assert "generateContent" in found["gemini-2.5-flash"]
    assert not found["claude-sonnet-4-5"]
    assert client.models.get(model="gemini-2.5-flash").input_token_limit == 1_048_576
    assert [event["provider"] for event in wirekey.finished_events(2, since)] == ["gemini", "gemini"]


def test_in_anthropics_format(base, tokens, wirekey, since):
    with anthropic.Anthropic(api_key=tokens["alice"], base_url=base, max_retries=0) as client:
        assert {model.id for model in client.models.list()} >= ONE_OF_EACH
        assert client.models.retrieve("claude-sonnet-4-5").display_name.startswith("Claude")
        with pytest.raises(anthropic.NotFoundError):
            client.models.retrieve("claude-none")
    assert {event["provider"] for event in wirekey.finished_events(3, since)} == {"anthropic"}


def test_the_list_has_the_models_that_the_policy_allows_the_agent(base, tokens):
    with openai_client(base, tokens["bob"]) as client:
        found = {model.id for model in client.models.list()}
        assert {name for name in found if not name.startswith("gpt-4o")} == set()
        assert "gpt-4o-mini" in found
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("claude-sonnet-4-5")


def test_an_agent_that_may_not_list_models_is_refused(base, tokens, wirekey, since):
    with openai_client(base, tokens["carol"]) as client, pytest.raises(openai.PermissionDeniedError):
        client.models.list()
    with openai_client(base, "wk_nobody") as client, pytest.raises(openai.AuthenticationError):
        client.models.list()
    assert {event["outcome"] for event in wirekey.finished_events(2, since)} == {"denied"}


def test_an_agent_that_may_not_call_models_gets_an_empty_list(base, tokens):
    with openai_client(base, tokens["reader"]) as client:
        assert list(client.models.list()) == []


def test_the_lists_of_the_providers_are_kept(base, tokens, simulator):
    with openai_client(base, tokens["alice"]) as client:
        client.models.list()
        simulator.forget()
        client.models.list()
    assert simulator.seen == []


def test_with_the_providers_prefix_the_list_is_the_providers_own(base, tokens, wirekey, simulator, since):
    simulator.forget()
    with openai.OpenAI(api_key=tokens["alice"], base_url=f"{base}/api/v1/openai/v1", max_retries=0) as client:
        assert "claude-sonnet-4-5" not in {model.id for model in client.models.list()}
    assert len(simulator.seen) == 1
    assert wirekey.finished_event(since)["attempts"] == 1


def test_neither_key_nor_token_is_in_responses_or_written_files(base, tokens, wirekey):
    response = httpx.get(f"{base}/v1/models", headers={"authorization": f"Bearer {tokens['alice']}"})
    assert response.headers["x-wirekey-request-id"]
    written = response.text + wirekey.output.read_text()
    assert not [key for key in (*PROVIDER_KEYS.values(), *tokens.values()) if key in written]


def test_with_client_keys_the_list_is_that_of_the_clients_account(tmp_path, simulator):
    upstream = {"upstream_url": simulator.url}
    providers = {
        "openai": {"key_source": "passthrough", **upstream},
        "gemini": {"keys": ["env:REAL_GEMINI"], **upstream},
    }
    with wirekey_behind(tmp_path, simulator, listen=LISTEN, providers=providers, identity={"required": False}) as proxy:
        base = f"http://{proxy.running.gateway}"
        with openai_client(base, PROVIDER_KEYS["openai"]) as client:
            assert "gpt-4o-mini" in {model.id for model in client.models.list()}
        assert proxy.finished_event()["attempts"] == 1
        names = {row["name"] for row in httpx.get(f"{base}/v1beta/models").json()["models"]}
    assert "models/gemini-2.5-flash" in names
    assert "models/gpt-4o-mini" not in names


def test_without_any_provider_the_routes_are_listed_or_the_reason_is_reported(tmp_path, simulator):
    providers = {"openai": {"keys": ["env:REAL_GEMINI"], "upstream_url": simulator.url}}
    for folder, routes in (("with", [{"match": "fast"}]), ("without", [])):
        settings = {"listen": LISTEN, "providers": providers, "routes": routes}
        with wirekey_behind(tmp_path / folder, simulator, **settings) as proxy:
            headers = {"authorization": f"Bearer {proxy.add_agent('alice')}"}
            response = httpx.get(f"http://{proxy.running.gateway}/v1/models", headers=headers)
        if routes:
            assert [row["id"] for row in response.json()["data"]] == ["fast"]
        else:
            assert response.status_code == 503
            assert response.json()["error"]["code"] == "models_unknown"
            assert "openai: it responds with status 401" in response.json()["error"]["message"]
