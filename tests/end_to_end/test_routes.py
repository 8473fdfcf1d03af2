"""Routes, overrides and keys through a running Wirekey: the bytes and the key that reach each upstream."""

from __future__ import annotations

import hashlib
import hmac
import json
import time

import pytest

from tests.deliveries.paths import RowAgent, each_delivery, failed_rows
from tests.docs.pages import blocks_of
from tests.providers.shapes import FORM, NEW, SHAPES, filled
from tests.support.raw_client import CHAT, RawClient, post
from tests.support.running import KEY_ENVIRONMENT, PROVIDER_KEYS, SimulatorThread, Wirekey, behind, wait_for
from tests.threats.conftest import beginning
from wirekey.core.egress.hosts import RUNTIME
from wirekey.core.operation import Kind
from wirekey.providers.bedrock.services import service_of
from wirekey.providers.registry import PROVIDERS

CORP_KEYS = ("corp-key-one-7f31", "corp-key-two-9a02")
AWS = ("AKIAREALORGANISATION", "real-secret-of-the-organisation-41d0aa")
TOKEN = "token-of-the-extension-5c11"
ENVIRON = {
    **KEY_ENVIRONMENT,
    "CORP_1": CORP_KEYS[0],
    "CORP_2": CORP_KEYS[1],
    "AWS_ID": AWS[0],
    "AWS_SECRET": AWS[1],
    "CORP_TOKEN": TOKEN,
}
SHAPES = [shape for shape in SHAPES if "bidirectional" not in shape[1] and "/ws/" not in shape[1]]
"""Requests over HTTP/1.1. The two-way operation needs HTTP/2, Gemini Live a WebSocket: they have their own tests."""
NAMES = list(dict.fromkeys((provider, model) for provider, _, _, _, model in SHAPES))
"""Provider and new model of the shapes; its place gives the model that is asked for."""


@pytest.fixture(scope="module")
def providers(tmp_path_factory):
    """The simulator of the providers."""
    running = SimulatorThread(tmp_path_factory.mktemp("simulators"), aws_credentials={AWS[0]: AWS[1]})
    yield running
    running.stop()


@pytest.fixture(scope="module")
def corp(providers):
    """Another upstream, with keys of its own."""
    keys = {name: list(CORP_KEYS) for name in PROVIDER_KEYS}
    running = SimulatorThread(providers.ca_file.parent, keys=keys, aws_credentials={AWS[0]: AWS[1]})
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def fresh(providers, corp):
    providers.forget()
    corp.forget()
    return beginning()


def started(folder, providers, **more) -> Wirekey:
    configuration = behind(providers, limits={"connections_per_client": 2000}, **more)
    running = Wirekey(folder, configuration, environ=ENVIRON)
    running.token = running.add_agent("alice")
    return running


class Client:
    """Calls that keep a tunnel to each host for as long as it lives."""

    def __init__(self, proxy: Wirekey) -> None:
        self.proxy = proxy
        self.tunnels: dict[str, RawClient] = {}

    def ask(self, request: bytes, host: str = "api.openai.com"):
        response = self.once(request, host)
        return response if response.status else self.once(request, host)

    def once(self, request: bytes, host: str):
        if host not in self.tunnels:
            raw = RawClient(self.proxy.running.forward)
            assert raw.connect(f"{host}:443", "alice", self.proxy.token).status == 200
            raw.start_tls(self.proxy.root, host)
            self.tunnels[host] = raw
        raw = self.tunnels[host]
        try:
            raw.send(request)
            response = raw.read_response()
        except OSError:
            response = None
        if response is None or response.status == 0 or response.headers.get("connection") == "close":
            self.tunnels.pop(host).socket.close()
        return response or type("Gone", (), {"status": 0})()

    def close(self) -> None:
        for raw in self.tunnels.values():
            raw.socket.close()


# Every shape, by override and by route.


def request_of(provider, line, body, content_type, model):
    method, _, path = filled(line, model).partition(" ")
    operation = PROVIDERS[provider].operations.match_operation(
        method, path.partition("?")[0], {"content-type": content_type}
    )
    service = service_of(operation.name) if provider == "bedrock" else RUNTIME
    host = PROVIDERS[provider].hosts.own or f"{service}.us-east-1.amazonaws.com"
    version = ["anthropic-version: 2023-06-01"] if provider == "anthropic" else []
    data = filled(body, model).encode()
    kind = content_type if data else None
    request = post(*version, path=path, host=host, method=method, body=data, content_type=kind, length=bool(data))
    return request, host, operation


def asked_model(prefix, provider, model):
    """Return a model whose route leads to this one. For Bedrock and Gemini it must be a valid name."""
    return f"{prefix}-model-{NAMES.index((provider, model))}"


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def play(proxy, upstream, rows):
    """Send each shape, and return those that did not arrive as expected: (what, expected, arrived)."""
    client, wrong = Client(proxy), []
    for (provider, line, body, content_type, _), asked, new in rows:
        request, host, operation = request_of(provider, line, body, content_type, asked)
        upstream.forget()
        status = client.ask(request, host).status
        sent = asked if operation.kind is Kind.LISTING else new
        expected = (filled(line, sent).partition(" ")[2], sha(filled(body, sent)))
        arrived = [(seen.target, seen.sha256) for seen in upstream.seen]
        if arrived != [expected]:
            wrong.append((provider, line, content_type == FORM, status, expected, arrived))
    client.close()
    return wrong


@pytest.fixture(scope="module")
def by_routes(tmp_path_factory, providers, corp):
    routes = []
    for prefix, more in (("old", {}), ("corp", {"upstream_url": corp.url, "auth": "bearer", "keys": ["env:CORP_1"]})):
        for provider, model in NAMES:
            routes.append({"match": asked_model(prefix, provider, model), "model": model, **more})
    running = started(tmp_path_factory.mktemp("routes"), providers, routes=routes)
    yield running
    running.stop()


@pytest.mark.parametrize("prefix", ["old", "corp"])
def test_every_shape_gets_its_routes_model_and_no_other_byte_changes(by_routes, providers, corp, prefix):
    rows = [(shape, asked_model(prefix, shape[0], shape[4]), shape[4]) for shape in SHAPES]
    assert play(by_routes, corp if prefix == "corp" else providers, rows) == []
    assert not (providers if prefix == "corp" else corp).seen


POLICY = """package wirekey.authz

model := "{}"

allow if {{ true }}
"""


@pytest.mark.parametrize("by", ["model_override", "policy"])
def test_every_shape_gets_the_model_of_override_and_policy(tmp_path, providers, by):
    more = {"model_override": NEW}
    if by == "policy":
        (tmp_path / "policies").mkdir()
        (tmp_path / "policies" / "model.rego").write_text(POLICY.format(NEW))
        more = {"policy": {"path": str(tmp_path / "policies")}}
    running = started(tmp_path / "wirekey", providers, **more)
    try:
        assert play(running, providers, [(shape, "old-model-1", NEW) for shape in SHAPES if shape[4] == NEW]) == []
    finally:
        running.stop()


# Where a call goes, and with whose key.


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, providers, corp):
    folder = tmp_path_factory.mktemp("ways")
    (python,) = [block.text for block in blocks_of("docs/guides/routing.md") if block.language == "python"]
    (folder / "my_auth.py").write_text(python + "\n\ndef broken(call, head):\n    raise KeyError(head)\n")
    routes = [
        {"match": f"{auth}-*", "upstream_url": corp.url, "auth": auth, "keys": ["env:CORP_1"]}
        for auth in ("bearer", "x-api-key", "x-goog-api-key")
    ]
    routes += [
        {
            "match": "turns-*",
            "upstream_url": corp.url,
            "auth": "bearer",
            "keys": ["env:CORP_1", "env:CORP_2"],
            "failover": {"max_attempts": 1},
        },
        {"match": "none-*", "upstream_url": corp.url, "auth": "none"},
        {"match": "us.amazon.*", "upstream_url": corp.url, "auth": "sigv4"},
        {"match": "client-*", "upstream_url": corp.url, "auth": "client"},
        {"match": "token-*", "upstream_url": corp.url, "auth": "python:my_auth:token"},
        {"match": "signed-*", "upstream_url": corp.url, "auth": "python:my_auth:signature"},
        {"match": "broken-*", "upstream_url": corp.url, "auth": "python:my_auth:broken"},
        {"match": "gemini-*", "provider": "gemini"},
        {"match": "claude-*", "provider": "anthropic"},
        {
            "match": "closed-*",
            "upstream_url": "https://127.0.0.1:9",
            "auth": "none",
            "fallback": ["bearer-2", "gpt-4o-mini"],
        },
    ]
    configuration = behind(providers, routes=routes)
    configuration["providers"]["bedrock"]["aws"] = {"access_key": "env:AWS_ID", "secret_key": "env:AWS_SECRET"}
    running = Wirekey(folder, configuration, environ=ENVIRON)
    running.token = running.add_agent("alice")
    yield running
    running.stop()


@pytest.fixture
def client(proxy):
    made = Client(proxy)
    yield made
    made.close()


def chat(model: str, *lines: str) -> bytes:
    return post(*lines, body=CHAT.replace(b"gpt-4o-mini", model.encode()))


def headers_of(seen) -> dict[str, str]:
    return {name.decode().lower(): value.decode() for name, value in seen.headers}


SLOTS = ("authorization", "x-api-key", "x-goog-api-key")


@pytest.mark.parametrize(
    ("model", "slots", "credential"),
    [
        ("bearer-1", {"authorization": f"Bearer {CORP_KEYS[0]}"}, "routes[0]/1"),
        ("x-api-key-1", {"x-api-key": CORP_KEYS[0]}, "routes[1]/1"),
        ("x-goog-api-key-1", {"x-goog-api-key": CORP_KEYS[0]}, "routes[2]/1"),
        ("none-1", {}, "routes[4]/none"),
        ("client-1", {"authorization": "Bearer sk-of-the-client"}, "openai/client"),
        ("token-1", {"authorization": f"Token {TOKEN}"}, "routes[7]/extension"),
    ],
)
def test_an_operators_upstream_gets_only_its_own_credential(  # noqa: PLR0917  # fixtures, and a row
    client, proxy, corp, providers, fresh, model, slots, credential
):
    client.ask(chat(model, "X-OpenAI-Key: sk-of-the-client", "Authorization: Bearer sk-somebody"))
    (seen,) = corp.seen
    headers = headers_of(seen)
    assert {name: headers[name] for name in SLOTS if name in headers} == slots
    assert "x-openai-key" not in headers
    assert headers["host"] == corp.url.removeprefix("https://")
    assert not providers.seen
    event = proxy.finished_event(fresh)
    assert (event["credential"], event["requested_model"], event["upstream"]) == (credential, model, "127.0.0.1")
    assert event["route"].startswith("routes[")


def test_a_routes_keys_are_used_in_turn_and_a_refused_one_cools_down(client, corp):
    used = []
    for lines in ((), (), (), ("x-simulator: fail=429, retry-after=300",), (), ()):
        client.ask(chat("turns-1", *lines))
        used.append(headers_of(corp.seen[-1])["authorization"].removeprefix("Bearer "))
    assert used == [*CORP_KEYS, *CORP_KEYS, CORP_KEYS[0], CORP_KEYS[0]]


def test_a_route_signs_its_request_for_aws(client, corp, fresh, proxy):
    path = "/model/us.amazon.nova-pro-v1%3A0/converse"
    body = b'{"messages":[{"role":"user","content":[{"text":"hello"}]}]}'
    host = "bedrock-runtime.us-east-1.amazonaws.com"
    response = client.ask(post(path=path, host=host, body=body), host)
    assert response.status == 200, response
    (seen,) = corp.seen
    assert f"Credential={AWS[0]}/" in headers_of(seen)["authorization"]
    assert proxy.finished_event(fresh)["credential"] == "bedrock/aws"


def test_without_the_clients_own_key_the_error_names_its_header(client, corp):
    response = client.ask(chat("client-1"))
    assert (response.status, "X-OpenAI-Key" in response.message) == (401, True)
    assert not corp.seen


def test_the_example_of_the_guide_signs_the_sent_request(client, corp, proxy):
    client.ask(chat("signed-1"))
    (seen,) = corp.seen
    headers = headers_of(seen)
    message = f"{seen.method} {headers['host']}{seen.target}\n".encode() + seen.body
    assert headers["x-signature"] == hmac.new(TOKEN.encode(), message, hashlib.sha256).hexdigest()
    client.ask(chat("token-1"))
    assert headers_of(corp.seen[-1])["x-on-behalf-of"] == "alice"
    assert TOKEN not in proxy.output.read_text()


def test_nothing_is_sent_if_a_function_fails(client, corp, proxy, fresh):
    response = client.ask(chat("broken-1"))
    assert (response.status, response.json()["error"]["code"]) == (503, "extension_failed")
    assert "python:my_auth:broken failed: KeyError" in response.message
    assert not corp.seen
    assert proxy.finished_event(fresh)["outcome"] == "denied"


@pytest.mark.parametrize("stream", [False, True])
def test_an_openai_program_calls_a_gemini_model(client, proxy, providers, fresh, stream):
    body = {"model": "gemini-2.5-flash", "stream": stream, "messages": [{"role": "user", "content": "hello"}]}
    response = client.ask(post(body=json.dumps(body).encode()))
    assert response.status == 200, response
    assert b"chat.completion" in response.body
    (seen,) = providers.seen
    assert seen.target == "/v1beta/openai/chat/completions"
    assert headers_of(seen)["authorization"] == f"Bearer {PROVIDER_KEYS['gemini']}"
    event = proxy.finished_event(fresh)
    assert (event["credential"], event["outcome"], event["model"]) == ("gemini/1", "completed", "gemini-2.5-flash")
    # In a stream Google tells them only to who asks, in each chunk.
    assert bool(event["input_tokens"]) is not stream


def test_a_call_that_the_routes_provider_cannot_serve_is_not_sent(client, providers):
    response = client.ask(post(path="/v1/completions", body=b'{"model":"claude-sonnet-4-5","prompt":"hello"}'))
    assert (response.status, response.json()["error"]["code"]) == (400, "format_not_offered")
    assert not providers.seen


def test_a_call_of_a_provider_of_another_format_is_translated(client, providers):
    response = client.ask(chat("claude-sonnet-4-5"))
    assert response.status == 200, response
    assert response.json()["object"] == "chat.completion"
    (seen,) = providers.seen
    assert seen.target == "/v1/messages"
    assert headers_of(seen)["x-api-key"] == PROVIDER_KEYS["anthropic"]


def test_a_model_name_with_provider_and_parameters_is_applied(client, providers, proxy, fresh):
    response = client.ask(chat("gemini:gemini-2.5-flash?temperature=0.7"))
    assert response.status == 200, response
    (seen,) = providers.seen
    sent = json.loads(seen.body)
    assert (seen.target, sent["model"], sent["temperature"]) == (
        "/v1beta/openai/chat/completions",
        "gemini-2.5-flash",
        0.7,
    )
    event = proxy.finished_event(fresh)
    assert (event["requested_model"], event["provider"]) == ("gemini-2.5-flash", "gemini")


def test_a_fallback_uses_its_own_route_and_key(client, corp, providers, proxy, fresh):
    response = client.ask(chat("closed-1"))
    assert (response.status, response.headers["x-wirekey-model"]) == (200, "bearer-2"), response
    (seen,) = corp.seen
    assert headers_of(seen)["authorization"] == f"Bearer {CORP_KEYS[0]}"
    assert seen.body == CHAT.replace(b"gpt-4o-mini", b"bearer-2")
    assert not providers.seen
    event = proxy.finished_event(fresh)
    assert (event["requested_model"], event["model"], event["route"]) == ("closed-1", "bearer-2", "routes[0]")
    assert (event["attempts"], event["credential"], event["outcome"]) == (2, "routes[0]/1", "completed")


BY_ROUTES = {
    # What the shared deployments route: the model that is asked for, the one that responds, the key, the attempts.
    "another model": ("other-model", "gpt-4.1", "openai/1", 1),
    "another provider": ("other-provider", "gemini-2.5-flash", "gemini/1", 1),
    "after a failed response": ("again-x.sim-fail-503", "gpt-4o-mini", "openai/1", 2),
    "after a failed connection": ("unreachable-x", "gpt-4o-mini", "openai/1", 2),
}


@each_delivery(2, 5)
def test_routes_lead_to_the_same_response_in_any_delivery(deployment, path, delivery):
    def check(agent: RowAgent, row: tuple[str, str, str, int]) -> None:
        asked, model, credential, attempts = row
        body = {"model": asked, "messages": [{"role": "user", "content": "hello"}]}
        for stream in (False, True):
            request = agent.request("openai", "POST", "/v1/chat/completions", json=body | {"stream": stream})
            response = agent.client.request(**request)
            assert response.status_code == 200, response.text
            assert response.headers["x-wirekey-model"] == model
            assert response.text.endswith("data: [DONE]\n\n") if stream else response.json()["choices"]
        assert [json.loads(seen.body)["model"] for seen in agent.arrived()][-1] == model
        for event in agent.events(2):
            assert (event["requested_model"], event["model"], event["credential"]) == (asked, model, credential), event
            assert (event["attempts"], event["outcome"]) == (attempts, "completed"), event

    assert failed_rows(deployment, path, delivery, BY_ROUTES, check) == []


def test_changed_routes_apply_without_a_restart(tmp_path, providers, corp):
    running = started(tmp_path, providers, routes=[{"match": "m", "model": "one"}])
    client = Client(running)
    try:
        client.ask(chat("m"))
        assert json.loads(providers.seen[-1].body)["model"] == "one"
        changed = json.loads((tmp_path / "wirekey.yaml").read_text())
        changed["routes"] = [{"match": "m", "upstream_url": corp.url, "auth": "bearer", "keys": ["env:CORP_2"]}]
        (tmp_path / "wirekey.yaml").write_text(json.dumps(changed))

        def arrived():
            client.ask(chat("m"))
            time.sleep(0.05)
            return corp.seen

        assert headers_of(wait_for(arrived, "the changed route")[0])["authorization"] == f"Bearer {CORP_KEYS[1]}"
    finally:
        client.close()
        running.stop()
