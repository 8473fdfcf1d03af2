"""Policies in a running proxy: each SDK raises its usual exception with the reason, and obligations are fulfilled."""

from __future__ import annotations

import json
import ssl

import anthropic
import botocore.exceptions
import httpx
import openai
import pytest
from google.genai import errors

from tests.support.raw_client import RawClient, post
from tests.support.running import KEY_ENVIRONMENT, PROVIDER_KEYS, Wirekey, behind, wait_for, wirekey_behind
from tests.support.sdk_calls import CALLS, Way
from tests.threats.conftest import beginning
from wirekey.config.policy import SHIPPED_POLICIES
from wirekey.core.call import new_call_id

POLICY = """
package wirekey.authz

deny contains "Guests may not call models." if input.agent.role == "guest"

deny contains "No large models." if {
	some other in input.other_models
	startswith(other, "claude-opus")
}

deny contains "No chat." if {
	input.target == "/openai/v1/chat/completions"
	input.agent.role == "embedder"
}

max_tokens := 7 if input.agent.role == "thrifty"

model := {
	"openai": "gpt-4.1-nano",
	"gemini": "gemini-2.5-flash-lite",
	"anthropic": "claude-haiku-4-5",
	"bedrock": "us.amazon.nova-lite-v1:0",
}[input.provider] if input.agent.role == "redirected"
"""
RAISED = {
    "openai": openai.PermissionDeniedError,
    "gemini": errors.ClientError,
    "anthropic": anthropic.PermissionDeniedError,
    "bedrock": botocore.exceptions.ClientError,
}
PLAIN = {
    "openai": "openai-chat",
    "gemini": "gemini-generate",
    "anthropic": "anthropic-messages",
    "bedrock": "bedrock-converse",
}


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, simulator):
    folder = tmp_path_factory.mktemp("wirekey")
    (folder / "policies").mkdir()
    (folder / "policies" / "authz.rego").write_text(POLICY)
    configuration = behind(simulator)
    configuration["policy"] = {"path": "policies"}
    configuration["listen"] = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
    running = Wirekey(folder, configuration, environ=KEY_ENVIRONMENT)
    running.guest = running.add_agent("guest", role="guest")
    running.redirected = running.add_agent("redirected", role="redirected")
    running.embedder = running.add_agent("embedder", role="embedder")
    running.thrifty = running.add_agent("thrifty", role="thrifty")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def start(tmp_path_factory, simulator):
    """A Wirekey with the default policy that accepts programs without an agent."""
    more = {"policy": {"path": str(SHIPPED_POLICIES)}, "identity": {"required": False}}
    with wirekey_behind(tmp_path_factory.mktemp("open"), simulator, **more) as running:
        running.reader = running.add_agent("reader", permissions=("web:read",))
        yield running


def call(proxy, provider, agent, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", proxy.proxy_url(agent, getattr(proxy, agent)))
    return CALLS[PLAIN[provider]][0](Way(proxy.certs / "bundle.pem", dict.fromkeys(PROVIDER_KEYS, "none")), monkeypatch)


@pytest.mark.parametrize("provider", RAISED)
def test_a_denial_raises_the_sdks_own_exception_with_the_reason(provider, proxy, simulator, monkeypatch):
    simulator.forget()
    began = new_call_id()
    with pytest.raises(RAISED[provider], match="Guests may not call models"):
        call(proxy, provider, "guest", monkeypatch)
    assert not simulator.seen
    event = proxy.finished_event(began)
    assert (event["policy_result"], event["status"], event["agent_id"]) == ("deny", 403, "guest")
    assert event["policy_reason"].startswith("policy_denied")
    assert event["policy_revision"]


@pytest.mark.parametrize(
    ("provider", "cap"),
    [
        ("openai", lambda body: body["max_tokens"]),
        ("gemini", lambda body: body["generationConfig"]["maxOutputTokens"]),
        ("anthropic", lambda body: body["max_tokens"]),
        ("bedrock", lambda body: body["inferenceConfig"]["maxTokens"]),
    ],
)
def test_a_cap_of_output_tokens_is_set_in_the_request(provider, cap, proxy, simulator, monkeypatch):
    simulator.forget()
    call(proxy, provider, "thrifty", monkeypatch)
    assert cap(json.loads(simulator.seen[0].body)) == 7


@pytest.mark.parametrize(
    ("provider", "model", "place"),
    [
        ("openai", "gpt-4.1-nano", lambda seen: json.loads(seen.body)["model"]),
        ("gemini", "gemini-2.5-flash-lite", lambda seen: seen.target.split("/")[-1].split(":")[0]),
        ("anthropic", "claude-haiku-4-5", lambda seen: json.loads(seen.body)["model"]),
        ("bedrock", "us.amazon.nova-lite-v1:0", lambda seen: seen.target.split("/")[2].replace("%3A", ":")),
    ],
)
def test_another_model_is_set_in_the_request(provider, model, place, *, proxy, simulator, monkeypatch):
    simulator.forget()
    began = new_call_id()
    call(proxy, provider, "redirected", monkeypatch)
    assert place(simulator.seen[0]) == model
    event = proxy.finished_event(began)
    assert event["model"] == model
    assert event["requested_model"] != model


@pytest.mark.parametrize(
    ("root", "proxied"), [("https://api.openai.com", True), ("/api/v1/openai", False), ("", False)]
)
def test_a_policy_sees_the_same_target_by_the_proxy_and_at_the_gateway(root, proxied, proxy):
    base = root if proxied else f"http://{proxy.running.gateway}{root}"
    began = new_call_id()
    with httpx.Client(
        base_url=base,
        headers={"authorization": f"Bearer {proxy.embedder}"},
        proxy=f"http://{proxy.running.forward}" if proxied else None,
        verify=ssl.create_default_context(cafile=proxy.certs / "bundle.pem"),
        trust_env=False,
    ) as client:
        chat = client.post(
            "/v1/chat/completions", json={"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
        )
        embeddings = client.post("/v1/embeddings", json={"model": "text-embedding-3-small", "input": "hello"})
    assert (chat.status_code, embeddings.status_code) == (403, 200)
    assert "No chat." in chat.text
    events = proxy.finished_events(2, began)
    assert [(event["path"], event["target"]) for event in events] == [
        ("/v1/chat/completions", "/openai/v1/chat/completions"),
        ("/v1/embeddings", "/openai/v1/embeddings"),
    ]


@pytest.mark.parametrize(("fallback", "status"), [("claude-opus-4-1", 403), ("claude-haiku-4-5", 200)])
def test_a_policy_also_decides_by_the_fallbacks_of_a_request(proxy, simulator, fallback, status):
    simulator.forget()
    asked = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}
    body = json.dumps(asked | {"fallbacks": [{"model": fallback}]}).encode()
    with RawClient(proxy.running.forward) as raw:
        assert raw.connect("api.anthropic.com:443", "thrifty", proxy.thrifty).status == 200
        raw.start_tls(proxy.root, "api.anthropic.com")
        raw.send(post("anthropic-version: 2023-06-01", host="api.anthropic.com", path="/v1/messages", body=body))
        response = raw.read_response()
    assert (response.status, len(simulator.seen)) == (status, status == 200), response
    assert ("No large models." in response.message) is (status == 403)


def test_a_changed_policy_applies_and_a_broken_one_does_not(proxy, simulator, monkeypatch):
    file = proxy.folder / "policies" / "authz.rego"
    file.write_text(POLICY.replace('"guest"', '"thrifty"').replace("max_tokens :=", "cap :="))

    def denied():
        try:
            call(proxy, "openai", "thrifty", monkeypatch)
        except openai.PermissionDeniedError:
            return True
        return False

    wait_for(denied, "the changed policy to count")
    file.write_text("package wirekey.authz\ndeny if {")
    wait_for(lambda: "stays in force" in proxy.output.read_text(), "the broken policy to be told")
    assert denied()
    file.write_text(POLICY)
    wait_for(lambda: not denied(), "the previous policy to apply again")


@pytest.mark.parametrize(
    ("agent", "request_", "status"),
    [
        ("", post(), 200),
        ("", post(path="/v1/files", method="GET", body=b""), 403),
        ("reader", post(), 403),
        ("reader", post(path="/v1/models", method="GET", body=b""), 200),
    ],
    ids=["nobody calls a model", "nobody lists files", "a reader calls a model", "a reader lists models"],
)
def test_where_no_identity_is_required_the_default_policy_serves_nobody_as_an_ordinary_agent(
    start, simulator, agent, request_, status
):
    simulator.forget()
    began = beginning()
    with RawClient(start.running.forward) as raw:
        assert raw.connect("api.openai.com:443", agent, start.reader if agent else "").status == 200
        raw.start_tls(start.root, "api.openai.com")
        raw.send(request_)
        assert raw.read_response().status == status
    assert len(simulator.seen) == (status == 200)
    event = start.finished_event(began)
    assert (event["agent_id"], event["policy_result"]) == (agent or None, "allow" if status == 200 else "deny")
