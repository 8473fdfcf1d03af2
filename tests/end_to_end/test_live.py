"""Gemini Live with the real SDK: the same transcript direct and by both ways, and a record of each turn."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import sys
import time
import zlib
from dataclasses import dataclass
from socket import SHUT_RDWR, create_connection

import pytest
from google import genai
from google.genai import types
from websockets.sync.client import connect

from tests.end_to_end.test_gateway import LISTEN
from tests.end_to_end.websocket_clients import (
    BREAKS,
    Way,
    closed,
    dialled,
    files_with,
    fresh,
    interrupted_calls,
    program_of,
    refusal_of,
    token,
)
from tests.support.conversation import run_behind_exec
from tests.support.own_simulator import simulator, since
from tests.support.running import PATIENCE, PROVIDER_KEYS, wirekey_behind

__all__ = ["fresh", "simulator", "since", "token"]

MODEL = "gemini-live-2.5-flash-preview"
HOST = "generativelanguage.googleapis.com"
METHOD = "/ws/google.ai.generativelanguage.{}.GenerativeService.BidiGenerateContent"
PATH = METHOD.format("v1beta")
CANARY = "canary-81c4-of-a-frame"
POLICY = """package wirekey.authz
import rego.v1
allow if input.kind != "administration"
allow if input.agent_role == "minter"
deny contains "not this tool" if "forbidden" in input.tools
deny contains "not this model" if input.model == "gemini-forbidden"
deny contains "no second setup" if { input.operation == "realtime.session"; input.agent_role != "minter" }
deny contains "not so many turns" if { input.operation == "realtime.response"; input.message_count == 7 }
max_tokens := 3 if { input.agent_role == "terse" }
"""
LOOK_UP = {"name": "look_up", "parameters": {"type": "OBJECT", "properties": {"name": {"type": "STRING"}}}}
CONFIG = {
    "response_modalities": ["TEXT"],
    "system_instruction": f"Be brief. {CANARY}",
    "tools": [{"function_declarations": [LOOK_UP]}],
    "input_audio_transcription": {},
}


@pytest.fixture(scope="module")
def wirekey(tmp_path_factory, simulator):
    folder = tmp_path_factory.mktemp("wirekey")
    (folder / "policies").mkdir()
    (folder / "policies" / "live.rego").write_text(POLICY)
    quotas = [{"name": "spent", "per": "agent", "match": {"role": "spent"}, "usd_per_day": 0.000001}]
    routes = [
        {"match": "gemini-voice", "model": MODEL},
        {"match": "gemini-first", "fallback": [MODEL]},
    ]
    with wirekey_behind(
        folder, simulator, listen=LISTEN, policy={"path": str(folder / "policies")}, quotas=quotas, routes=routes
    ) as proxy:
        yield proxy


@dataclass
class LiveWay(Way):
    """Where the SDK connects to, with which version of the API."""

    version: str = "v1beta"

    @property
    def client(self):
        options = types.HttpOptions(base_url=self.base_url, api_version=self.version, async_client_args=self.options)
        return genai.Client(api_key=self.key, http_options=options)


@pytest.fixture
def ways(simulator, wirekey, token):
    """The ways by name. None of them needs an environment variable."""
    trusting = ssl.create_default_context(cafile=wirekey.root)
    by_proxy = {"ssl": trusting, "proxy": wirekey.proxy_url("alice", token)}
    gateway = wirekey.running.gateway
    return {
        "direct": LiveWay(
            simulator.url,
            PROVIDER_KEYS["gemini"],
            {"ssl": ssl.create_default_context(cafile=simulator.ca_file), "proxy": None},
        ),
        "proxy": LiveWay(f"https://{HOST}/", "no-key-at-all", by_proxy),
        "proxy, v1alpha": LiveWay(f"https://{HOST}/", "no-key-at-all", by_proxy, "v1alpha"),
        "gateway": LiveWay(f"https://{gateway}/", token, {"ssl": trusting, "proxy": None}),
        "gateway, prefix": LiveWay(f"https://{gateway}/api/v1/gemini", token, {"ssl": trusting, "proxy": None}),
    }


def plain(message) -> dict:
    """A message without its ids, which differ from one session to the next."""

    def without_ids(value):
        if isinstance(value, dict):
            return {name: without_ids(item) for name, item in value.items() if name != "id"}
        return [without_ids(item) for item in value] if isinstance(value, list) else value

    return without_ids(message.model_dump(exclude_none=True, mode="json"))


async def talk(way: LiveWay) -> list[dict]:
    """A session with a turn in text, one that calls a tool, and speech that the model answers unasked."""
    heard = []
    async with way.client.aio.live.connect(model=MODEL, config=CONFIG) as session:

        async def listen():
            async for message in session.receive():
                heard.append(plain(message))
                for call in message.tool_call.function_calls if message.tool_call else ():
                    done = types.FunctionResponse(id=call.id, name=call.name, response={"found": CANARY})
                    await session.send_tool_response(function_responses=done)

        await session.send_client_content(turns={"role": "user", "parts": [{"text": f"Hello. {CANARY}"}]})
        await listen()
        await session.send_client_content(turns={"role": "user", "parts": [{"text": "Please call a tool."}]})
        await listen()
        await session.send_realtime_input(audio=types.Blob(data=bytes(3000), mime_type="audio/pcm;rate=16000"))
        await session.send_realtime_input(audio_stream_end=True)
        await listen()
    return heard


@pytest.mark.parametrize("name", ["proxy", "proxy, v1alpha", "gateway", "gateway, prefix"])
def test_the_sdk_gets_the_same_transcript_as_direct(name, ways, simulator, wirekey, since):
    direct = asyncio.run(talk(ways["direct"]))
    simulator.forget()

    assert asyncio.run(talk(ways[name])) == direct

    (arrived,) = simulator.seen
    headers = dict(arrived.headers)
    assert headers[b"x-goog-api-key"] == PROVIDER_KEYS["gemini"].encode()
    assert b"wk_" not in str(arrived.headers).encode() + arrived.target.encode()
    assert arrived.target == METHOD.format(ways[name].version)
    connection, *turns = wirekey.finished_events(4, since)
    assert (connection["operation"], connection["status"], connection["outcome"]) == ("realtime", 101, "completed")
    assert (connection["agent_id"], connection["requested_model"], connection["model"]) == ("alice", MODEL, MODEL)
    assert (connection["credential"], connection["has_system"], connection["tool_count"]) == ("gemini/1", True, 1)
    assert connection["input_tokens"] is None
    assert connection["request_bytes"] > 300
    assert {each["parent_id"] for each in turns} == {connection["id"]}
    counted = [message["usage_metadata"] for message in direct if "usage_metadata" in message]
    assert len(counted) == 4
    assert sum(each["input_tokens"] for each in turns) == sum(each["prompt_token_count"] for each in counted)
    assert sum(each["output_tokens"] for each in turns) == sum(each["response_token_count"] for each in counted)
    for turn in turns:
        assert (turn["operation"], turn["outcome"], turn["finish_reason"]) == (
            "realtime.response",
            "completed",
            "turnComplete",
        )
        assert turn["input_tokens"] > turn["audio_input_tokens"] > 0
        assert turn["audio_output_tokens"] > 0


# Raw clients, for what an SDK does not do.


def without_setup(wirekey, token, *, path=PATH, **options):
    """A WebSocket of which the setup was not sent."""
    headers = {"x-goog-api-key": token} if token else {}
    return dialled(wirekey, path, headers, **options)


def setup(model=MODEL, **members) -> str:
    return json.dumps({"setup": {"model": f"models/{model}", **members}})


@contextlib.contextmanager
def opened(wirekey, token, model=MODEL, **options):
    with without_setup(wirekey, token, **options) as socket:
        socket.send(setup(model))
        assert json.loads(socket.recv(PATIENCE)) == {"setupComplete": {}}
        yield socket


def say(socket, text="Hello.", *, turns=1):
    content = {"turns": [{"role": "user", "parts": [{"text": text}]}] * turns, "turnComplete": True}
    socket.send(json.dumps({"clientContent": content}))


def turn(socket) -> list[dict]:
    """The messages of a turn."""
    found = []
    while not (found and found[-1].get("serverContent", {}).get("turnComplete")):
        found.append(json.loads(socket.recv(PATIENCE)))
    return found


def text_of(messages) -> str:
    parts = [
        message["serverContent"]["modelTurn"]["parts"][0]["text"]
        for message in messages
        if "modelTurn" in message.get("serverContent", {})
    ]
    return "".join(parts)


def refused(wirekey, token, **options) -> int:
    return refusal_of(without_setup(wirekey, token, **options))


def test_nothing_goes_to_the_provider_before_the_setup_was_judged(wirekey, token, simulator):
    with without_setup(wirekey, token) as socket:
        socket.ping().wait(PATIENCE)
        assert not simulator.seen
        socket.send(setup())
        assert json.loads(socket.recv(PATIENCE)) == {"setupComplete": {}}
        assert len(simulator.seen) == 1


@pytest.mark.parametrize("place", ["header", "query", "both", "double slash"])
def test_the_token_may_stand_in_the_header_or_in_the_query(place, wirekey, token, simulator, since):
    path = {"header": PATH, "double slash": f"/{PATH}?key={token}"}.get(place, f"{PATH}?key={token}")
    with opened(wirekey, token if place in ("header", "both") else None, path=path):
        pass
    assert simulator.seen[0].target == PATH
    assert wirekey.finished_event(since)["agent_id"] == "alice"


@pytest.mark.parametrize("key", ["no-key-at-all", "the token", None])
def test_a_key_in_the_query_through_the_proxy_reaches_the_provider_as_its_key(key, wirekey, simulator, since):
    """As Google's SDK for browsers sends it. Without proxy credentials the token in the query is the identity."""
    name = f"query-{time.time_ns()}"
    token = wirekey.add_agent(name)
    proxy = wirekey.proxy_url(name, token) if key else f"http://{wirekey.running.forward}"
    trusting = ssl.create_default_context(cafile=wirekey.root)
    address = f"wss://{HOST}{PATH}?key={key if key == 'no-key-at-all' else token}"
    with connect(address, proxy=proxy, ssl=trusting, close_timeout=PATIENCE) as socket:
        socket.send(setup())
        assert json.loads(socket.recv(PATIENCE)) == {"setupComplete": {}}
    (arrived,) = simulator.seen
    assert arrived.target == PATH
    assert dict(arrived.headers)[b"x-goog-api-key"] == PROVIDER_KEYS["gemini"].encode()
    event = wirekey.finished_event(since)
    assert (event["agent_id"], event["status"], event["outcome"]) == (name, 101, "completed")


@pytest.mark.parametrize("ends", ["with a close frame", "without one"])
def test_a_client_that_only_opens_the_websocket_is_recorded_as_such(ends, wirekey, token, simulator, since):
    with without_setup(wirekey, token) as socket:
        if ends == "without one":
            socket.socket.shutdown(SHUT_RDWR)
    event = wirekey.finished_event(since)
    assert (event["outcome"], event["status"]) == ("client_cancelled", None)
    assert event["policy_reason"].startswith("no_first_message: ")
    assert not simulator.seen


def test_two_agents_in_header_and_query_are_refused(wirekey, token, simulator):
    other = wirekey.add_agent(f"bob-{time.time_ns()}")
    assert refused(wirekey, token, path=f"{PATH}?key={other}") == 401
    assert not simulator.seen


@pytest.mark.parametrize(
    ("path", "status", "operation"),
    [
        (METHOD.format("v1beta").replace("Content", "Music"), 426, None),
        (METHOD.format("v9"), 426, None),
        (f"{PATH}Constrained?access_token=auth_tokens/of-the-client", 403, "realtime.constrained"),
    ],
    ids=["music", "version", "ephemeral"],
)
def test_other_upgrades_are_refused_before_any_connection(*, path, status, operation, wirekey, token, simulator, since):
    assert refused(wirekey, token, path=path) == status
    assert not simulator.seen
    event = wirekey.finished_event(since)
    assert (event["outcome"], event["operation"]) == ("denied", operation)


def test_an_upgrade_without_an_identity_is_refused(wirekey, simulator):
    assert refused(wirekey, None) == 401
    assert not simulator.seen


TOOL = {"tools": [{"functionDeclarations": [{"name": "forbidden"}]}]}


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize(
    ("message", "code", "says"),
    [
        (setup(**TOOL), 1008, "not this tool"),
        (setup("gemini-forbidden"), 1008, "not this model"),
        (json.dumps({"setup": {"model": "models/m", "Model": "models/gemini-forbidden"}}), 1007, "must be spelled"),
        ('{"setup":{"model":"models/a","model":"models/gemini-forbidden"}}', 1007, "appears twice"),
        ('{"setup":{"model":"models/a"},"setup":{"model":"models/gemini-forbidden"}}', 1007, "appears twice"),
        ('{"setup":{"model":"models/a"},"\\u0073etup":{"model":"models/b"}}', 1007, "appears twice"),
        ('{"setup":{"model":"models/a"},"clientContent":{}}', 1007, "one of"),
        ('{"setup":{"generationConfig":{},"generation_config":{}, "model":"m"}}', 1007, "appears twice"),
        ('{"setup":{}}', 1007, "must name a model"),
        ('{"clientContent":{"turnComplete":true}}', 1007, "must have a `setup`"),
        ("no json", 1007, "not valid JSON"),
        ("[]", 1007, "JSON object"),
    ],
    ids=lambda value: None if isinstance(value, str) and len(value) > 30 else str(value),
)
def test_a_setup_that_is_denied_or_can_be_read_in_two_ways_closes_the_connection(
    *, message, code, says, binary, wirekey, token, simulator, since
):
    with without_setup(wirekey, token) as socket:
        socket.send(message.encode() if binary else message)
        found, reason = closed(socket)
    assert (found, says in reason) == (code, True), reason
    assert not simulator.seen
    event = wirekey.finished_event(since)
    assert (event["outcome"], event["operation"], event["agent_id"]) == ("denied", "realtime", "alice")
    assert says in event["policy_reason"]


def masked(payload: bytes, first: int, mask=b"\1\2\3\4") -> bytes:
    """A frame of a client. `first`: its first byte."""
    size = len(payload)
    length = (
        bytes((0x80 | size,))
        if size < 126
        else b"\xfe" + size.to_bytes(2)
        if size < 65536
        else b"\xff" + size.to_bytes(8)
    )
    repeated = (mask * (size // 4 + 1))[:size]
    return bytes((first,)) + length + mask + bytes(a ^ b for a, b in zip(payload, repeated, strict=True))


BOMB = zlib.compress(bytes(8 << 20), wbits=-15)
HALF = b"\0" * 600_000


@pytest.mark.parametrize(
    ("frames", "code", "says"),
    [
        (b"\x82\xff" + (2 << 20).to_bytes(8) + b"mask", 1009, "more than 1048576 bytes"),
        (masked(HALF, 0x02) + b"\x80\xff" + len(HALF).to_bytes(8) + b"mask", 1009, "more than 1048576 bytes"),
        (masked(BOMB, 0xC2), 1002, "reserved bit"),
        (b"\x81\x02{}", 1002, "not masked"),
        (masked(b"", 0x89) * 200, 1008, "too many frames"),
        (masked(b"{}", 0x01) + masked(b"{}", 0x01), 1002, "begins before the previous"),
    ],
    ids=["too long", "too long in fragments", "compressed", "unmasked", "pings", "two at once"],
)
def test_a_first_message_that_breaks_the_protocol_closes_the_connection(
    *, frames, code, says, wirekey, token, simulator, since
):
    with without_setup(wirekey, token, compression=None) as socket:
        socket.socket.sendall(frames)
        found, reason = closed(socket)
    assert (found, says in reason) == (code, True), reason
    assert not simulator.seen
    event = wirekey.finished_event(since)
    assert (event["outcome"], says in event["policy_reason"]) == ("denied", True)


def test_compression_and_subprotocols_are_declined_on_both_sides(wirekey, token, simulator):
    with opened(wirekey, token, compression="deflate", subprotocols=["realtime"]) as socket:
        assert (socket.subprotocol, socket.protocol.extensions) == (None, [])
        say(socket)
        assert text_of(turn(socket)).startswith("Hello from the simulator")
    assert not {b"sec-websocket-extensions", b"sec-websocket-protocol"} & {
        name.lower() for name, _ in simulator.seen[0].headers
    }


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_a_setup_in_fragments_and_frames_that_follow_it_at_once_arrive(binary, wirekey, token):
    content = {"turns": [{"role": "user", "parts": [{"text": "Hello."}]}], "turnComplete": True}
    messages = [setup().encode(), json.dumps({"clientContent": content}).encode()]
    kind = 2 if binary else 1
    with without_setup(wirekey, token, compression=None) as socket:
        first, then = messages
        frames = masked(first[:9], kind) + masked(b"ping", 0x89) + masked(first[9:], 0x80) + masked(then, 0x80 | kind)
        socket.socket.sendall(frames[:30])
        time.sleep(0.05)
        socket.socket.sendall(frames[30:])
        assert json.loads(socket.recv(PATIENCE)) == {"setupComplete": {}}
        assert text_of(turn(socket)).startswith("Hello from the simulator")


@pytest.mark.parametrize("behaviour", ["bytewise", "headers-delay=0.05", "hints"])
def test_a_setup_byte_by_byte_and_each_delivery_of_the_provider_arrive(behaviour, wirekey, token, simulator):
    simulator.simulator.script.add(behaviour)
    with without_setup(wirekey, token, compression=None) as socket:
        for byte in masked(setup().encode(), 0x81):
            socket.socket.sendall(bytes((byte,)))
        assert json.loads(socket.recv(PATIENCE)) == {"setupComplete": {}}
        say(socket)
        assert text_of(turn(socket)).startswith("Hello from the simulator")


def test_a_route_replaces_the_model_and_nothing_else(wirekey, token, simulator, since):
    written = '{ "setup" : {"systemInstruction": {"parts":[{"text":"gemini-voice"}]},\n"model":"models/gemini-voice" }}'
    with without_setup(wirekey, token) as socket:
        socket.send(written)
        assert json.loads(socket.recv(PATIENCE)) == {"setupComplete": {}}
    assert simulator.seen[0].body == written.replace("models/gemini-voice", f"models/{MODEL}").encode()
    event = wirekey.finished_event(since)
    assert (event["requested_model"], event["model"], event["outcome"]) == ("gemini-voice", MODEL, "completed")


def test_a_model_string_sets_parameters_in_the_setup(wirekey, token, simulator):
    with without_setup(wirekey, token) as socket:
        socket.send(setup(f"{MODEL}?temperature=0.5"))
        assert json.loads(socket.recv(PATIENCE)) == {"setupComplete": {}}
    sent = json.loads(simulator.seen[0].body)["setup"]
    assert (sent["model"], sent["generationConfig"]) == (f"models/{MODEL}", {"temperature": 0.5})


def test_a_limit_of_the_policy_is_set_in_the_setup_and_holds_for_all_turns(wirekey, simulator):
    terse = wirekey.add_agent(f"terse-{time.time_ns()}", role="terse")
    with opened(wirekey, terse) as socket:
        say(socket)
        assert text_of(turn(socket)) == "Hello from the "
    sent, _ = json.JSONDecoder().raw_decode(simulator.seen[0].body.decode())
    assert sent["setup"]["generationConfig"] == {"maxOutputTokens": 3}


def test_a_second_setup_is_judged_again(wirekey, token, simulator, since):
    with opened(wirekey, token) as socket:
        socket.send(setup())
        found, reason = closed(socket)
    assert (found, reason.startswith("policy_denied"), "no second setup" in reason) == (1008, True, True)
    connection, denied = wirekey.finished_events(2, since)
    assert (denied["operation"], denied["outcome"]) == ("realtime.session", "denied")
    assert denied["parent_id"] == connection["id"]
    assert simulator.seen[0].size == len(setup())


def test_a_turn_that_the_policy_denies_closes_the_connection(wirekey, token, since):
    with opened(wirekey, token) as socket:
        say(socket)
        turn(socket)
        say(socket, turns=7)
        found, reason = closed(socket)
    assert (found, "not so many turns" in reason) == (1008, True)
    _, first, denied = wirekey.finished_events(3, since)
    assert (first["outcome"], denied["outcome"], denied["message_count"]) == ("completed", "denied", 7)


def test_an_exhausted_quota_closes_the_connection_at_the_next_turn(wirekey):
    poor = wirekey.add_agent(f"poor-{time.time_ns()}", role="spent")
    with opened(wirekey, poor) as socket:
        say(socket)
        turn(socket)
        say(socket)
        found, reason = closed(socket)
    assert (found, reason.partition(":")[0]) == (1013, "insufficient_quota")


def test_a_model_that_speaks_unasked_above_its_budget_is_closed_after_its_turn(wirekey):
    poor = wirekey.add_agent(f"poor-{time.time_ns()}", role="spent")
    with opened(wirekey, poor) as socket:
        say(socket)
        turn(socket)
        socket.send(json.dumps({"realtimeInput": {"text": "Hello?"}}))
        assert text_of(turn(socket)).startswith("Hello from the simulator")
        assert closed(socket)[0] == 1013


@pytest.mark.parametrize(
    "message",
    ['{"clientContent":{"turnComplete":true,"turn_complete":false}}', '{"realtimeInput":{},"realtimeInput":{}}', "["],
    ids=["two spellings", "twice", "no json"],
)
def test_a_later_message_that_can_be_read_in_two_ways_ends_the_connection(message, wirekey, token, simulator):
    with opened(wirekey, token) as socket:
        socket.send(message)
        assert closed(socket)[0] == 1007
    assert simulator.seen[0].size == len(setup())


@pytest.mark.parametrize(
    ("behaviour", "code", "outcome"),
    [
        ("fail=403", 1008, "upstream_error"),
        ("fail=429", 1013, "upstream_error"),
        ("fail=503", 1011, "upstream_error"),
        ("disown", 1011, "upstream_reset"),
        ("rubbish", 1011, "upstream_error"),
    ],
)
def test_a_provider_that_does_not_open_the_connection(*, behaviour, code, outcome, wirekey, token, simulator, since):
    for _ in range(4):
        simulator.simulator.script.add(behaviour)
    with without_setup(wirekey, token) as socket:
        socket.send(setup())
        assert closed(socket)[0] == code
    event = wirekey.finished_event(since)
    assert (event["outcome"], event["operation"]) == (outcome, "realtime")


def test_a_failed_opening_is_tried_again_with_the_next_model_of_the_route(wirekey, token, simulator, since):
    simulator.simulator.script.add("fail=503")
    with opened(wirekey, token, "gemini-first") as socket:
        say(socket)
        assert turn(socket)
    assert [json.JSONDecoder().raw_decode(seen.body.decode())[0]["setup"]["model"] for seen in simulator.seen[1:]] == [
        f"models/{MODEL}"
    ]
    connection, response = wirekey.finished_events(2, since)
    assert (connection["attempts"], connection["model"], response["model"]) == (2, MODEL, MODEL)


@pytest.mark.parametrize(("behaviour", "code", "outcome"), BREAKS)
def test_a_connection_that_the_provider_breaks_off_ends_at_the_client_too(
    *, behaviour, code, outcome, wirekey, token, simulator, since
):
    simulator.simulator.script.add(behaviour)
    with opened(wirekey, token) as socket:
        say(socket)
        assert closed(socket)[0] == code
    connection, response = wirekey.finished_events(2, since)
    assert (connection["outcome"], response["outcome"]) == (outcome, outcome)


def test_a_client_that_leaves_before_its_setup_is_recorded(wirekey, token, simulator, since):
    with without_setup(wirekey, token):
        pass
    event = wirekey.finished_event(since)
    assert (event["outcome"], event["status"]) == ("client_cancelled", None)
    assert not simulator.seen


def test_a_client_that_disconnects_before_its_setup_is_recorded(wirekey, token, simulator, since):
    with without_setup(wirekey, token) as socket:
        socket.socket.shutdown(SHUT_RDWR)
    assert wirekey.finished_event(since)["outcome"] == "client_cancelled"
    assert not simulator.seen


@pytest.mark.parametrize("has_setup", [False, True], ids=["before the setup", "after it"])
def test_a_revoked_agent_is_disconnected(has_setup, wirekey):
    name = f"short-lived-{time.time_ns()}"
    way = opened if has_setup else without_setup
    with way(wirekey, wirekey.add_agent(name)) as socket:
        wirekey.agents.revoke(name)
        found, reason = closed(socket)
    assert (found, reason.partition(":")[0]) == (1008, "agent_revoked")


def test_an_ephemeral_token_that_the_policy_allows_is_replaced_with_the_key(wirekey, simulator, since):
    minter = wirekey.add_agent(f"minter-{time.time_ns()}", role="minter")
    with opened(wirekey, minter, path=f"{PATH}Constrained?access_token=auth_tokens/x") as socket:
        say(socket)
        assert turn(socket)
    assert simulator.seen[0].target == f"{PATH}Constrained"
    connection, response = wirekey.finished_events(2, since)
    assert (connection["operation"], connection["model"], response["model"]) == ("realtime.constrained", MODEL, MODEL)


def test_nothing_of_a_frame_is_kept(wirekey, token):
    """The canaries of the conversations above, and one of here, are in no file of Wirekey."""
    with opened(wirekey, token) as socket:
        say(socket, CANARY)
        turn(socket)
    wirekey.finished_events(2)
    files = [path for path in wirekey.folder.rglob("*") if path.is_file() and "policies" not in path.parts]
    assert len(files) > 3
    assert not set(files) & set(files_with(wirekey, CANARY))


# Time and the end of the process, each with a Wirekey of its own.


@pytest.fixture(scope="module")
def impatient(tmp_path_factory, simulator):
    """A Wirekey with short time limits, and its agent's token."""
    timeouts = {"first_byte": 3, "idle": 2}
    with wirekey_behind(tmp_path_factory.mktemp("impatient"), simulator, listen=LISTEN, timeouts=timeouts) as proxy:
        yield proxy, proxy.add_agent("alice")


def test_a_setup_that_does_not_come_in_time_closes_the_connection(impatient, simulator):
    with without_setup(*impatient, ping_interval=None) as socket:
        assert closed(socket)[0] == 1008
    assert not simulator.seen


def test_a_provider_that_does_not_open_the_connection_in_time(impatient, simulator):
    simulator.simulator.script.add("headers-delay=60")
    with without_setup(*impatient, ping_interval=None) as socket:
        socket.send(setup())
        found, reason = closed(socket)
    assert (found, reason.partition(":")[0]) == (1011, "upstream_timeout")


def test_an_idle_connection_is_closed(impatient):
    with opened(*impatient, ping_interval=None) as socket:
        assert closed(socket) == (1001, "no frame for too long: see timeouts.idle")


def test_draining_announces_the_end_and_waits_for_the_turn(tmp_path, simulator):
    with wirekey_behind(tmp_path, simulator, listen=LISTEN, timeouts={"drain": PATIENCE}) as proxy:
        token = proxy.add_agent("alice")
        with without_setup(proxy, token) as waiting, opened(proxy, token) as socket:
            tools = {"tools": [{"functionDeclarations": [{"name": "look_up"}]}]}
            with without_setup(proxy, token) as calling:
                calling.send(setup(**tools))
                calling.recv(PATIENCE)
                say(calling, "Please call a tool.")
                call = json.loads(calling.recv(PATIENCE))["toolCall"]["functionCalls"][0]
                proxy.process.terminate()
                assert "timeLeft" in json.loads(socket.recv(PATIENCE))["goAway"]
                assert closed(socket)[0] == 1001
                assert closed(waiting)[0] == 1001
                assert "goAway" in json.loads(calling.recv(PATIENCE))
                result = {"functionResponses": [{"id": call["id"], "name": call["name"], "response": {}}]}
                calling.send(json.dumps({"toolResponse": result}))
                assert text_of(turn(calling)).startswith("Hello from the simulator")
                assert closed(calling)[0] == 1001
        assert proxy.process.wait(PATIENCE) == 0
        assert {event["outcome"] for event in proxy.events()} == {"completed", "denied"}


@pytest.mark.usefixtures("token")
def test_the_program_of_the_guide_talks(wirekey, tmp_path):
    (tmp_path / "live.py").write_text(program_of("Gemini Live"))
    done = run_behind_exec(wirekey, sys.executable, "live.py", folder=tmp_path)
    assert done.stdout.startswith("Hello from the simulator"), done.stderr


def test_a_setup_in_the_packet_of_its_request_arrives(wirekey, token):
    host, _, port = wirekey.running.gateway.rpartition(":")
    head = (
        f"GET {PATH} HTTP/1.1\r\nHost: {host}\r\nx-goog-api-key: {token}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    with create_connection((host, int(port)), PATIENCE) as raw:
        raw.sendall(head.encode() + masked(setup().encode(), 0x81))
        received = b""
        while b"setupComplete" not in received:
            more = raw.recv(65536)
            assert more, received
            received += more
    assert received.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in received


def test_after_a_kill_the_connection_and_its_turn_are_in_the_record(tmp_path, simulator):
    simulator.simulator.script.add("stall-after=3")
    with wirekey_behind(tmp_path, simulator, listen=LISTEN) as proxy:
        with opened(proxy, proxy.add_agent("alice")) as socket:
            say(socket)
            socket.recv(PATIENCE)
            proxy.process.kill()
            proxy.process.wait(PATIENCE)
        proxy.start()
        connection, response = interrupted_calls(proxy)
        assert response["parent_id"] == connection["id"]
        assert (connection["model"], response["operation"]) == (MODEL, "realtime.response")
