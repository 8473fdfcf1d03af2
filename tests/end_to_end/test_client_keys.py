"""Client-supplied keys, in their own header or in the provider's. Wirekey's keys are not used, and nothing is kept."""

from __future__ import annotations

import json
import sqlite3

import pytest

from tests.support.aws_signing import BODY, HOST, PATH, REAL, ask, signed, written
from tests.support.raw_client import RawClient, post
from tests.support.running import EVERYTHING, KEY_ENVIRONMENT, PROVIDER_KEYS, SimulatorThread, Wirekey
from tests.threats.conftest import beginning

SESSION = "AQoDYXdzEXAMPLEtoken=="
CONTENTS = b'{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}'
CLAUDE = b'{"model":"claude-sonnet-4-5","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}'
GEMINI = "generativelanguage.googleapis.com"
CALLS = {
    "openai": {},
    "gemini": {"host": GEMINI, "path": "/v1beta/models/gemini-2.5-flash:generateContent", "body": CONTENTS},
    "anthropic": {"host": "api.anthropic.com", "path": "/v1/messages", "body": CLAUDE},
    "bedrock": {"host": HOST, "path": PATH, "body": BODY},
}
PAIR_LINES = (f"X-AWS-Access-Key: {REAL[0]}", f"X-AWS-Secret-Key: {REAL[1]}")
ON_THE_WIRE = {
    "openai": (b"authorization", b"Bearer " + PROVIDER_KEYS["openai"].encode()),
    "gemini": (b"x-goog-api-key", PROVIDER_KEYS["gemini"].encode()),
    "anthropic": (b"x-api-key", PROVIDER_KEYS["anthropic"].encode()),
    "bedrock": (b"authorization", b"Bearer " + PROVIDER_KEYS["bedrock"].encode()),
}


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    running = SimulatorThread(tmp_path_factory.mktemp("simulator"), aws_credentials={REAL[0]: REAL[1]})
    yield running
    running.stop()


def wirekey(folder, simulator, mode: str) -> Wirekey:
    """A Wirekey that holds no key, though the usual variables of its environment do."""
    providers = {name: {"upstream_url": simulator.url, "key_source": mode} for name in PROVIDER_KEYS}
    configuration = {
        "upstream_ca_file": str(simulator.ca_file),
        "policy": {"path": str(EVERYTHING)},
        "providers": providers,
    }
    unused = {"OPENAI_API_KEY": "sk-not-to-be-used", "AWS_BEARER_TOKEN_BEDROCK": "not-to-be-used"}
    running = Wirekey(folder, configuration, environ={**KEY_ENVIRONMENT, **unused})
    running.token = running.add_agent("alice")
    running.pair = running.agents.pair("alice")
    return running


@pytest.fixture(scope="module")
def client(tmp_path_factory, simulator):
    running = wirekey(tmp_path_factory.mktemp("client"), simulator, "client")
    yield running
    running.stop()
    nothing_was_kept(running)


@pytest.fixture(scope="module")
def passthrough(tmp_path_factory, simulator):
    running = wirekey(tmp_path_factory.mktemp("passthrough"), simulator, "passthrough")
    yield running
    running.stop()
    nothing_was_kept(running)


def nothing_was_kept(running: Wirekey) -> None:
    """Assert that no file of the state, and no line of the log at level debug, holds a client's key."""
    with sqlite3.connect(running.state / "audit.db") as database:
        recorded = "\n".join(database.iterdump())
    kept = [path.read_bytes() for path in (running.output, *running.state.iterdir()) if path.is_file()]
    for key in (*PROVIDER_KEYS.values(), REAL[1]):
        assert key not in recorded
        assert not any(key.encode() in content for content in kept)


@pytest.fixture(autouse=True)
def fresh(simulator):
    simulator.forget()
    return beginning()


def call(proxy, provider: str, *lines: str, token: str | None = None, query: str = ""):
    options = dict(CALLS[provider])
    host = options.get("host", "api.openai.com")
    if query:
        options["path"] += query
    with RawClient(proxy.running.forward) as raw:
        token = proxy.token if token is None else token
        assert raw.connect(f"{host}:443", "alice" if token else "", token).status == 200
        raw.start_tls(proxy.root, host)
        version = ["anthropic-version: 2023-06-01"] if provider == "anthropic" else []
        raw.send(post(*version, *lines, **options))
        return raw.read_response()


HEADERS = {
    "openai": "X-OpenAI-Key",
    "gemini": "X-Gemini-Key",
    "anthropic": "X-Anthropic-Key",
    "bedrock": "X-AWS-Bearer-Token",
}


@pytest.mark.parametrize("provider", HEADERS)
def test_the_key_of_the_header_is_sent_in_the_providers_header_only(client, simulator, provider, fresh):
    response = call(client, provider, f"{HEADERS[provider]}: {PROVIDER_KEYS[provider]}", "Authorization: Bearer other")
    assert response.status == 200, response
    (seen,) = simulator.seen
    headers = [(name.lower(), value) for name, value in seen.headers]
    assert ON_THE_WIRE[provider] in headers
    assert HEADERS[provider].lower().encode() not in dict(headers)
    assert sum(PROVIDER_KEYS[provider].encode() in value for _, value in headers) == 1
    event = client.finished_event(fresh)
    assert (event["agent_id"], event["credential"], event["outcome"]) == ("alice", f"{provider}/client", "completed")


@pytest.mark.parametrize("provider", HEADERS)
def test_without_the_header_the_error_names_it_and_no_key_is_used(client, simulator, provider, fresh):
    response = call(client, provider, "Authorization: Bearer sk-own", "x-api-key: own", "x-goog-api-key: own")
    assert response.status == 401
    assert HEADERS[provider] in response.message
    assert not simulator.seen
    assert client.finished_event(fresh)["policy_reason"].startswith("no_client_key: ")


def test_a_key_alone_does_not_identify_the_caller(client, simulator):
    response = call(client, "openai", f"X-OpenAI-Key: {PROVIDER_KEYS['openai']}", token="")
    assert (response.status, response.json()["error"]["code"]) == (401, "no_agent")
    assert not simulator.seen


def test_the_agents_token_can_replace_the_key_while_the_key_is_in_its_header(client, fresh):
    key = f"X-OpenAI-Key: {PROVIDER_KEYS['openai']}"
    assert call(client, "openai", f"Authorization: Bearer {client.token}", key, token="").status == 200
    assert client.finished_event(fresh)["agent_id"] == "alice"


def test_a_clients_own_pair_signs_the_request(client, simulator, fresh):
    response = call(client, "bedrock", *PAIR_LINES, "X-AWS-Region: us-east-1")
    assert response.status == 200, response
    (seen,) = simulator.seen
    headers = {name.lower(): value for name, value in seen.headers}
    assert f"Credential={REAL[0]}/".encode() in headers[b"authorization"]
    assert not [name for name in headers if name.startswith(b"x-aws-")]
    assert client.finished_event(fresh)["credential"] == "bedrock/client"


def test_a_bearer_key_takes_precedence_over_a_pair(client, simulator):
    assert call(client, "bedrock", *PAIR_LINES, f"X-AWS-Bearer-Token: {PROVIDER_KEYS['bedrock']}").status == 200
    assert ON_THE_WIRE["bedrock"] in [(name.lower(), value) for name, value in simulator.seen[0].headers]


def test_an_agents_signature_identifies_it_and_the_clients_own_pair_signs(client, simulator, fresh):
    headers = dict(line.split(": ", 1) for line in PAIR_LINES)
    response = ask(client, written(signed(client, headers=headers)))
    assert response.status == 200, response
    assert REAL[0] in str(simulator.seen[0].headers)
    assert client.finished_event(fresh)["agent_id"] == "alice"


@pytest.mark.parametrize(
    ("lines", "status", "words"),
    [
        (PAIR_LINES[:1], 401, "X-AWS-Secret-Key missing"),
        ((*PAIR_LINES, PAIR_LINES[0]), 400, "twice"),
        ((*PAIR_LINES, "X-AWS-Region: eu-west-1"), 421, "X-AWS-Region is eu-west-1"),
        ((*PAIR_LINES, f"X-AWS-Session-Token: {SESSION}"), 403, "security token"),
    ],
)
def test_incomplete_or_misplaced_credentials_are_refused(client, simulator, lines, status, words):
    response = call(client, "bedrock", *lines)
    assert (response.status, words in response.message) == (status, True), response
    assert SESSION not in str(response)


def test_C6_an_error_that_quotes_the_session_token_does_not_show_it(client, simulator):
    lines = (*PAIR_LINES, f"X-AWS-Session-Token: {SESSION}", "x-simulator: echo-key, split=9")
    response = call(client, "bedrock", *lines)
    assert SESSION.encode() in dict(simulator.seen[0].headers).values()
    assert (response.status, SESSION in str(response), "*" * len(SESSION) in response.message) == (403, False, True), (
        response
    )


OWN_PLACES = {
    "openai": "Authorization: Bearer KEY",
    "gemini": "x-goog-api-key: KEY",
    "anthropic": "x-api-key: KEY",
    "bedrock": "Authorization: Bearer KEY",
}


@pytest.mark.parametrize("provider", OWN_PLACES)
def test_with_passthrough_only_the_clients_own_key_is_sent(passthrough, simulator, provider, fresh):
    line = OWN_PLACES[provider].replace("KEY", PROVIDER_KEYS[provider])
    response = call(passthrough, provider, line, "Cookie: a=b", f"{HEADERS[provider]}: another")
    assert response.status == 200, response
    headers = [(name.lower(), value) for name, value in simulator.seen[0].headers]
    assert ON_THE_WIRE[provider] in headers
    assert not {b"cookie", HEADERS[provider].lower().encode()} & dict(headers).keys()
    event = passthrough.finished_event(fresh)
    assert (event["agent_id"], event["credential"]) == ("alice", f"{provider}/passthrough")


def test_with_passthrough_a_key_in_geminis_query_is_moved_to_its_header(passthrough, simulator):
    assert call(passthrough, "gemini", query=f"?key={PROVIDER_KEYS['gemini']}").status == 200
    (seen,) = simulator.seen
    assert ON_THE_WIRE["gemini"] in [(name.lower(), value) for name, value in seen.headers]
    assert "?" not in seen.target


@pytest.mark.parametrize("provider", OWN_PLACES)
def test_with_passthrough_an_agents_token_is_not_a_key(passthrough, simulator, provider):
    response = call(passthrough, provider, OWN_PLACES[provider].replace("KEY", passthrough.token))
    assert response.status == 401
    assert "has none" in response.message
    assert passthrough.token not in json.dumps(response.json())
    assert not simulator.seen


def test_with_passthrough_a_key_alone_does_not_identify_the_caller(passthrough, simulator):
    line = OWN_PLACES["openai"].replace("KEY", PROVIDER_KEYS["openai"])
    assert call(passthrough, "openai", line, token="").status == 401
    assert not simulator.seen
