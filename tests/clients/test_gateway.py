"""Programs with nothing but a base URL and their agent's token as the key, as `exec --gateway` runs them.

Each call is made direct, at the gateway's root and below `/api/v1/PROVIDER`: its program gets the same three times.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import pytest

from tests.clients.calls import CREDENTIALS, LIBRARIES, SDKS, Made, as_sent, named
from tests.support.aws_signing import MODELS
from tests.support.running import PROVIDER_KEYS, wait_for

FRAMEWORKS = [
    ("frameworks", "langchain-openai", "openai"),
    ("frameworks", "langchain-gemini", "gemini"),
    ("frameworks", "litellm-openai", "openai"),
    ("frameworks", "litellm-gemini", "gemini"),
    ("frameworks", "litellm-anthropic", "anthropic"),
    ("frameworks", "litellm-bedrock", "bedrock"),
    ("node", "vercel-openai", "openai"),
    ("node", "vercel-openai-chat", "openai"),
    ("node", "vercel-gemini", "gemini"),
    ("node", "vercel-anthropic", "anthropic"),
]
EVERYWHERE = ["chat", "stream"]
TOOLS = ["tools", "tools-stream"]
OF_PROVIDER = {
    "openai": ["responses", "embed", "models", "files", "transcribe"],
    "anthropic": ["count", "models", "files"],
    "gemini": ["embed", "count", "models", "files"],
    "bedrock": ["invoke", "invoke_stream", "embed"],
    "mistral": ["embed", "fim", "models"],
}
WHOLE = {"openai", "anthropic", "gemini", "bedrock", "bedrock-http1", "mistral"}
"""Clients that are asked for all that the SDK does; the others are variants."""
EMBEDDING = {
    "langchain-openai", "langchain-gemini", "litellm-openai", "litellm-gemini", "vercel-openai", "vercel-gemini"
}  # fmt: skip
ACTIONS = {
    "tools": ("chat", {"tools": True, "text": "Please call a tool."}),
    "tools-stream": ("stream", {"tools": True, "text": "Please call a tool."}),
}
TEXT = "Ein Häschen \N{RABBIT} hüpft."
WAYS = ["gateway", "prefixed"]


def actions_of(client: str, provider: str) -> list[str]:
    if client in WHOLE:
        return [*EVERYWHERE, *TOOLS, *OF_PROVIDER[provider]]
    return [*EVERYWHERE, *TOOLS, *(["embed"] if client in EMBEDDING else [])]


CALLS = [
    pytest.param(language, client, provider, action, id=f"{language}-{client}-{action}")
    for language, client, provider in [*SDKS, *FRAMEWORKS]
    for action in actions_of(client, provider)
] + [
    pytest.param(language, client, provider, action, id=f"{language}-{client}-{action}")
    for language, client, provider in LIBRARIES
    for action in EVERYWHERE
]


@pytest.fixture
def make(stage):
    """Make one call in one way. The provider restarts its counters first."""

    def make(way: str, language: str, client: str, action: str, **options) -> Made:
        stage.simulator.simulator.reset()
        what, wished = ACTIONS.get(action, (action, {}))
        outcome = stage.program(language, way).do(client, what, **{"text": TEXT, **wished, **options})
        wait_for(lambda: all(seen.outcome for seen in stage.simulator.seen), "the provider to finish")
        return Made(outcome, stage.simulator.seen)

    return make


COUNTED = re.compile(r"0{6,}[0-9a-f]+")
"""What the provider counts up from call to call, in its ids."""


def without_chance(made: Made) -> str:
    """What the program got, but for the provider's count and, in plain libraries, how the bytes fell into pieces."""
    outcome = asdict(made.outcome)
    if isinstance(outcome["value"], list) and all(isinstance(piece, str) for piece in outcome["value"]):
        outcome["value"] = "".join(outcome["value"])
    return COUNTED.sub("", json.dumps(outcome, sort_keys=True))


def targets(made: Made) -> list[str]:
    return [COUNTED.sub("", seen.target) for seen in made.arrived]


@pytest.mark.parametrize(("language", "client", "provider", "action"), CALLS)
def test_a_client_gets_the_same_at_the_gateway_as_direct(  # noqa: PLR0917  # columns of the table
    stage, make, language, client, provider, action
):
    direct = make("direct", language, client, action)
    assert not direct.outcome.failed, direct.outcome
    if action in TOOLS:
        assert "weather" in json.dumps(direct.outcome.value)
    for way in WAYS:
        made = make(way, language, client, action)
        if action == "models" and way == "gateway":
            assert made.outcome.value  # of all providers, where the root is asked
            continue
        assert without_chance(made) == without_chance(direct)
        assert targets(made) == targets(direct)
        assert {seen.provider for seen in made.arrived} == {provider}
        for seen in made.arrived:
            keys = [value for name, value in seen.headers if name.lower() in CREDENTIALS]
            if "upload_id=" in seen.target:  # which is a credential itself
                assert keys == []
            else:
                assert [key.removeprefix(b"Bearer ") for key in keys] == [PROVIDER_KEYS[provider].encode()]
            everything = repr(seen.headers) + seen.target
            assert "wk_" not in everything
            assert "wirekey" not in everything.lower()
            assert stage.proxy.running.gateway not in everything
    events = [event for event in stage.proxy.events() if event["id"] > stage.began]
    assert {event["agent_id"] for event in events} == {"alice"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("action", EVERYWHERE)
@pytest.mark.parametrize(("language", "client", "provider"), named([*SDKS, *LIBRARIES]))
def test_a_request_arrives_unchanged(  # noqa: PLR0917  # columns of the table
    make, language, client, provider, action, way
):
    direct, made = (as_sent(make(each, language, client, action).request) for each in ("direct", way))
    for sent in (direct, made):
        # Without TLS a client speaks HTTP/1, unless it knows better; and Node's fetch does not offer br.
        sent["line"] = sent["line"][:2]
        headers = [(name.lower(), value.replace(b"br, ", b"")) for name, value in sent["headers"]]
        sent["headers"] = sorted(header for header in headers if header[0] != b"host")
    assert made == direct


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("language", "client"), [("python", "bedrock"), ("node", "bedrock"), ("node", "bedrock-http1")]
)
def test_every_name_of_a_bedrock_model_is_signed_and_arrives(  # noqa: PLR0917  # columns of the table
    stage, make, language, client, model, way
):
    for action in ("chat", "stream", "invoke", "invoke_stream"):
        made = make(way, language, client, action, model=model)
        assert not made.outcome.failed, made.outcome
        assert made.request.target.split("/")[2].replace("%3A", ":").replace("%2F", "/") == model
    events = stage.proxy.finished_events(4, stage.began)
    assert {(event["agent_id"], event["requested_model"], event["outcome"]) for event in events} == {
        ("alice", model, "completed")
    }


@pytest.mark.parametrize(
    ("language", "client"),
    [("python", "openai"), ("python", "openai-async"), ("node", "openai")],
)
@pytest.mark.parametrize("action", [*EVERYWHERE, *TOOLS])
def test_an_openai_client_asks_for_a_gemini_model(stage, make, language, client, action):
    made = make("gateway", language, client, action, model="gemini-2.5-flash")
    assert not made.outcome.failed, made.outcome
    assert made.request.target == "/v1beta/openai/chat/completions"
    if action in TOOLS:
        assert "weather" in json.dumps(made.outcome.value)
    event = stage.proxy.finished_event(stage.began)
    assert (event["agent_id"], event["provider"], event["outcome"]) == ("alice", "gemini", "completed")
    assert "stream" in action or event["input_tokens"] > 0  # Google tells those of a stream to who asks for them


ERRORS = named([*SDKS, *FRAMEWORKS])


@pytest.mark.parametrize("action", EVERYWHERE)
@pytest.mark.parametrize(("language", "client", "provider"), ERRORS)
def test_a_providers_error_is_raised_as_if_it_had_been_called_direct(stage, language, client, provider, action):
    for status in (400, 404, 500):
        raised = []
        for way in ("direct", "gateway"):
            stage.simulator.simulator.reset()
            stage.script(f"fail={status}, retry-after=0", 5)
            raised.append(stage.program(language, way).do(client, action))
        direct, made = raised
        assert direct.failed, direct
        assert (made.type, made.status, made.message) == (direct.type, direct.status, direct.message)


@pytest.mark.parametrize(("language", "client", "provider"), ERRORS)
def test_a_stream_that_breaks_with_an_error_raises_it(stage, language, client, provider):
    raised = []
    for way in ("direct", "gateway"):
        stage.simulator.simulator.reset()
        stage.script("error-after=2")
        raised.append(stage.program(language, way).do(client, "stream"))
    direct, made = raised
    assert (made.type, made.status, made.message) == (direct.type, direct.status, direct.message)


@pytest.mark.parametrize(("language", "client", "provider"), named(SDKS))
def test_a_stream_that_its_program_leaves_is_left_for_the_provider_too(stage, language, client, provider):
    stage.script("gate")
    left = stage.program(language, "gateway")
    left.ask(client, "stream", leave=True)
    assert left.outcome().left
    wait_for(lambda: stage.simulator.seen[0].outcome == "client_gone", "the provider to notice")
    assert stage.proxy.finished_event(stage.began)["outcome"] == "client_cancelled"
