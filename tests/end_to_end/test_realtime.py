"""OpenAI Realtime with the real SDK: the same transcript direct and by both ways, and a record of each response."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from socket import SHUT_RDWR

import openai
import pytest
from websockets.exceptions import ConnectionClosed

from tests.end_to_end.test_gateway import LISTEN
from tests.end_to_end.websocket_clients import (
    BREAKS,
    OPENAI_MODEL,
    Way,
    close_of,
    closed,
    dialled,
    drop_all,
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
from tests.support.own_simulator import simulator, since
from tests.support.running import PATIENCE, PROVIDER_KEYS, wait_for, wirekey_behind

__all__ = ["fresh", "simulator", "since", "token", "ways"]

CANARY = "canary-5a17-of-a-frame"
SESSION = {"type": "realtime", "instructions": f"Be brief. {CANARY}"}
ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": f"Hello. {CANARY}"}]}
HEARING = {"input": {"transcription": {"model": "whisper-1"}, "turn_detection": {"type": "server_vad"}}}
MANY = {"websocket": {"messages_per_second": 100_000}}
POLICY = """package wirekey.authz
import rego.v1
allow := true
deny contains "not this tool" if "forbidden" in input.tools
deny contains "not this model" if input.model == "gpt-forbidden"
deny contains "not this transcription" if "whisper-forbidden" in input.other_models
deny contains "not this beta" if {
    input.operation == "realtime.response"
    contains(input.headers["openai-beta"], "forbidden")
}
max_tokens := 3 if { input.operation == "realtime.response"; input.message_count == 2 }
"""


@pytest.fixture(scope="module")
def wirekey(tmp_path_factory, simulator):
    folder = tmp_path_factory.mktemp("wirekey")
    (folder / "policies").mkdir()
    (folder / "policies" / "realtime.rego").write_text(POLICY)
    policy = {"path": str(folder / "policies")}
    quotas = [{"name": "spent", "per": "agent", "match": {"role": "spent"}, "usd_per_day": 0.000001}]
    routes = [{"match": "gpt-voice", "model": OPENAI_MODEL}]
    with wirekey_behind(
        folder, simulator, listen=LISTEN, policy=policy, quotas=quotas, limits=MANY, routes=routes
    ) as proxy:
        yield proxy


def talk(way: Way) -> list[dict]:
    """A session with settings, a message, a response, and speech that the model answers unasked."""
    heard = []
    with (
        openai.OpenAI(api_key=way.key, base_url=way.base_url) as client,
        client.realtime.connect(model=OPENAI_MODEL, websocket_connection_options=way.options) as connection,
    ):
        connection.session.update(session=SESSION)
        connection.conversation.item.create(item=ITEM)
        connection.response.create()
        for event in connection:
            heard.append(plain(event))
            if event.type == "response.done":
                break
        connection.session.update(session={**SESSION, "audio": HEARING})
        connection.input_audio_buffer.append(audio=base64.b64encode(bytes(3000)).decode())
        connection.input_audio_buffer.commit()
        for event in connection:
            heard.append(plain(event))
            if event.type == "response.done":
                break
        connection.response.cancel()
        heard.append(plain(next(iter(connection))))
    return heard


async def talk_async(way: Way) -> list[dict]:
    heard = []
    async with (
        openai.AsyncOpenAI(api_key=way.key, base_url=way.base_url) as client,
        client.realtime.connect(model=OPENAI_MODEL, websocket_connection_options=way.options) as connection,
    ):
        await connection.response.create(response={"instructions": "Say hello."})
        async for event in connection:
            heard.append(plain(event))
            if event.type == "response.done":
                break
    return heard


@pytest.mark.parametrize("name", ["proxy", "gateway", "gateway, TLS", "gateway, compressed"])
def test_the_sdk_gets_the_same_transcript_as_direct(name, ways, simulator, wirekey, since):
    direct = talk(ways["direct"])
    simulator.forget()

    assert talk(ways[name]) == direct

    (arrived,) = simulator.seen
    headers = dict(arrived.headers)
    assert headers[b"authorization"] == f"Bearer {PROVIDER_KEYS['openai']}".encode()
    assert b"wk_" not in str(arrived.headers).encode() + arrived.target.encode()
    assert arrived.target == f"/v1/realtime?model={OPENAI_MODEL}"
    connection, *responses = wirekey.finished_events(4, since)
    assert (connection["operation"], connection["status"], connection["outcome"]) == ("realtime", 101, "completed")
    assert (connection["agent_id"], connection["requested_model"], connection["credential"]) == (
        "alice",
        OPENAI_MODEL,
        "openai/1",
    )
    assert connection["input_tokens"] is None
    assert connection["request_bytes"] > 300
    assert {each["parent_id"] for each in responses} == {connection["id"]}
    by_operation = sorted((each["operation"], each["outcome"], each["finish_reason"]) for each in responses)
    assert by_operation == [
        ("realtime.response", "completed", "completed"),
        ("realtime.response", "completed", "completed"),
        ("realtime.transcription", "completed", None),
    ]
    for each in responses:
        assert each["input_tokens"] > each["audio_input_tokens"] / 2 > 0
        assert each["agent_id"] == "alice"
        if each["operation"] == "realtime.response":
            assert each["cost_usd"] > 0
            assert each["audio_output_tokens"] > 0


@pytest.mark.parametrize("name", ["proxy", "gateway"])
def test_the_async_sdk_gets_the_same_transcript_as_direct(name, ways):
    assert asyncio.run(talk_async(ways[name])) == asyncio.run(talk_async(ways["direct"]))


# Raw clients, for what an SDK does not do.


def test_the_key_of_a_browser_stands_in_a_subprotocol(wirekey, token, simulator, since):
    protocols = ["realtime", f"openai-insecure-api-key.{token}", "openai-organization.org-of-the-client"]
    with opened(wirekey, None, subprotocols=protocols) as socket:
        assert socket.subprotocol == "realtime"
    (arrived,) = simulator.seen
    assert dict(arrived.headers)[b"Sec-WebSocket-Protocol"] == b"realtime"
    assert wirekey.finished_event(since)["agent_id"] == "alice"


def test_two_agents_in_two_places_are_refused(wirekey, token, simulator):
    other = wirekey.add_agent(f"bob-{time.time_ns()}")
    protocols = ["realtime", f"openai-insecure-api-key.{other}"]
    assert refused(wirekey, token, subprotocols=protocols) == 401
    assert not simulator.seen


def test_a_key_in_the_query_is_not_sent_on(wirekey, token, simulator):
    with opened(wirekey, token, path=f"/v1/realtime?model={OPENAI_MODEL}&key=sk-of-the-client"):
        pass
    assert simulator.seen[0].target == f"/v1/realtime?model={OPENAI_MODEL}"


def test_a_route_replaces_the_model(wirekey, token, simulator, since):
    with opened(wirekey, token, path="/v1/realtime?intent=talk&model=gpt-voice"):
        pass
    assert simulator.seen[0].target == f"/v1/realtime?intent=talk&model={OPENAI_MODEL}"
    event = wirekey.finished_event(since)
    assert (event["requested_model"], event["model"]) == ("gpt-voice", OPENAI_MODEL)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/realtime", 400),
        ("/v1/realtime?model=a&model=b", 400),
        ("/v1/realtime?model=gpt-forbidden", 403),
        ("/v1/models", 426),
        ("/v1/chat/completions", 426),
    ],
)
def test_an_upgrade_is_refused_before_any_connection(*, path, status, wirekey, token, simulator, since):
    assert refused(wirekey, token, path=path) == status
    assert not simulator.seen
    assert wirekey.finished_event(since)["outcome"] == "denied"


def test_an_upgrade_without_an_identity_is_refused(wirekey, simulator):
    assert refused(wirekey, None) == 401
    assert not simulator.seen


def test_a_refusal_of_the_provider_reaches_the_client_as_it_is(wirekey, token, simulator, since):
    simulator.simulator.script.add("fail=403")
    assert refused(wirekey, token) == 403
    assert wirekey.finished_event(since)["outcome"] == "upstream_error"


@pytest.mark.parametrize(
    ("kind", "members", "says"),
    [
        ("session.update", {"session": {"tools": [{"type": "function", "name": "forbidden"}]}}, "not this tool"),
        ("response.create", {"response": {"tools": [{"type": "function", "name": "forbidden"}]}}, "not this tool"),
        ("session.update", {"session": {"model": "gpt-forbidden"}}, "not this model"),
        (
            "session.update",
            {"session": {"audio": {"input": {"transcription": {"model": "whisper-forbidden"}}}}},
            "not this transcription",
        ),
    ],
)
@pytest.mark.parametrize("compression", [None, "deflate"])
def test_a_denied_message_is_not_sent_and_the_connection_stays(
    *, kind, members, says, compression, wirekey, token, since
):
    with opened(wirekey, token, compression=compression) as socket:
        say(socket, "session.update", session={"instructions": "kept"})
        assert until(socket, "session.updated")
        say(socket, kind, event_id="mine", **members)
        failure = until(socket, "error")["error"]
        assert says in failure["message"]
        assert failure["event_id"] == "mine"
        say(socket, "session.update", session={"voice": "later"})
        session = until(socket, "session.updated")["session"]
        assert (session["instructions"], session["voice"], "tools" in session) == ("kept", "later", False)
        say(socket, "response.create")
        assert until(socket, "response.done")
    connection, denied, response = wirekey.finished_events(3, since)
    assert (denied["outcome"], denied["parent_id"], denied["status"]) == ("denied", connection["id"], 403)
    assert says in denied["policy_reason"]
    assert response["outcome"] == "completed"


def test_a_limit_of_the_policy_is_set_in_the_message(wirekey, token):
    messages = [{"role": "user"}, {"role": "user"}]
    for compression in (None, "deflate"):
        with opened(wirekey, token, compression=compression) as socket:
            say(socket, "response.create", response={"input": messages, "max_output_tokens": "inf"})
            done = until(socket, "response.done")["response"]
            assert done["status_details"]["reason"] == "max_output_tokens"
            say(socket, "response.create")
            assert until(socket, "response.done")["response"]["status"] == "completed"


def test_an_exhausted_budget_refuses_the_response_and_not_the_connection(wirekey, since):
    poor = wirekey.add_agent(f"poor-{time.time_ns()}", role="spent")
    with opened(wirekey, poor) as socket:
        say(socket, "response.create")
        assert until(socket, "response.done")
        say(socket, "response.create")
        assert until(socket, "error")["error"]["code"] == "insufficient_quota"
        say(socket, "session.update", session={"voice": "x"})
        assert until(socket, "session.updated")


def test_a_model_that_answers_unasked_above_its_budget_is_closed_after_its_response(wirekey, since):
    poor = wirekey.add_agent(f"poor-{time.time_ns()}", role="spent")
    with opened(wirekey, poor) as socket:
        say(socket, "response.create")
        assert until(socket, "response.done")
        say(socket, "session.update", session={"audio": HEARING})
        say(socket, "input_audio_buffer.commit")
        assert until(socket, "response.done")
        assert closed(socket)[0] == 1013


@pytest.mark.parametrize(
    "message",
    ['{"type":"a","type":"session.update"}', "no json", b'{"type":"session.update","session":{"a":1,"a":2}}', "[]"],
)
def test_a_message_that_could_be_read_in_two_ways_ends_the_connection(message, wirekey, token, simulator):
    with opened(wirekey, token) as socket:
        socket.send(message)
        assert until(socket, "error")["error"]["code"] == "malformed_body"
        assert closed(socket)[0] == 1007
    assert simulator.seen[0].size == 0


def test_a_repeated_header_is_judged_with_all_its_values(wirekey, token):
    values = [("Authorization", f"Bearer {token}"), ("OpenAI-Beta", "forbidden"), ("OpenAI-Beta", "realtime=v1")]
    with dialled(wirekey, f"/v1/realtime?model={OPENAI_MODEL}", values, compression=None) as socket:
        assert until(socket, "session.created")
        say(socket, "response.create")
        assert "not this beta" in until(socket, "error")["error"]["message"]


def test_a_binary_frame_with_json_is_judged_like_a_text_frame(wirekey, token):
    with opened(wirekey, token) as socket:
        event = {"type": "session.update", "session": {"tools": [{"type": "function", "name": "forbidden"}]}}
        socket.send(json.dumps(event).encode())
        assert "not this tool" in until(socket, "error")["error"]["message"]


def test_a_fragmented_message_is_judged_whole(wirekey, token):
    text = json.dumps({"type": "session.update", "session": {"tools": [{"type": "function", "name": "forbidden"}]}})
    with opened(wirekey, token) as socket:
        socket.send(iter([text[:20], text[20:40], text[40:]]))
        assert "not this tool" in until(socket, "error")["error"]["message"]
        socket.send(iter(['{"type":"session', '.update","session":{"voice":"x"}}']))
        assert until(socket, "session.updated")["session"]["voice"] == "x"


def test_a_revoked_agent_is_disconnected(wirekey):
    name = f"short-lived-{time.time_ns()}"
    with opened(wirekey, wirekey.add_agent(name)) as socket:
        wirekey.agents.revoke(name)
        assert closed(socket)[0] == 1008


@pytest.mark.parametrize(("behaviour", "code", "outcome"), BREAKS)
def test_a_connection_that_the_provider_breaks_off_ends_at_the_client_too(
    *, behaviour, code, outcome, wirekey, token, simulator, since
):
    simulator.simulator.script.add(behaviour)
    with opened(wirekey, token) as socket:
        say(socket, "response.create")
        assert closed(socket)[0] == code
    connection, response = wirekey.finished_events(2, since)
    assert (connection["outcome"], response["outcome"]) == (outcome, outcome)
    assert response["output_tokens"] is None


def test_a_close_without_a_code_is_passed_on(wirekey, token, simulator, since):
    simulator.simulator.script.add("no-done")
    with opened(wirekey, token) as socket:
        say(socket, "response.create")
        assert closed(socket)[0] == 1005
    assert wirekey.finished_events(2, since)[0]["outcome"] == "completed"


def test_pings_pass_to_the_provider_and_back(wirekey, token):
    with opened(wirekey, token) as socket:
        assert socket.ping(b"beat").wait(PATIENCE)


def test_a_client_that_disappears_is_recorded(wirekey, token, simulator, since):
    simulator.simulator.script.add("stall-after=3")
    with opened(wirekey, token) as socket:
        say(socket, "response.create")
        assert until(socket, "response.created")
        socket.socket.shutdown(SHUT_RDWR)
    connection, response = wirekey.finished_events(2, since)
    assert (connection["outcome"], response["outcome"]) == ("client_cancelled", "client_cancelled")


def test_nothing_of_a_frame_is_in_a_file_of_wirekey(ways, wirekey, simulator, since):
    talk(ways["gateway"])
    wirekey.finished_events(4, since)
    assert not files_with(wirekey, CANARY)


def test_a_drained_process_closes_its_connections(tmp_path, simulator):
    with wirekey_behind(tmp_path, simulator, listen=LISTEN, timeouts={"drain": 20}) as proxy:
        token = proxy.add_agent("alice")
        with opened(proxy, token) as socket:
            say(socket, "response.create")
            until(socket, "response.done")
            proxy.process.terminate()
            assert closed(socket)[0] == 1001
        assert proxy.process.wait(PATIENCE) == 0
        connection, response = proxy.events()
        assert (connection["outcome"], response["outcome"]) == ("completed", "completed")


def test_after_a_kill_the_connection_and_its_response_are_in_the_record(tmp_path, simulator):
    simulator.simulator.script.add("stall-after=3")
    with wirekey_behind(tmp_path, simulator, listen=LISTEN) as proxy:
        with opened(proxy, proxy.add_agent("alice")) as socket:
            say(socket, "response.create")
            until(socket, "response.created")
            proxy.process.kill()
            proxy.process.wait(PATIENCE)
        proxy.start()
        connection, response = interrupted_calls(proxy)
        assert response["parent_id"] == connection["id"]
        assert (connection["operation"], response["operation"]) == ("realtime", "realtime.response")


def test_the_program_of_the_guide_talks(wirekey, token, tmp_path):
    done = run_with_openai(program_of("OpenAI Realtime"), wirekey, token, tmp_path)
    assert done.stdout.startswith("Hello from the simulator"), done.stderr


@pytest.fixture(scope="module")
def limited(tmp_path_factory, simulator):
    """A Wirekey with small limits, and its agent's token."""
    limits = {"websocket": {"message_bytes": 2000, "messages_per_second": 2, "bytes_per_second": 2000}}
    timeouts = {"idle": 2}
    folder = tmp_path_factory.mktemp("limited")
    with wirekey_behind(folder, simulator, listen=LISTEN, limits=limits, timeouts=timeouts) as proxy:
        yield proxy, proxy.add_agent("alice")


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_a_message_that_is_too_large_closes_the_connection(compression, limited):
    with opened(*limited, compression=compression) as socket:
        say(socket, "input_audio_buffer.append", audio="A" * 3000)
        assert closed(socket)[0] == 1009


def test_too_many_messages_close_the_connection(limited):
    def play(socket):
        for _ in range(30):
            say(socket, "input_audio_buffer.append", audio="A")
        drop_all(socket)

    with opened(*limited) as socket, pytest.raises(ConnectionClosed) as error:
        play(socket)
    assert close_of(error.value)[0] == 1008


def test_an_idle_connection_is_closed(limited, simulator):
    with opened(*limited, ping_interval=None) as socket:
        assert closed(socket) == (1001, "no frame for too long: see timeouts.idle")


def test_a_provider_that_no_longer_responds_is_found_while_the_client_goes_on(limited, simulator, since):
    """Its network is gone: it sends nothing, and no end of the connection either."""
    simulator.simulator.script.add("stall-after=1")

    def talk(socket):
        for _ in range(20):
            say(socket, "input_audio_buffer.append", audio="A")
            with contextlib.suppress(TimeoutError):
                socket.recv(0.5)

    with opened(*limited, ping_interval=None) as socket:
        say(socket, "response.create")
        with pytest.raises(ConnectionClosed) as error:
            talk(socket)
    code, reason = close_of(error.value)
    assert (code, reason.partition(":")[0]) == (1001, "the provider no longer responds")
    events = limited[0].finished_events(2, since)
    assert [event["outcome"] for event in events] == ["timeout", "timeout"]


def test_a_quiet_provider_that_answers_pings_keeps_its_connection(limited):
    """The client sees no pong that answers a ping of Wirekey's own."""
    with opened(*limited, ping_interval=None) as socket:
        for _ in range(8):
            say(socket, "input_audio_buffer.append", audio="A")
            time.sleep(0.4)
        assert socket.ping(b"mine").wait(PATIENCE)


def test_a_masked_frame_of_the_provider_closes_both_sides(wirekey, token, simulator, since):
    simulator.simulator.script.add("mask-after=3")
    with opened(wirekey, token) as socket:
        say(socket, "response.create")
        assert closed(socket) == (1002, "a server's frame is masked")
    assert {event["outcome"] for event in wirekey.finished_events(2, since)} == {"interrupted"}


def test_a_flood_of_the_provider_closes_the_connection(limited, simulator):
    simulator.simulator.script.add("events=2000, size=20KB")
    with opened(*limited) as socket:
        say(socket, "response.create")
        heard = 0
        with pytest.raises(ConnectionClosed) as error:  # noqa: PT012  # how much arrives before
            while True:
                heard += len(socket.recv(PATIENCE))
    assert close_of(error.value) == (1008, "too many bytes: see limits.websocket")
    assert heard < 20_000 + 2 * 65_536  # of more than 400 KB


RAW_CLIENTS = {
    "a frame without a mask": (b"\x81\x02{}", 1002),
    "a reserved bit": (b"\xf1\x80" + bytes(4), 1002),
    "half a frame, then nothing": (b"\x81\xfe\x01\x00" + bytes(4) + b"half", None),
}


@pytest.mark.parametrize(("sent", "code"), RAW_CLIENTS.values(), ids=RAW_CLIENTS)
def test_a_client_that_breaks_the_protocol_is_closed_and_nothing_of_it_is_sent_on(
    *, sent, code, wirekey, token, simulator
):
    with opened(wirekey, token) as socket:
        socket.socket.sendall(sent)
        if code is None:
            socket.socket.shutdown(SHUT_RDWR)
        assert closed(socket)[0] == code
    wait_for(lambda: simulator.seen[0].outcome, "the provider to notice")
    assert simulator.seen[0].size == 0
