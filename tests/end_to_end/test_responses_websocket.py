"""OpenAI's Responses over a WebSocket: one connection, many calls, each judged and recorded like one by HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import time
from socket import create_connection

import openai
import pytest
from websockets.exceptions import InvalidStatus

from tests.end_to_end.test_gateway import LISTEN
from tests.end_to_end.websocket_clients import (
    BREAKS,
    Way,
    closed,
    files_with,
    fresh,
    interrupted_calls,
    opened,
    plain,
    program_of,
    refused,
    run_with_openai,
    say,
    token,
    until,
    ways,
)
from tests.features.realtime.test_endurance import memory_of
from tests.support.own_simulator import simulator, since
from tests.support.running import PATIENCE, PROVIDER_KEYS, wait_for, wirekey_behind

__all__ = ["fresh", "simulator", "since", "token", "ways"]

PATH = "/v1/responses"
CANARY = "canary-3d90-of-a-frame"
INPUT = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": f"Hello. {CANARY}"}]}]
TOOL = {"type": "function", "name": "look_up", "parameters": {"type": "object", "properties": {}}}
FORBIDDEN = TOOL | {"name": "forbidden"}
ROUNDS = int(os.environ.get("WIREKEY_REALTIME_MESSAGES", "600"))
BODY_LIMIT = 3 * 1024 * 1024
POLICY = """package wirekey.authz
import rego.v1
allow := true
deny contains "not this tool" if "forbidden" in input.tools
deny contains "not this model" if input.model == "gpt-forbidden"
deny contains "no connections" if { input.operation == "responses.connect"; input.agent.role == "by-http" }
deny contains "not by this method" if { input.operation == "responses"; input.method != "POST" }
max_tokens := 16 if input.model == "gpt-capped"
model := "gpt-5-mini" if input.model == "gpt-replaced"
"""
ROUTES = [
    {"match": "gpt-routed", "model": "gpt-5-mini"},
    {"match": "gpt-translated", "provider": "anthropic", "model": "claude-sonnet-4-5"},
]


@pytest.fixture(scope="module")
def wirekey(tmp_path_factory, simulator):
    folder = tmp_path_factory.mktemp("wirekey")
    (folder / "policies").mkdir()
    (folder / "policies" / "responses.rego").write_text(POLICY)
    settings = {
        "policy": {"path": str(folder / "policies")},
        "quotas": [{"name": "spent", "per": "agent", "match": {"role": "spent"}, "usd_per_day": 0.000001}],
        "limits": {"websocket": {"messages_per_second": 100_000}, "body_bytes": BODY_LIMIT},
        "routes": [*ROUTES, {"match": "gpt-own-key", "provider": "openai", "keys": [f"file:{folder}/other-key"]}],
    }
    (folder / "other-key").write_text("sk-other-key")
    with wirekey_behind(folder, simulator, listen=LISTEN, **settings) as proxy:
        yield proxy


def heard_until_end(connection) -> list[dict]:
    heard = []
    for event in connection:
        heard.append(event)
        if event.type in ("response.completed", "response.incomplete", "response.failed", "error"):
            return heard
    raise AssertionError("the connection was closed")


def talk(way: Way) -> list[dict]:
    """A conversation with two models, a tool, a limit, lanes, and a mistake."""
    heard = []
    with (
        openai.OpenAI(api_key=way.key, base_url=way.base_url) as client,
        client.responses.connect(websocket_connection_options=way.options) as connection,
    ):

        def ask(**request):
            connection.response.create(**request)
            events = heard_until_end(connection)
            heard.extend(map(plain, events))
            return events[-1]

        first = ask(model="gpt-5", input=INPUT, store=False, instructions="Be brief.")
        ask(model="gpt-5", input="Again.", store=False, previous_response_id=first.response.id)
        ask(model="gpt-4o-mini", input="Call a tool.", tools=[TOOL])
        ask(model="gpt-4o-mini", input="Much.", max_output_tokens=16, stream_id="lane")
        ask(model="gpt-4o-mini", input="More.", previous_response_id="resp_unknown")
        ask(model="gpt-5", input="Prepare.", generate=False)
    return heard


async def talk_async(way: Way) -> list[dict]:
    heard = []
    async with (
        openai.AsyncOpenAI(api_key=way.key, base_url=way.base_url) as client,
        client.responses.connect(websocket_connection_options=way.options) as connection,
    ):
        await connection.response.create(model="gpt-5", input="Hello.")
        async for event in connection:
            heard.append(plain(event))
            if event.type == "response.completed":
                return heard
    raise AssertionError("the connection was closed")


@pytest.mark.parametrize("name", ["proxy", "gateway", "gateway, TLS", "gateway, compressed"])
def test_the_sdk_gets_the_same_transcript_as_direct(name, ways, simulator, wirekey, since):
    direct = talk(ways["direct"])
    simulator.forget()

    assert talk(ways[name]) == direct

    (arrived,) = simulator.seen
    assert (arrived.target, arrived.status) == (PATH, 101)
    assert dict(arrived.headers)[b"authorization"] == f"Bearer {PROVIDER_KEYS['openai']}".encode()
    assert b"wk_" not in str(arrived.headers).encode()
    connection, *calls = wirekey.finished_events(7, since)
    assert (connection["operation"], connection["status"], connection["outcome"]) == (
        "responses.connect",
        101,
        "completed",
    )
    assert (connection["requested_model"], connection["input_tokens"]) == (None, None)
    calls.sort(key=lambda call: call["id"])
    assert {(call["operation"], call["method"], call["path"], call["agent_id"]) for call in calls} == {
        ("responses", "POST", PATH, "alice")
    }
    assert {call["parent_id"] for call in calls} == {connection["id"]}
    assert [call["model"] for call in calls] == ["gpt-5"] * 2 + ["gpt-4o-mini"] * 3 + ["gpt-5"]
    assert [call["outcome"] for call in calls] == ["completed"] * 4 + ["upstream_error", "completed"]
    finished = ["completed"] * 4 + [None, "completed"]
    assert [call["finish_reason"] for call in calls] == finished
    assert [call["tool_count"] for call in calls] == [0, 0, 1, 0, 0, 0]
    assert calls[0]["has_system"]
    assert calls[3]["max_tokens"] == 16
    assert calls[4]["policy_reason"] == "previous_response_not_found"
    for call in calls[:4]:
        assert call["input_tokens"] > 0
        assert call["output_tokens"] > 0
        assert call["cost_usd"] > 0
        assert call["ttfb_ms"] is not None
    assert calls[1]["input_tokens"] > calls[0]["input_tokens"]


@pytest.mark.parametrize("name", ["proxy", "gateway"])
def test_the_async_sdk_gets_the_same_transcript_as_direct(name, ways):
    assert asyncio.run(talk_async(ways[name])) == asyncio.run(talk_async(ways["direct"]))


# Raw clients, for what an SDK does not do.


def connected(wirekey, token, **options):
    return opened(wirekey, token, **{"path": PATH} | options)


def ask(socket, model="gpt-5", **members):
    say(socket, "response.create", model=model, **{"input": "Hello."} | members)


def answered(socket, **request) -> dict:
    ask(socket, **request)
    return until(socket, "response.completed")["response"]


def failure_of(socket) -> dict:
    event = until(socket, "error")
    return event["error"] | {"status": event["status"]}


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"tools": [FORBIDDEN]}, "not this tool"),
        ({"model": "gpt-forbidden"}, "not this model"),
        ({"input": [*INPUT, {"type": "additional_tools", "tools": [FORBIDDEN]}]}, "not this tool"),
    ],
    ids=["tool", "model", "tool in the input"],
)
def test_a_denied_request_is_not_sent_and_the_connection_stays(
    *, request_, says, compression, wirekey, token, simulator, since
):
    with connected(wirekey, token, compression=compression) as socket:
        first = answered(socket)
        sent = simulator.seen[0].size
        ask(socket, **request_, stream_id="lane")
        event = until(socket, "error")
        assert (event["status"], event["stream_id"]) == (403, "lane")
        assert says in event["error"]["message"]
        assert simulator.seen[0].size == sent
        assert answered(socket, previous_response_id=first["id"])["status"] == "completed"
    connection, *calls = wirekey.finished_events(4, since)
    (denied,) = [call for call in calls if call["status"] == 403]
    assert (denied["outcome"], denied["parent_id"]) == ("denied", connection["id"])
    assert says in denied["policy_reason"]
    assert event["error"]["headers"] == {"x-wirekey-request-id": denied["id"]}
    assert [call["outcome"] for call in calls if call is not denied] == ["completed", "completed"]


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize(
    ("asked", "sent", "route"),
    [
        ("gpt-routed", "gpt-5-mini", "routes[0]"),
        ("gpt-replaced", "gpt-5-mini", None),
        ("gpt-5?temperature=1", "gpt-5", None),
    ],
)
def test_the_model_is_changed_by_routes_policy_and_its_own_name(
    *, asked, sent, route, compression, wirekey, token, since
):
    with connected(wirekey, token, compression=compression) as socket:
        assert answered(socket, model=asked)["model"] == sent
        assert answered(socket)["model"] == "gpt-5"
    _, changed, _ = wirekey.finished_events(3, since)
    assert (changed["requested_model"], changed["model"]) == (asked.partition("?")[0], sent)
    assert changed["route"] == route


def test_a_limit_of_the_policy_is_set_in_the_request(wirekey, token):
    with connected(wirekey, token) as socket:
        assert answered(socket, model="gpt-capped", max_output_tokens=500)["max_output_tokens"] == 16
        assert answered(socket, model="gpt-capped")["max_output_tokens"] == 16
        assert answered(socket, max_output_tokens=500)["max_output_tokens"] == 500


def test_only_changed_values_differ_in_what_is_sent(wirekey, token, simulator):
    """The provider echoes what it was asked, and counts its bytes."""
    payload = '{ "type":"response.create",  "input":"Hi \\u00e4",\t"metadata":{"a":"1.0"}, "model" : "gpt-routed"}'
    with connected(wirekey, token) as socket:
        socket.send(payload)
        response = until(socket, "response.completed")["response"]
    assert (response["model"], response["metadata"]) == ("gpt-5-mini", {"a": "1.0"})
    assert simulator.seen[0].size == len(payload)  # both names have as many characters


CONVERSATION = {"session-id": "01a20d7d-081a-7e01-a4b3-d2d192d31688"}
"""As Codex names it."""


@pytest.mark.parametrize("model", ["gpt-translated", "gpt-own-key", "anthropic:claude-sonnet-4-5"])
def test_a_request_whose_route_leads_elsewhere_is_refused_and_its_conversation_uses_http_next(
    model, wirekey, simulator, since
):
    token = wirekey.add_agent(f"traveller-{time.time_ns()}")
    with connected(wirekey, token, headers=CONVERSATION) as socket:
        size = simulator.seen[0].size
        ask(socket, model=model)
        failure = failure_of(socket)
        assert (failure["status"], failure["code"]) == (403, "route_needs_http")
        assert simulator.seen[0].size == size
        assert answered(socket)["model"] == "gpt-5"
    with pytest.raises(InvalidStatus) as refused, connected(wirekey, token, headers=CONVERSATION):
        pass
    response = refused.value.response
    assert response.status_code == 426  # so that Codex goes on with HTTP
    error = json.loads(response.body)["error"]
    assert error["code"] == "route_needs_http"
    assert model in error["message"]
    outcomes = [event["outcome"] for event in wirekey.finished_events(4, since)]
    assert sorted(outcomes) == ["completed", "completed", "denied", "denied"]


@pytest.mark.parametrize("headers", [{}, {"session-id": "another"}])
def test_other_programs_of_the_agent_still_open_connections(headers, wirekey):
    token = wirekey.add_agent(f"traveller-{time.time_ns()}")
    with connected(wirekey, token, headers=CONVERSATION) as socket:
        ask(socket, model="gpt-translated")
        assert failure_of(socket)["code"] == "route_needs_http"
        with connected(wirekey, token, headers=headers) as other:
            assert answered(other)["model"] == "gpt-5"


def test_a_policy_that_denies_connections_makes_programs_use_http(wirekey, simulator, since):
    token = wirekey.add_agent(f"by-http-{time.time_ns()}", role="by-http")
    assert refused(wirekey, token, path=PATH) == 426
    assert not simulator.seen
    event = wirekey.finished_event(since)
    assert (event["outcome"], event["status"], event["operation"]) == ("denied", 426, "responses.connect")
    assert "no connections" in event["policy_reason"]


@pytest.mark.parametrize(("path", "status"), [(f"{PATH}?model=gpt-5", 400), (f"{PATH}/resp_1", 426)])
def test_an_upgrade_elsewhere_is_refused(path, status, wirekey, token, simulator):
    assert refused(wirekey, token, path=path) == status
    assert refused(wirekey, None, path=path) == 401
    assert not simulator.seen


def test_an_exhausted_budget_refuses_the_request_and_not_the_connection(wirekey):
    with connected(wirekey, wirekey.add_agent(f"poor-{time.time_ns()}", role="spent")) as socket:
        answered(socket)
        ask(socket)
        failure = failure_of(socket)
        assert (failure["code"], failure["status"]) == ("insufficient_quota", 429)
        assert socket.ping(b"still open").wait(PATIENCE)


def test_a_response_that_continues_after_steering_is_a_call_too(wirekey, token, since):
    with connected(wirekey, token) as socket:
        first = answered(socket, model="gpt-routed", tools=[TOOL])
        say(socket, "response.steer", previous_response_id=first["id"], input="Shorter.")
        assert until(socket, "response.steer.accepted")
        second = until(socket, "response.completed")["response"]
        assert second["previous_response_id"] == first["id"]
        say(socket, "response.steer", previous_response_id="resp_unknown", input="Shorter.")
        assert failure_of(socket)["code"] == "unknown_response"
        say(socket, "response.processed", response_id=second["id"])
        assert answered(socket)["status"] == "completed"
    connection, asked, continued, _, _ = sorted(wirekey.finished_events(5, since), key=lambda event: event["id"])
    assert continued["parent_id"] == connection["id"]
    for name in ("requested_model", "model", "tool_count", "route", "outcome"):
        assert continued[name] == asked[name]
    assert continued["input_tokens"] > asked["input_tokens"]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('{"type":"response.create","model":"a","model":"gpt-forbidden","input":"x"}', "malformed_body"),
        ('{"type":"response.processed","type":"response.create","model":"gpt-5","input":"x"}', "malformed_body"),
        ('{"type":"response.create","Model":"gpt-forbidden","model":"gpt-5","input":"x"}', "malformed_body"),
        ('{"type":"response.create","model":"gpt-5","input":"x","response":{"model":"m"}}', "malformed_body"),
        ('{"type":"session.update","session":{"model":"gpt-forbidden"}}', "unknown_event"),
        ('{"type":"response.cancel","model":"gpt-forbidden"}', "unknown_event"),
        ('{"model":"gpt-5","input":"x"}', "malformed_body"),
        ("no json", "malformed_body"),
        ("[]", "malformed_body"),
        (b"\xff\xfe", "malformed_body"),
    ],
)
@pytest.mark.parametrize("compression", [None, "deflate"])
def test_a_message_that_could_ask_for_more_than_was_judged_is_not_sent(
    *, message, code, compression, wirekey, token, simulator
):
    with connected(wirekey, token, compression=compression) as socket:
        socket.send(message)
        failure = failure_of(socket)
        assert (failure["status"], failure["code"]) == (400, code)
        assert simulator.seen[0].size == 0
        assert answered(socket)["status"] == "completed"


def test_binary_and_fragmented_messages_are_judged_whole(wirekey, token):
    event = json.dumps({"type": "response.create", "model": "gpt-5", "input": "x", "tools": [FORBIDDEN]})
    with connected(wirekey, token) as socket:
        socket.send(event.encode())
        assert "not this tool" in failure_of(socket)["message"]
        socket.send(iter([event[:20], event[20:90], event[90:]]))
        assert "not this tool" in failure_of(socket)["message"]


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_a_large_request_is_judged_and_changed_like_a_small_one(compression, wirekey, token, since):
    text = "long " * 400_000
    with connected(wirekey, token, compression=compression) as socket:
        assert answered(socket, model="gpt-routed", input=text)["model"] == "gpt-5-mini"
        ask(socket, input=text, tools=[FORBIDDEN])
        assert "not this tool" in failure_of(socket)["message"]
        say(socket, "session.update", session=text)
        assert failure_of(socket)["code"] == "unknown_event"
    _, changed, _, _ = wirekey.finished_events(4, since)
    assert changed["request_bytes"] > 2_000_000


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_a_request_larger_than_the_limit_of_bodies_closes_the_connection(compression, wirekey, token, simulator):
    with connected(wirekey, token, compression=compression) as socket:
        ask(socket, input="A" * BODY_LIMIT)
        assert closed(socket)[0] == 1009
    assert simulator.seen[0].size == 0


def test_a_revoked_agent_is_disconnected(wirekey):
    name = f"short-lived-{time.time_ns()}"
    with connected(wirekey, wirekey.add_agent(name)) as socket:
        answered(socket)
        wirekey.agents.revoke(name)
        assert closed(socket)[0] == 1008


@pytest.mark.parametrize(("behaviour", "code", "outcome"), BREAKS)
def test_a_connection_that_the_provider_breaks_off_ends_at_the_client_too(
    *, behaviour, code, outcome, wirekey, token, simulator, since
):
    simulator.simulator.script.add(behaviour)
    with connected(wirekey, token) as socket:
        ask(socket)
        assert closed(socket)[0] == code
    connection, response = wirekey.finished_events(2, since)
    assert (connection["outcome"], response["outcome"]) == (outcome, outcome)
    assert response["output_tokens"] is None


def test_a_refusal_of_the_provider_reaches_the_client_as_it_is(wirekey, token, simulator, since):
    simulator.simulator.script.add("fail=403")
    assert refused(wirekey, token, path=PATH) == 403
    assert wirekey.finished_event(since)["outcome"] == "upstream_error"


def test_lanes_are_recorded_apart(wirekey, token, simulator, since):
    simulator.simulator.script.add("gate")
    with connected(wirekey, token) as socket:
        ask(socket, model="gpt-5", stream_id="a")
        ask(socket, model="gpt-4o-mini", stream_id="b")
        assert until(socket, "response.created")["stream_id"] == "a"
        wait_for(lambda: simulator.simulator.gate.waiting, "the gate")
        simulator.loop.call_soon_threadsafe(simulator.simulator.gate.open)
        assert until(socket, "response.completed")["stream_id"] == "a"
        assert until(socket, "response.completed")["stream_id"] == "b"
    _, first, second = wirekey.finished_events(3, since)
    assert (first["model"], second["model"]) == ("gpt-5", "gpt-4o-mini")
    assert (first["outcome"], second["outcome"]) == ("completed", "completed")


def test_nothing_of_a_frame_is_in_a_file_of_wirekey(ways, wirekey, since):
    talk(ways["gateway"])
    wirekey.finished_events(7, since)
    assert not files_with(wirekey, CANARY)


def test_requests_do_not_stay_in_memory(wirekey, token):
    """Rounds of 16 KiB and a response. WIREKEY_REALTIME_MESSAGES=100000 for more."""
    content = INPUT[0] | {"content": [{"type": "input_text", "text": "x" * 16_000}]}

    def play(socket, rounds):
        for _ in range(rounds):
            answered(socket, input=[content], store=False)

    with connected(wirekey, token) as socket:
        play(socket, ROUNDS // 12)
        before = memory_of(wirekey.process)
        play(socket, ROUNDS // 2)
        assert memory_of(wirekey.process) - before < 10 * 1024 * 1024


def accepts(proxy) -> bool:
    """Whether the gateway accepts connections."""
    host, _, port = proxy.running.gateway.rpartition(":")
    try:
        create_connection((host, int(port)), timeout=PATIENCE).close()
    except OSError:
        return False
    return True


def test_a_process_that_stops_closes_its_connections_after_their_responses(tmp_path, simulator):
    simulator.simulator.script.add("gate")
    with wirekey_behind(tmp_path, simulator, listen=LISTEN, timeouts={"drain": 60}) as proxy:
        with connected(proxy, proxy.add_agent("alice")) as socket:
            ask(socket)
            assert until(socket, "response.created")
            proxy.process.terminate()
            wait_for(lambda: not accepts(proxy), "the end of the listener")
            simulator.loop.call_soon_threadsafe(simulator.simulator.gate.open)
            assert until(socket, "response.completed")
            assert closed(socket)[0] == 1001
        assert proxy.process.wait(PATIENCE) == 0
        connection, response = proxy.events()
        assert (connection["outcome"], response["outcome"]) == ("completed", "completed")


def test_after_a_kill_the_connection_and_its_response_are_in_the_record(tmp_path, simulator):
    simulator.simulator.script.add("stall-after=1")
    with wirekey_behind(tmp_path, simulator, listen=LISTEN) as proxy:
        with connected(proxy, proxy.add_agent("alice")) as socket:
            ask(socket)
            assert until(socket, "response.created")
            proxy.process.kill()
            proxy.process.wait(PATIENCE)
        proxy.start()
        connection, response = interrupted_calls(proxy)
        assert response["parent_id"] == connection["id"]
        assert (connection["operation"], response["operation"]) == ("responses.connect", "responses")
        assert response["requested_model"] == "gpt-5"


@pytest.fixture(scope="module")
def led_elsewhere(tmp_path_factory, simulator):
    """A Wirekey without a key for OpenAI. It has routes to a server of the same format, and to another format."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "key").write_text(PROVIDER_KEYS["openai"])
    server = {"upstream_url": simulator.url, "auth": "bearer", "keys": [f"file:{folder}/key"]}
    routes = [
        {"match": "*", "role": "corp", **server, "speaks": "openai.responses"},
        {"match": "*", "role": "by-format", **server, "format": "openai.responses"},
        {"match": "*", "role": "translated", "provider": "anthropic", "model": "claude-sonnet-4-5"},
    ]
    providers = {"anthropic": {"keys": ["env:REAL_ANTHROPIC"], "upstream_url": simulator.url}}
    settings = {"providers": providers, "routes": routes, "model_override": "gpt-4o-mini"}
    with wirekey_behind(folder, simulator, listen=LISTEN, **settings) as proxy:
        yield proxy


@pytest.mark.parametrize(("role", "route"), [("corp", "routes[0]"), ("by-format", "routes[1]")])
def test_a_route_for_every_model_leads_the_connection_to_its_server(role, route, led_elsewhere, simulator, since):
    token = led_elsewhere.add_agent(f"{role}-{time.time_ns()}", role=role)
    with connected(led_elsewhere, token) as socket:
        assert answered(socket)["model"] == "gpt-4o-mini"
    assert dict(simulator.seen[0].headers)[b"authorization"] == f"Bearer {PROVIDER_KEYS['openai']}".encode()
    connection, call = led_elsewhere.finished_events(2, since)
    assert (connection["route"], call["route"], connection["model"]) == (route, route, None)
    assert (call["requested_model"], call["model"]) == ("gpt-5", "gpt-4o-mini")
    assert call["credential"] == f"{route}/1"


@pytest.mark.parametrize("role", ["translated", "without-key"])
def test_a_connection_that_leads_nowhere_makes_programs_use_http(role, led_elsewhere, simulator):
    token = led_elsewhere.add_agent(f"{role}-{time.time_ns()}", role=role)
    assert refused(led_elsewhere, token, path=PATH) == 426
    assert not simulator.seen


def test_the_program_of_the_guide_talks(wirekey, token, tmp_path):
    done = run_with_openai(program_of("Responses over a WebSocket"), wirekey, token, tmp_path)
    assert done.stdout.count("Hello from the simulator") == 2, done.stderr
