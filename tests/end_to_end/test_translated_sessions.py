"""Whole sessions: twelve turns with parallel tools, an image, reasoning, a forced tool and a structured response.

The SDK of each provider holds the same session with the model of every one, plain and streamed, with two upstreams in
turns, and with another upstream at every turn. The simulator refuses what the providers refuse. The SDKs for Node,
LangChain and LiteLLM hold it with another upstream at every turn. `WIREKEY_SESSIONS=all` has them hold it with each
upstream, too, and the others with two in turns both plain and streamed:

    WIREKEY_SESSIONS=all ./run.sh test tests/end_to_end/test_translated_sessions.py
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import asdict
from itertools import cycle, islice, pairwise

import msgspec
import pytest

from tests.features.translation.sdk_types import check_request
from tests.support.conversation import HERE, Program, frameworks_python, install_node_packages, installed
from tests.support.own_simulator import simulator
from tests.support.running import PATIENCE, bare_environment, wirekey_behind
from tests.support.sessions import (
    ASKS,
    MEDIA,
    PNG,
    SCHEMA,
    SCRIPT,
    SESSIONS,
    SYSTEM,
    TOOLS,
    expected_turns,
    hold,
    result_of,
)
from wirekey_simulator.history import history

__all__ = ["simulator"]

NODE = HERE / "node"
LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
MODELS = {
    "openai": "gpt-5",
    "chat": "gpt-4o-mini",
    "gemini": "gemini-3-pro-preview",
    "anthropic": "claude-sonnet-4-5",
    "adaptive": "claude-opus-4-6",
    "bedrock": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "nova": "us.amazon.nova-pro-v1:0",
}
PROVIDERS = {**{name: name for name in MODELS}, "chat": "openai", "adaptive": "anthropic", "nova": "bedrock"}
PATHS = {
    "/chat/completions": "openai.chat", "/responses": "openai.responses", "/messages": "anthropic",
    "enerateContent": "gemini", "/converse": "converse", "/converse-stream": "converse", "/invoke": "invoke",
    "/invoke-with-response-stream": "invoke",
}  # fmt: skip
SILENT = "Nothing to think about."
"""The thought of the simulated Gemini at a step without one: it always shows its thoughts."""
MAKERS = {"openai": "openai", "chat": "", "gemini": "gemini", "anthropic": "claude", "adaptive": "claude",
          "bedrock": "claude", "nova": ""}  # fmt: skip
TURNS = len(SCRIPT)
FORMATS = ["openai", "chat", "gemini", "anthropic", "bedrock"]
ROTATION = ["adaptive", "gemini", "openai", "bedrock", "chat"]
OWN = {
    ("openai.chat", "chat"), ("openai.responses", "openai"), ("gemini", "gemini"), ("anthropic", "anthropic"),
    ("converse", "bedrock"),
}  # fmt: skip
PAIRS = [(client, upstream) for client in SESSIONS for upstream in FORMATS if (client, upstream) not in OWN]
PAIRS += [("openai.chat", "nova"), ("gemini", "adaptive")]


@pytest.fixture(scope="module")
def wirekey(tmp_path_factory, simulator):
    speaks = {
        "chat": {"speaks": "openai.chat"},
        "openai": {"speaks": "openai.responses"},
        "gemini": {"speaks": "gemini"},
    }
    routes = [
        {"match": f"to-{name}", "provider": PROVIDERS[name], "model": model, **speaks.get(name, {})}
        for name, model in MODELS.items()
    ]
    settings = {"listen": LISTEN, "routes": routes, "failover": {"max_attempts": 1}}
    with wirekey_behind(tmp_path_factory.mktemp("wirekey"), simulator, **settings) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def way(wirekey):
    token = wirekey.add_agent("alice")
    return f"http://{wirekey.running.gateway}", token, wirekey.agents.pair("alice")


def held(way, simulator, client, upstreams, *, streamed):
    """Hold the session. Check what the SDK saw of it, and return what each upstream saw."""
    simulator.forget()
    session = SESSIONS[client](*way, streamed=streamed)
    turns = hold(session, [f"to-{upstream}" for upstream in upstreams])
    assert [(turn.text, [(name, given) for _, name, given in turn.calls]) for turn in turns] == expected_turns()
    for turn in turns:
        ids = [call[0] for call in turn.calls if call[0]]
        assert len(set(ids)) == len(ids)
    bodies = [msgspec.json.decode(seen.body) for seen in simulator.seen]
    assert len(bodies) == TURNS
    for seen, body, turn, step in zip(simulator.seen, bodies, turns, SCRIPT, strict=True):
        form = check_sent(seen, body)
        if form != "openai.chat" and asks_for_thought(body) and not (client == "openai.chat" and streamed):
            assert turn.thought == step.get("thought", SILENT if form == "gemini" else "")
    check_upstreams(client, upstreams, bodies)
    for upstream in set(upstreams):
        sent = [turns_as_sent(seen.body) for seen, to in zip(simulator.seen, upstreams, strict=True) if to == upstream]
        for old, new in pairwise(sent):
            assert new[: len(old)] == old


def check_sent(seen, body):
    """Check a request by the types of the upstream's SDK. Return its format."""
    form, streams = format_of(seen.target)
    check_request(form, body, streamed=streams or bool(body.get("stream")))
    return form


TOP = msgspec.json.Decoder(dict[str, msgspec.Raw])
LIST = msgspec.json.Decoder(list[msgspec.Raw])


def turns_as_sent(body):
    """Return the bytes of each turn in a request. A provider's cache of the prompt needs the same bytes again."""
    top = TOP.decode(body)
    member = next(name for name in ("messages", "contents", "input") if name in top)
    return [bytes(turn) for turn in LIST.decode(top[member])]


def format_of(target):
    """Return the format of a request by its path, and whether the path asks for a stream."""
    path = target.partition("?")[0]
    form = next(form for end, form in PATHS.items() if path.endswith(end))
    return form, "stream" in path


def asks_for_thought(body):
    fields = body.get("additionalModelRequestFields") or {}
    config = body.get("generationConfig") or {}
    return bool(
        (body.get("thinking") or fields.get("thinking") or {}).get("type") in ("enabled", "adaptive")
        or "reasoning.encrypted_content" in (body.get("include") or ())
        or config.get("thinkingConfig")
    )


def check_upstreams(client, upstreams, bodies):
    """Check that each request has the whole conversation until then, in order, and the reasoning of its own maker."""
    thought_at = [asks_for_thought(body) for body in bodies]
    for number, (upstream, body) in enumerate(zip(upstreams, bodies, strict=True)):
        found = [said for said in history(body) if said.role != "system"]
        assert SYSTEM in msgspec.json.encode(body).decode()
        mine = [said for said in found if said.role == "assistant"]
        assert len(mine) == number, (upstream, number)
        check_user_turns(found)
        for at, (said, (text, calls)) in enumerate(zip(mine, expected_turns(), strict=False)):
            assert "".join(item.text for item in said.items if item.kind == "text") == text
            made = [(item.name, item.arguments) for item in said.items if item.kind == "call"]
            assert made == calls
            signed = [item.signature for item in said.items if item.signature]
            own = MAKERS[upstream] and MAKERS[upstream] == MAKERS[upstreams[at]]
            had_thought = SCRIPT[at].get("thought") and thought_at[at]
            has_state = had_thought or (calls and MAKERS[upstreams[at]] == "gemini")  # Gemini 3 signs each first call
            carried = has_state and (calls or (client != "openai.chat" and MAKERS[upstream] != "gemini"))
            placeholder = [one for one in signed if one.startswith("skip_")]
            if own and carried:
                assert signed, (client, upstream, number, at)
                assert not placeholder
            else:
                assert signed == placeholder, (client, upstream, number, at)


def check_user_turns(found):
    """Check the user's texts and media, and that results stand in the order of their calls, with the same ids."""
    said = [item.text for turn in found if turn.role == "user" for item in turn.items if item.kind == "text"]
    assert said == [ask.text for ask in ASKS][: len(said)]
    media = [item.text for turn in found for item in turn.items if item.kind == "media"]
    assert media == ([MEDIA] if len(said) > 1 else [])
    number = 0
    for before, turn in pairwise(found):
        results = [item for item in turn.items if item.kind == "result"]
        calls = [item for item in before.items if item.kind == "call"]
        assert [item.id for item in results] == [item.id for item in calls]
        assert [item.text for item in results] == [result_of(number + at) for at in range(len(results))]
        number += len(results)


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_an_sdk_holds_a_session_with_the_model_of_another_provider(way, simulator, client, upstream, streamed):
    held(way, simulator, client, [upstream] * TURNS, streamed=streamed)


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(("client", "upstream"), sorted(OWN))
def test_an_sdk_holds_a_session_with_its_own_provider(way, simulator, client, upstream, streamed):
    held(way, simulator, client, [upstream] * TURNS, streamed=streamed)


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("client", SESSIONS)
def test_the_upstream_may_change_at_every_turn(way, simulator, client, streamed):
    held(way, simulator, client, list(islice(cycle(ROTATION), TURNS)), streamed=streamed)


MADE_IN_TURNS = [("adaptive", "gemini"), ("gemini", "openai"), ("openai", "bedrock")]
"""Two upstreams of different makers, whose models have a turn each."""
ALTERNATING = [
    (client, upstreams, streamed)
    for at, client in enumerate(SESSIONS)
    for place, upstreams in enumerate(MADE_IN_TURNS)
    for streamed in (False, True)
    if os.environ.get("WIREKEY_SESSIONS") == "all" or streamed == bool((at + place) % 2)
]


@pytest.mark.parametrize(
    ("client", "upstreams", "streamed"),
    ALTERNATING,
    ids=[f"{client}-{'-'.join(two)}-{'streamed' if streamed else 'plain'}" for client, two, streamed in ALTERNATING],
)
def test_two_upstreams_in_turns_each_get_their_own_reasoning_state_back(way, simulator, client, upstreams, streamed):
    """The simulator accepts a signature, an encrypted reasoning or a thought signature only as it has issued it."""
    held(way, simulator, client, list(islice(cycle(upstreams), TURNS)), streamed=streamed)


LIBRARIES = {
    "vercel-openai": "openai.responses",
    "vercel-openai-chat": "openai.chat",
    "vercel-gemini": "gemini",
    "vercel-anthropic": "anthropic",
    "langchain-openai": "openai.responses",
    "langchain-openai-chat": "openai.chat",
    "langchain-gemini": "gemini",
    "langchain-anthropic": "anthropic",
    "langchain-bedrock": "converse",
    "litellm-openai-chat": "openai.chat",
    "litellm-gemini": "gemini",
    "litellm-anthropic": "anthropic",
    "litellm-bedrock": "converse",
}
"""Providers of the Vercel AI SDK, LangChain and LiteLLM, and the formats that they speak."""
OTHER_SESSIONS = [
    (language, client, upstream)
    for language, clients in {
        "node": [*SESSIONS, *(name for name in LIBRARIES if name.startswith("vercel-"))],
        "python": [name for name in LIBRARIES if not name.startswith("vercel-")],
    }.items()
    for client in clients
    for upstream in [*(FORMATS if os.environ.get("WIREKEY_SESSIONS") == "all" else ()), "changing"]
    if (LIBRARIES.get(client, client), upstream) not in OWN
]


@pytest.fixture
def stage(way, simulator):
    return way, simulator


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Start the program of a language when first asked. It holds one session for each line that asks it to."""
    started = {}

    def program(language):
        if language not in started:
            if language == "node":
                install_node_packages()
                command = [installed("node"), str(HERE / "node" / "session.mjs")]
            else:
                command = [frameworks_python(), str(HERE / "python" / "session.py")]
            started[language] = Program(command, bare_environment(), tmp_path_factory.mktemp(language))
        return started[language]

    yield program
    for running in started.values():
        running.stop()


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(("language", "client", "upstream"), OTHER_SESSIONS)
def test_other_libraries_hold_a_session_with_other_providers(  # noqa: PLR0917  # columns
    stage, programs, language, client, upstream, streamed
):
    way, simulator = stage
    simulator.forget()
    gateway, token, pair = way
    upstreams = list(islice(cycle(ROTATION), TURNS)) if upstream == "changing" else [upstream] * TURNS
    job = {
        "client": client, "streamed": streamed, "models": [f"to-{name}" for name in upstreams],
        "asks": [asdict(ask) for ask in ASKS], "tools": TOOLS, "schema": SCHEMA, "system": SYSTEM,
        "png": base64.b64encode(PNG).decode(), "gateway": gateway, "token": token,
        "pair": [pair.access_key, pair.secret.reveal()],
    }  # fmt: skip
    program = programs(language)
    program.process.stdin.write(json.dumps(job).encode() + b"\n")
    program.process.stdin.flush()
    found = json.loads(program.lines.get(timeout=3 * PATIENCE) or b'{"error": "the program ended"}')
    assert "error" not in found, found
    assert [(turn["text"], [tuple(call) for call in turn["calls"]]) for turn in found["turns"]] == expected_turns()
    assert len(simulator.seen) == TURNS
    for seen in simulator.seen:
        if format_of(seen.target)[0] != LIBRARIES.get(client, client):
            check_sent(seen, msgspec.json.decode(seen.body))
