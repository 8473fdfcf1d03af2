"""Programs with the SDK of any provider whose route leads to Vertex AI: to Gemini, Claude and other publishers."""

from __future__ import annotations

import hashlib
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

import anthropic
import httpx
import openai
import pytest
from google import genai

from tests.end_to_end.test_translation import CLIENTS, Anthropic, Chat, Converse, Gemini
from tests.features.vertex.vertex_simulator import simulator, tokens
from tests.support.running import KEY_ENVIRONMENT, Wirekey, behind
from tests.support.sessions import SESSIONS, expected_turns, hold
from tests.threats.conftest import beginning
from wirekey.core.call import new_call_id
from wirekey_simulator.session import MARK
from wirekey_simulator.text import TEXT

__all__ = ["simulator", "tokens"]

LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
AT = "projects/my-project/locations/europe-west4"
GOOGLE, CLAUDES = f"/v1beta1/{AT}/publishers/google/models", f"/v1/{AT}/publishers/anthropic/models"
MODELS = {
    "gemini": "gemini-3-flash-preview",
    "claude": "claude-sonnet-4-5@20250929",
    "llama": "meta/llama-3.3-70b-instruct-maas",
}
"""The models that routes lead to, by what stands behind `to-` in the model that programs ask for."""
FORMAT = {"gemini": "gemini", "claude": "anthropic", "llama": "openai.chat"}
OWN = {("openai.chat", "gemini"), ("openai.chat", "llama"), ("gemini", "gemini"), ("anthropic", "claude")}
"""Pairs whose request keeps its format."""
PAIRS = [(client, model) for client in CLIENTS for model in MODELS]


ROUTES = [
    *({"match": f"to-{name}", "provider": "vertex", "model": model} for name, model in MODELS.items()),
    {"match": "elsewhere", "provider": "vertex", "model": MODELS["claude"], "location": "us-east5"},
    {"match": "claude-haiku-*", "provider": "vertex"},
    {"match": "gemini-2.5-pro", "called_provider": "vertex", "provider": "vertex", "location": "us-east5"},
    {"match": "gemini-1*", "called_provider": "vertex", "provider": "vertex", "model": MODELS["claude"]},
    {"match": "falls", "provider": "vertex", "model": "sim-fail-503", "fallback": ["anthropic:claude-sonnet-4-5"]},
    {"match": "falls-here", "provider": "openai", "model": "sim-fail-503", "fallback": ["vertex:gemini-2.5-flash"]},
]


@pytest.fixture(scope="module")
def wirekey(tmp_path_factory, simulator, tokens):
    folder = tmp_path_factory.mktemp("wirekey")
    (folder / "account.json").write_text(tokens.service_account())
    settings = behind(simulator, listen=LISTEN, routes=ROUTES)
    vertex = {"locations": ["europe-west4", "global"], "credentials": "account.json", "upstream_url": simulator.url}
    settings["providers"]["vertex"] = vertex
    running = Wirekey(folder, settings, environ=KEY_ENVIRONMENT)
    running.token = running.add_agent("alice")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def way(wirekey):
    return f"http://{wirekey.running.gateway}", wirekey.token, wirekey.agents.pair("alice")


@pytest.fixture(autouse=True)
def nothing_seen(simulator):
    simulator.forget()


def last(simulator):
    """The path of the last request, its body, and its access token."""
    seen = simulator.seen[-1]
    headers = {name.decode().lower(): value.decode() for name, value in seen.headers}
    return seen.target, json.loads(seen.body), headers.get("authorization", "").removeprefix("Bearer ")


@pytest.mark.parametrize(("client", "model"), PAIRS)
def test_every_format_reaches_every_publisher(  # noqa: PLR0917  # columns
    way, wirekey, simulator, tokens, client, model
):
    since = beginning()
    program = CLIENTS[client](*way)
    assert (program.plain(f"to-{model}"), program.streamed(f"to-{model}")) == (TEXT, TEXT)
    target, _, token = last(simulator)
    assert f"/{AT}/" in target
    assert token in tokens.issued
    for event in wirekey.finished_events(2, since):
        assert (event["requested_model"], event["outcome"], event["credential"]) == (
            f"to-{model}", "completed", "vertex/default",
        )  # fmt: skip
        assert event["model"] == MODELS[model]
        assert event["translation"] == (None if (client, model) in OWN else f"{client}>{FORMAT[model]}")
        assert event["input_tokens"] > 0
        assert event["output_tokens"] > 0
        assert model == "llama" or event["cost_usd"] > 0


SESSION_PAIRS = [pair for pair in PAIRS if pair[1] != "llama" and pair != ("gemini", "gemini")]
"""Each with a streamed or a plain session. Gemini's own bytes pass as they are."""


@pytest.mark.parametrize(
    ("client", "model", "streamed"), [(*pair, place % 2 == 1) for place, pair in enumerate(SESSION_PAIRS)]
)
def test_a_session_with_tools_images_and_reasoning(way, simulator, client, model, streamed):
    turns = hold(SESSIONS[client](*way, streamed=streamed), [f"to-{model}"] * len(expected_turns()))
    assert [(turn.text, [(name, given) for _, name, given in turn.calls]) for turn in turns] == expected_turns()
    assert all(f"/{AT}/" in seen.target for seen in simulator.seen)


def test_a_request_that_keeps_its_format_keeps_its_bytes(way, simulator):
    base, token, _ = way
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}

    def sent(path, body, **more):
        assert httpx.post(base + path, content=body, headers=headers | more, trust_env=False).status_code == 200
        return simulator.seen[-1].target, simulator.seen[-1].body

    asked = b'{ "max_tokens":5, "messages": [{"role":"user","content":"\\u0041"}],\n "model":"to-claude"}'
    target, body = sent("/v1/messages", asked, **{"anthropic-version": "2023-06-01"})
    assert target == f"{CLAUDES}/{MODELS['claude']}:rawPredict"
    kept = b'"max_tokens":5, "messages": [{"role":"user","content":"\\u0041"}]'
    assert kept in body
    assert json.loads(body).keys() == {"anthropic_version", "max_tokens", "messages"}

    asked = b'{"contents": [{"parts": [{"text":"\\u0041"}]}, {"role":"model","parts":[{"text":"b"}]},{"parts":'
    asked += b'[{"text":"c"}]}]}'
    target, body = sent("/v1beta/models/to-gemini:streamGenerateContent?alt=sse", asked)
    assert target == f"{GOOGLE}/{MODELS['gemini']}:streamGenerateContent?alt=sse"
    assert [content["role"] for content in json.loads(body)["contents"]] == ["user", "model", "user"]
    assert body.replace(b'"role":"user",', b"") == asked

    asked = b'{"messages": [{"role":"user","content":"\\u0041"}], "model": "to-gemini"}'
    target, body = sent("/v1/chat/completions", asked)
    assert target == f"/v1/{AT}/endpoints/openapi/chat/completions"
    assert body == asked.replace(b"to-gemini", b"google/gemini-3-flash-preview")


LARGE = {
    "openai.chat": (
        "/v1/chat/completions",
        '{"model":"to-gemini","messages":[{"role":"user","content":"TEXT"}]}',
        '{"model":"google/gemini-3-flash-preview","messages":[{"role":"user","content":"TEXT"}]}',
    ),
    "gemini": (
        "/v1beta/models/to-gemini:generateContent",
        '{"contents":[{"parts":[{"text":"TEXT"}]}]}',
        '{"contents":[{"role":"user","parts":[{"text":"TEXT"}]}]}',
    ),
    "anthropic": (
        "/v1/messages",
        '{"model":"to-claude","max_tokens":9,"messages":[{"role":"user","content":"TEXT"}]}',
        '{"anthropic_version":"vertex-2023-10-16","max_tokens":9,"messages":[{"role":"user","content":"TEXT"}]}',
    ),
}
"""Format → the path of a request, its body, and the body that arrives."""


@pytest.mark.parametrize("client", LARGE)
def test_a_body_that_lies_in_a_file_is_moved_too(way, simulator, client):
    """Of 5 MiB. It is rewritten in a thread."""
    base, token, _ = way
    path, body, expected = (part.replace("TEXT", "größer " * (5 << 17)) for part in LARGE[client])
    headers = {
        "authorization": f"Bearer {token}",
        "content-type": "application/json",
        "anthropic-version": "2023-06-01",
    }
    response = httpx.post(base + path, content=body.encode(), headers=headers, trust_env=False, timeout=60)
    assert response.status_code == 200, response.text
    (seen,) = simulator.seen
    assert f"/{AT}/" in seen.target
    assert seen.sha256 == hashlib.sha256(expected.encode()).hexdigest()


def test_models_that_routes_lead_to_are_listed(way):
    base, token, _ = way
    listed = {model.id for model in openai.OpenAI(api_key=token, base_url=f"{base}/v1").models.list()}
    assert {"to-gemini", "to-claude", "to-llama", *MODELS.values()} <= listed


def test_a_route_may_leave_the_model_and_choose_the_location(way, wirekey, simulator):
    Anthropic(*way).plain("claude-haiku-4-5")
    assert last(simulator)[0] == f"{CLAUDES}/claude-haiku-4-5:rawPredict"
    Chat(*way).plain("elsewhere")
    assert "/locations/us-east5/publishers/anthropic/" in last(simulator)[0]
    url = f"{way[0]}/api/v1/vertex/v1/{AT}/publishers/google/models"
    headers = {"authorization": f"Bearer {wirekey.token}"}
    body = {"contents": [{"role": "user", "parts": [{"text": "x"}]}]}
    for model, expected in (
        ("gemini-2.5-pro", "/v1/projects/my-project/locations/us-east5/publishers/google/models/gemini-2.5-pro:"),
        ("gemini-1.5-pro", f"{CLAUDES}/{MODELS['claude']}:rawPredict"),
    ):
        found = httpx.post(f"{url}/{model}:generateContent", json=body, headers=headers, trust_env=False)
        assert found.json()["candidates"]
        assert last(simulator)[0].startswith(expected)


def test_counts_of_tokens_reach_vertex(way, simulator):
    base, token, _ = way
    client = anthropic.Anthropic(api_key=token, base_url=base, max_retries=0)
    messages = [{"role": "user", "content": "Hi"}]
    assert client.messages.count_tokens(model="to-claude", messages=messages).input_tokens > 0
    target, body, _ = last(simulator)
    assert (target, body["model"]) == (f"{CLAUDES}/count-tokens:rawPredict", MODELS["claude"])
    assert client.messages.count_tokens(model="to-gemini", messages=messages).input_tokens > 0
    target, body, _ = last(simulator)
    assert target == f"{GOOGLE}/{MODELS['gemini']}:countTokens"
    assert body.keys() == {"contents"}
    google = genai.Client(api_key=token, http_options={"base_url": base})
    assert google.models.count_tokens(model="to-gemini", contents="Hi").total_tokens > 0
    assert google.models.count_tokens(model="to-claude", contents="Hi").total_tokens > 0


@pytest.mark.parametrize("client", [Chat, Anthropic, Gemini, Converse], ids=lambda client: client.format)
def test_a_prefix_leads_to_vertex_from_every_format(way, wirekey, simulator, client):
    since = beginning()
    for model, path in (("gemini-2.5-flash", "/publishers/google/"), ("claude-sonnet-4-5", "/publishers/anthropic/")):
        assert client(*way).plain(f"vertex:{model}") == TEXT
        target = last(simulator)[0]
        assert path in target or (client is Chat and "/endpoints/openapi/" in target)
    events = wirekey.finished_events(2, since)
    assert [event["requested_model"] for event in events] == ["gemini-2.5-flash", "claude-sonnet-4-5"]
    assert {event["credential"] for event in events} == {"vertex/default"}


def test_a_prefix_may_have_parameters_and_the_name_of_the_publisher(way, simulator):
    Chat(*way).plain("vertex:google/gemini-2.5-flash?temperature=0.25")
    _, body, _ = last(simulator)
    assert (body["model"], body["temperature"]) == ("google/gemini-2.5-flash", 0.25)
    Anthropic(*way).plain("vertex:claude-sonnet-4-5?temperature=0.5")
    assert last(simulator)[1]["temperature"] == 0.5
    Chat(*way).plain("vertex:meta/llama-3.3-70b-instruct-maas")
    assert last(simulator)[1]["model"] == "meta/llama-3.3-70b-instruct-maas"


def test_fallbacks_lead_to_vertex_and_away_from_it(way, wirekey, simulator):
    since = beginning()
    assert Anthropic(*way).plain("falls") == TEXT
    assert last(simulator)[0] == "/v1/messages"
    assert Chat(*way).streamed("falls-here") == TEXT
    assert last(simulator)[0].endswith("/endpoints/openapi/chat/completions")
    assert [event["credential"] for event in wirekey.finished_events(2, since)] == ["anthropic/1", "vertex/default"]


def test_the_hyphen_stands_for_the_project_of_the_credentials(way, wirekey, simulator):
    path = f"/v1/{AT}/publishers/google/models/gemini-2.5-flash:generateContent"
    body = {"contents": [{"role": "user", "parts": [{"text": "x"}]}]}
    url = way[0] + "/api/v1/vertex" + path.replace("my-project", "-")
    response = httpx.post(url, json=body, headers={"authorization": f"Bearer {wirekey.token}"}, trust_env=False)
    assert response.status_code == 200
    assert last(simulator)[0] == path


def test_a_request_that_vertex_cannot_have_is_refused_in_the_format_of_the_program(way, simulator):
    client = openai.OpenAI(api_key=way[1], base_url=f"{way[0]}/v1", max_retries=0)
    with pytest.raises(openai.BadRequestError, match="vertex, which does not answer embeddings"):
        client.embeddings.create(model="to-gemini", input="x")
    with pytest.raises(openai.PermissionDeniedError, match="cannot stand"):
        client.chat.completions.create(model="vertex:a:b", messages=[{"role": "user", "content": "x"}])
    assert simulator.seen == []


def test_real_curl_reaches_vertex(way, tmp_path, simulator):
    script = f'{MARK} [{{"tool": "weather", "input": {{"city": "Rome"}}}}]'
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    body = {"messages": [{"role": "user", "content": script}], "tools": [tool], "stream": True}
    for model in ("to-gemini", "to-claude"):
        (tmp_path / "body.json").write_text(json.dumps(body | {"model": model}))
        command = ["curl", "-sS", "--noproxy", "*", f"{way[0]}/v1/chat/completions"]
        command += ["-H", f"authorization: Bearer {way[1]}", "-H", "content-type: application/json"]
        done = subprocess.run([*command, "-d", f"@{tmp_path}/body.json"], capture_output=True, check=True, timeout=60)
        assert b'"name":"weather"' in done.stdout.replace(b'": ', b'":')
        assert b"data: [DONE]" in done.stdout


def test_a_hundred_calls_with_a_revoked_token_make_one_refresh_and_all_succeed(way, wirekey, simulator, tokens):
    """The token is revoked while all of them may be in progress. Each is repeated with the one new token."""
    Chat(*way).plain("to-gemini")
    del tokens.issued[:]
    since = new_call_id()
    client = openai.OpenAI(api_key=way[1], base_url=f"{way[0]}/v1", max_retries=0)
    ask = {"messages": [{"role": "user", "content": "Hi"}]}
    models = ["to-gemini", "to-claude"] * 50
    with ThreadPoolExecutor(25) as threads:
        found = list(threads.map(lambda model: client.chat.completions.create(model=model, **ask), models))
    assert all(response.choices[0].message.content == TEXT for response in found)
    assert len(tokens.issued) == 1
    events = wirekey.finished_events(100, since)
    assert {(event["outcome"], event["status"]) for event in events} == {("completed", 200)}
    assert 1 <= sum(event["attempts"] == 2 for event in events) <= 25
