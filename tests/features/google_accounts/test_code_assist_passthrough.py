"""Google's own programs at Code Assist, signed in with an account of their own, through the proxy and the gateway."""

from __future__ import annotations

import json
import ssl

import httpx
import pytest

from tests.support.running import KEY_ENVIRONMENT, PROVIDER_KEYS, SimulatorThread, Wirekey, behind, wait_for
from tests.threats.conftest import beginning
from wirekey_simulator.google_oauth import access_token_of
from wirekey_simulator.text import TEXT

REFRESH_TOKEN = "1//canary-refresh-token-of-a-person-5a"
TOKEN = access_token_of(REFRESH_TOKEN)
SECRET = "GOCSPX-canary-secret-of-a-program"
PLACES = {"proxy": "https://cloudcode-pa.googleapis.com", "gateway": None}
TOKEN_SERVER = "https://oauth2.googleapis.com"
REGO = """
package wirekey.authz

import data.wirekey.models

default allow := true

deny contains "no pro for bob" if {
    input.agent.id == "bob"
    contains(input.model, "pro")
}

max_tokens := 7 if input.agent.id == "carol"
"""
CALL = {
    "model": "gemini-2.5-pro",
    "project": "sim-project-1",
    "user_prompt_id": "session-1########0",
    "request": {
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
        "systemInstruction": {"role": "user", "parts": [{"text": "Be short."}]},
        "tools": [{"functionDeclarations": [{"name": "read_file"}]}],
        "generationConfig": {"temperature": 1, "maxOutputTokens": 99},
        "session_id": "session-1",
    },
}
STREAM = ":streamGenerateContent?alt=sse"


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    keys = {name: [key] for name, key in PROVIDER_KEYS.items()}
    accepted = {"code_assist": [TOKEN], "google_oauth": [REFRESH_TOKEN]}
    running = SimulatorThread(tmp_path_factory.mktemp("simulator"), keys=keys | accepted)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def wirekey(tmp_path_factory, simulator):
    folder = tmp_path_factory.mktemp("policies")
    (folder / "policy.rego").write_text(REGO)
    settings = behind(
        simulator,
        listen={"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None},
        policy={"path": str(folder), "timeout": 30},
        log={"format": "json", "level": "debug", "bodies": str(folder / "bodies.jsonl")},
        routes=[{"match": "gemini-2.5-renamed", "model": "gemini-2.5-flash"}],
    )
    settings["providers"]["code_assist"] = {"key_source": "passthrough", "upstream_url": simulator.url}
    running = Wirekey(tmp_path_factory.mktemp("wirekey"), settings, environ=KEY_ENVIRONMENT)
    running.bodies = folder / "bodies.jsonl"
    running.tokens = {name: running.add_agent(name) for name in ("alice", "bob", "carol")}
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def fresh(simulator):
    simulator.simulator.script.clear()
    simulator.forget()


class Program:
    """A program with a Google login, and the way in which it calls."""

    def __init__(self, wirekey, way, agent="alice"):
        self.base = PLACES[way] or f"http://{wirekey.running.gateway}"
        self.headers = {"authorization": f"Bearer {TOKEN}"}
        options = {"trust_env": False, "timeout": 60}
        if way == "proxy":
            options["proxy"] = wirekey.proxy_url(agent, wirekey.tokens[agent])
            options["verify"] = ssl.create_default_context(cafile=wirekey.root)
        else:
            self.headers["x-goog-api-key"] = wirekey.tokens[agent]
        self.client = httpx.Client(**options)

    def call(self, path, body=CALL, **headers):
        return self.client.post(f"{self.base}/v1internal{path}", json=body, headers=self.headers | headers)

    def token_server(self, path, form, **headers):
        return self.client.post(TOKEN_SERVER + path, data=form, headers=headers)


@pytest.fixture(params=PLACES)
def way(request):
    return request.param


@pytest.fixture
def program(wirekey, way):
    return Program(wirekey, way)


def text_in(response):
    """The text of a response, or of a stream of events."""
    documents = (
        [response.json()]
        if response.headers["content-type"].startswith("application/json")
        else [
            json.loads(line.removeprefix("data: ")) for line in response.text.splitlines() if line.startswith("data: ")
        ]
    )
    parts = [part for each in documents for part in each["response"]["candidates"][0]["content"]["parts"]]
    return "".join(part["text"] for part in parts)


@pytest.mark.parametrize("path", [":generateContent", STREAM], ids=["whole", "stream"])
@pytest.mark.parametrize("delivery", ["", "bytewise", "pauses"], ids=lambda value: value or "usual")
def test_a_call_passes_with_the_programs_own_login_and_is_recorded(wirekey, simulator, program, path, delivery):
    if delivery:
        simulator.simulator.script.add(delivery)
    since = beginning()
    response = program.call(path)
    assert response.status_code == 200
    assert text_in(response) == TEXT
    (seen,) = simulator.seen
    headers = {name.decode().lower(): value.decode() for name, value in seen.headers}
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert "x-goog-api-key" not in headers
    assert json.loads(seen.body) == CALL
    event = wirekey.finished_event(since)
    assert (event["provider"], event["agent_id"]) == ("code_assist", "alice")
    assert event["operation"] == "codeAssist." + ("generateContent" if path != STREAM else "streamGenerateContent")
    assert (event["requested_model"], event["credential"]) == ("gemini-2.5-pro", "code_assist/passthrough")
    assert (event["message_count"], event["has_system"], event["tool_count"], event["max_tokens"]) == (1, 1, 1, 99)
    assert (event["outcome"], event["finish_reason"]) == ("completed", "STOP")
    assert event["input_tokens"] > 0
    assert event["output_tokens"] > 0
    assert event["cost_usd"] is None


def test_a_request_keeps_its_bytes(wirekey, simulator, program):
    body = (
        b'{ "model":"gemini-2.5-pro" ,"user_prompt_id":"1", "request":{"contents":[{"parts":[{"text":"\\u00e9"}]}]} }'
    )
    headers = program.headers | {"content-type": "application/json"}
    program.client.post(f"{program.base}/v1internal:generateContent", content=body, headers=headers)
    assert simulator.seen[0].body == body


def test_a_route_a_model_string_and_the_policy_change_the_envelope(wirekey, simulator, way):
    program = Program(wirekey, way)
    program.call(":generateContent", CALL | {"model": "gemini-2.5-renamed"})
    program.call(":generateContent", CALL | {"model": "gemini-2.5-pro?temperature=0.25"})
    Program(wirekey, way, "carol").call(STREAM)
    first, second, third = (json.loads(seen.body) for seen in simulator.seen)
    assert first["model"] == "gemini-2.5-flash"
    assert (second["model"], second["request"]["generationConfig"]["temperature"]) == ("gemini-2.5-pro", 0.25)
    assert third["request"]["generationConfig"]["maxOutputTokens"] == 7


def test_the_policy_denies_a_model(wirekey, simulator, way):
    since = beginning()
    refused = Program(wirekey, way, "bob").call(STREAM)
    assert refused.status_code == 403
    assert "no pro for bob" in refused.json()["error"]["message"]
    assert wirekey.finished_event(since)["outcome"] == "denied"
    assert simulator.seen == []


def test_a_call_needs_an_agent_and_a_login(wirekey, simulator):
    gateway = f"http://{wirekey.running.gateway}/v1internal:generateContent"
    with httpx.Client(trust_env=False) as client:
        nobody = client.post(gateway, json=CALL, headers={"authorization": f"Bearer {TOKEN}"})
        without_login = client.post(gateway, json=CALL, headers={"x-goog-api-key": wirekey.tokens["alice"]})
    assert (nobody.status_code, without_login.status_code) == (401, 401)
    assert "own key for code_assist" in without_login.json()["error"]["message"]
    assert simulator.seen == []


@pytest.mark.parametrize(
    "body",
    [
        {"model": "gemini-2.5-pro", "user_prompt_id": "1"},
        {"model": "gemini-2.5-pro", "request": []},
        {"model": "gemini-2.5-pro", "Model": "x", "request": {"contents": []}},
        {"model": 3, "request": {"contents": []}},
    ],
    ids=["no request", "a list", "two models", "a number"],
)
def test_an_ambiguous_envelope_is_refused(simulator, program, body):
    assert program.call(":generateContent", body).status_code == 400
    assert simulator.seen == []


def test_tokens_are_counted(wirekey, program):
    since = beginning()
    request = {"model": "models/gemini-2.5-pro", "contents": CALL["request"]["contents"]}
    response = program.call(":countTokens", {"request": request})
    assert response.json()["totalTokens"] > 0
    event = wirekey.finished_event(since)
    assert (event["operation"], event["requested_model"]) == ("codeAssist.countTokens", "gemini-2.5-pro")
    assert event["input_tokens"] is None


def test_a_program_signs_in_and_its_login_is_nowhere(wirekey, simulator):
    """The requests and responses hold tokens. They are recorded, and in no log, not even in that of bodies."""
    program, since = Program(wirekey, "proxy"), beginning()
    form = {
        "grant_type": "refresh_token",
        "client_id": "canary-client",
        "client_secret": SECRET,
        "refresh_token": REFRESH_TOKEN,
    }
    assert program.token_server("/token", form).json()["access_token"] == TOKEN
    assert program.token_server("/tokeninfo", {}, authorization=f"Bearer {TOKEN}").json()["email"] == "ann@example.com"
    metadata = {"pluginType": "GEMINI"}
    assert program.call(":loadCodeAssist", {"metadata": metadata}).json()["cloudaicompanionProject"] == "sim-project-1"
    assert program.call(":retrieveUserQuota", {"project": "sim-project-1"}).json() == {"buckets": []}
    assert program.call(":generateContent").status_code == 200
    operations = [event["operation"] for event in wirekey.finished_events(5, since)]
    assert operations == [
        *("oauth.token", "oauth.tokeninfo", "codeAssist.load", "codeAssist.quota", "codeAssist.generateContent")
    ]
    last = wirekey.finished_events(5, since)[-1]["id"]
    wait_for(lambda: wirekey.bodies.read_text().count(last) == 2, "the bodies to be logged")
    places = [path for path in wirekey.folder.rglob("*") if path.is_file()] + [wirekey.bodies]
    for path in places:
        content = path.read_bytes()
        assert not [secret for secret in (REFRESH_TOKEN, TOKEN, SECRET) if secret.encode() in content], path


def test_a_wrong_login_is_an_error_of_the_token_server(wirekey):
    form = {"grant_type": "refresh_token", "client_id": "c", "refresh_token": "1//other"}
    refused = Program(wirekey, "proxy").token_server("/token", form)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("method", "url", "status"),
    [
        ("POST", f"{TOKEN_SERVER}/revoke?token=canary", 404),
        ("GET", f"{TOKEN_SERVER}/tokeninfo?access_token=canary", 404),
        ("POST", f"{TOKEN_SERVER}/v1internal:generateContent", 421),
        ("POST", "https://cloudcode-pa.googleapis.com/token", 421),
        ("POST", "https://cloudcode-pa.googleapis.com/v1internal:GenerateContent", 404),
        ("POST", "https://cloudcode-pa.googleapis.com/v1internal:recordCodeAssistMetrics", 200),
    ],
    ids=["revoke", "token in the query", "other host", "token at the wrong host", "other case", "telemetry"],
)
def test_other_paths(wirekey, simulator, method, url, status):
    """The policy of this test allows everything that Wirekey knows."""
    program = Program(wirekey, "proxy")
    assert program.client.request(method, url, json={}, headers=program.headers).status_code == status
    assert bool(simulator.seen) is (status == 200)
