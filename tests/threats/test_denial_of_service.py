"""THREATS 2.9, R3 to R7 and R18: what one client does holds up no other, and fills neither memory nor disk."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections import Counter
from pathlib import Path

import httpx
import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import ExtensionFrame, PingFrame, PriorityFrame, SettingsFrame, WindowUpdateFrame

from tests.support.http2_client import Http2Client
from tests.support.raw_client import CHAT, post
from tests.support.running import SimulatorThread, wait_for, wirekey_behind
from tests.threats.conftest import Stage, beginning
from wirekey.core.calls.refusals import RECORDED_PER_MINUTE
from wirekey.core.wire.http2 import MOST_RESETS

MIB = 1 << 20
LARGE = 24 * MIB
PIECES = 1000
"""Events of a large response."""
STREAM = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hello"}],"stream":true}'
ANSWER = f"events={PIECES}, size={LARGE}"


def resident(stage) -> float:
    """MiB of the proxy's memory."""
    for line in Path(f"/proc/{stage.proxy.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("the proxy is gone")


@pytest.fixture(scope="module", params=["h1-upstream", "h2-upstream"])
def streaming_stage(request, tmp_path_factory):
    both = request.param == "h2-upstream"
    protocols = ("h2", "http/1.1") if both else ("http/1.1",)
    simulator = SimulatorThread(tmp_path_factory.mktemp("simulator"), protocols=protocols)
    with wirekey_behind(tmp_path_factory.mktemp("wirekey"), simulator) as proxy:
        yield Stage(simulator, proxy, proxy.add_agent("alice"), proxy.add_agent("bob"))
    simulator.stop()


@pytest.fixture
def streaming(streaming_stage):
    streaming_stage.simulator.forget()
    streaming_stage.began = beginning()
    return streaming_stage


def http2(stage, window: int = 65535, token: str | None = None) -> Http2Client:
    return Http2Client(stage.tunnel(alpn=("h2",), token=token), window=window)


# R3: rapid reset.


def test_R3_streams_that_are_opened_and_reset_end_the_connection_and_are_not_recorded(streaming):
    other = streaming.tunnel(token=streaming.bob)
    client = http2(streaming)
    for _ in range(500):
        client.reset(client.open(body=None))
    client.flush()
    while client.receive():
        pass
    assert client.goaway == ErrorCodes.ENHANCE_YOUR_CALM
    other.send(post())
    assert other.read_response().status == 200
    assert len(streaming.simulator.seen) == 1
    assert streaming.event()["agent_id"] == "bob"


def test_R3_streams_that_are_reset_while_their_body_arrives_are_not_recorded(streaming):
    client = http2(streaming)
    for _ in range(15):
        stream = client.open(body=None)
        client.flush()
        last = client.open()
        client.flush()
        client.until(lambda last=last: last in client.ended)
        client.reset(stream)
        client.flush()
    events = streaming.proxy.finished_events(15, streaming.began)
    assert len(events) == 15
    assert {event["outcome"] for event in events} == {"completed"}
    for _ in range(MOST_RESETS - 14):
        client.reset(client.open(body=None))
    client.flush()
    while client.receive():
        pass
    assert client.goaway == ErrorCodes.ENHANCE_YOUR_CALM


# R3: frames that carry nothing.

EMPTY_FRAMES = {
    "PING": PingFrame(0, b"12345678"),
    "SETTINGS": SettingsFrame(0),
    "WINDOW_UPDATE": WindowUpdateFrame(0, window_increment=1),
    "PRIORITY": PriorityFrame(3, depends_on=1),
    "unknown": ExtensionFrame(type=0xEE, stream_id=0, flag_byte=0, body=b""),
}


@pytest.mark.parametrize("name", EMPTY_FRAMES)
def test_R3_frames_that_carry_nothing_end_the_connection(streaming, name):
    other = streaming.tunnel(token=streaming.bob)
    client = http2(streaming, token="")
    # Few enough for one TLS record: the system drops the GOAWAY if it closes a connection with unread data.
    client.tunnel.send(EMPTY_FRAMES[name].serialize() * 400)
    while client.receive():
        pass
    assert client.goaway == ErrorCodes.ENHANCE_YOUR_CALM
    flood = http2(streaming, token="")
    with contextlib.suppress(OSError):
        flood.tunnel.send(EMPTY_FRAMES[name].serialize() * 50_000)
    while flood.receive():
        pass
    other.send(post())
    assert other.read_response().status == 200


def test_R3_what_was_sent_at_once_is_handled_in_many_turns_and_complete(streaming):
    client = http2(streaming)
    small = client.open(body=None)
    for byte in CHAT[:-1]:
        client.state.send_data(small, bytes([byte]))
    client.state.send_data(small, CHAT[-1:], end_stream=True)
    others = [client.open() for _ in range(60)]
    for _ in range(100):
        client.state.ping(b"12345678")
    last = client.open()
    client.flush()
    client.until(lambda: client.ended >= {small, *others, last})
    assert set(client.statuses.values()) == {200}
    assert {seen.body for seen in streaming.simulator.seen} == {CHAT}


def test_R3_a_client_that_opens_its_windows_for_each_small_read_is_not_closed(streaming):
    client = http2(streaming, window=4096)
    stream = client.open(("x-simulator", "events=4000"), body=STREAM)
    client.flush()
    read = 0
    while stream not in client.ended:
        assert client.receive()
        received = len(client.bodies.get(stream, b""))
        while read < received and stream not in client.ended:
            read += 1024
            client.state.increment_flow_control_window(1024)
            client.open_window(stream, 1024)
    assert client.goaway is None
    assert client.bodies[stream].endswith(b"data: [DONE]\n\n")


# R4: a client that does not read.


def test_R4_a_response_that_an_http2_client_does_not_read_waits_at_the_provider(streaming):
    before = resident(streaming)
    client = http2(streaming, window=0)
    unread = client.open(("x-simulator", ANSWER), body=STREAM)
    client.flush()
    client.until(lambda: unread in client.statuses)
    # Its neighbour on the same connection is read to the end, and is as large.
    neighbour = client.open(("x-simulator", ANSWER), body=STREAM)
    client.open_window(neighbour, 1 << 30)
    client.until(lambda: neighbour in client.ended)
    assert client.bodies[neighbour].endswith(b"data: [DONE]\n\n")
    size = len(client.bodies.pop(neighbour))
    first = streaming.simulator.seen[0]
    assert 0 < first.events < PIECES / 2
    assert resident(streaming) - before < 30
    client.open_window(unread, 1 << 30)
    client.until(lambda: unread in client.ended)
    assert len(client.bodies[unread]) == size
    assert {event["outcome"] for event in streaming.proxy.finished_events(2, streaming.began)} == {"completed"}


def test_R4_what_a_client_left_unread_is_released_when_its_connection_ends(streaming):
    with streaming.tunnel(token=streaming.bob) as other:
        before = resident(streaming)
        clients = [http2(streaming, window=0) for _ in range(4)]
        for client in clients:
            streams = [client.open(("x-simulator", "size=512KiB")) for _ in range(20)]
            client.flush()
            client.until(lambda client=client, streams=streams: client.statuses.keys() >= set(streams))
        held = resident(streaming) - before
        for client in clients:
            client.tunnel.socket.close()
        streaming.proxy.finished_events(80, streaming.began)
        assert held > 5
        wait_for(lambda: resident(streaming) - before < 10, "the memory to be released")
        other.send(post())
        assert other.read_response().status == 200


def test_R4_a_response_that_an_http1_client_does_not_read_waits_at_the_provider(streaming):
    before = resident(streaming)
    with streaming.tunnel() as client, streaming.tunnel(token=streaming.bob) as other:
        client.send(post(f"X-Simulator: {ANSWER}", body=STREAM))
        wait_for(lambda: streaming.simulator.seen, "the request to arrive")
        other.send(post(f"X-Simulator: {ANSWER}", body=STREAM))
        assert other.read_response().body.endswith(b"data: [DONE]\n\n")
        assert 0 < streaming.simulator.seen[0].events < PIECES / 2
        assert resident(streaming) - before < 30
        assert client.read_response().body.endswith(b"data: [DONE]\n\n")


# R5: unfinished large bodies.


def wirekey_with(tmp_path, simulator: SimulatorThread, **limits):
    return wirekey_behind(tmp_path / "wirekey", simulator, limits=limits)


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    running = SimulatorThread(tmp_path_factory.mktemp("simulator"))
    yield running
    running.stop()


def unfinished(size: int) -> bytes:
    """A request of which all but the last byte is there."""
    return post(body=large(size))[:-1]


def large(size: int) -> bytes:
    return CHAT.replace(b"hello", b"x" * (size - len(CHAT) + len(b"hello")))


def test_R5_unfinished_bodies_are_refused_to_the_agent_that_holds_too_much_of_them(tmp_path, simulator):
    limits = {"held_bytes": "12MiB", "body_bytes": "6MiB"}
    with wirekey_with(tmp_path, simulator, **limits) as proxy:
        stage = Stage(simulator, proxy, proxy.add_agent("alice"), proxy.add_agent("bob"))
        stage.began = beginning()
        carol = proxy.add_agent("carol")
        holding = stage.tunnel()
        holding.send(unfinished(5 * MIB))
        by_its_length = stage.tunnel()

        def refused() -> bool:
            by_its_length.send(unfinished(5 * MIB).partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
            answer = by_its_length.read_response()
            return answer.status == 429 and "one agent may hold (limits.held_bytes)" in answer.message

        assert refused()  # before the first byte of its body
        with stage.tunnel() as in_chunks:
            in_chunks.send(post("Transfer-Encoding: chunked", body=b"", length=False))
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                for _ in range(40):
                    in_chunks.send(b"10000\r\n" + b" " * 65536 + b"\r\n")
            assert in_chunks.read_response().status == 429
        assert stage.ask(post(body=large(5 * MIB)), token=stage.bob).status == 200
        with stage.tunnel(token=stage.bob) as second:
            second.send(unfinished(5 * MIB))
            with stage.client() as third:
                assert third.connect("api.openai.com:443", "carol", carol).status == 200
                third.start_tls(proxy.root, "api.openai.com")
                third.send(post(body=large(3 * MIB)))
                answer = third.read_response()
                assert (answer.status, answer.headers["retry-after"]) == (503, "2")
                assert "limits.held_bytes" in answer.message
        with stage.tunnel() as small:
            small.send(post())
            assert small.read_response().status == 200
        holding.socket.close()
        wait_for(lambda: stage.ask(post(body=large(5 * MIB))).status == 200, "the bytes to be given back")
        denied = [event for event in proxy.events() if event["outcome"] == "denied"]
        assert {event["status"] for event in denied} == {429, 503}


def test_R5_reserved_room_is_released_however_a_call_ends(tmp_path, simulator):
    limits = {"held_bytes": "24MiB", "body_bytes": "5500KiB"}
    with wirekey_with(tmp_path, simulator, **limits) as proxy:
        stage = Stage(simulator, proxy, proxy.add_agent("alice"), proxy.add_agent("bob"))
        whole = large(5 * MIB)
        for request, status in (
            (post(body=whole), 200),
            (post("X-Simulator: fail=500", body=whole), 500),
            (post("X-Simulator: reset-after=0", body=whole), 502),
            (post(body=b"{" + whole[1:-1] + b"]"), 400),
            (post(body=whole, content_type="text/plain"), None),
            (post(body=whole, path="/v1/embeddings"), None),
        ):
            answer = stage.ask(request)
            assert answer.status == status or (status is None and answer.status >= 200)
            assert answer.status != 429, request[:80]
        client = http2(stage)
        stream = client.open(("content-length", str(len(whole))), body=None)
        client.flush()
        client.reset(stream)
        client.flush()
        wait_for(lambda: stage.ask(post(body=whole)).status == 200, "the bytes to be given back")


def test_R5_the_disk_keeps_a_reserve_for_the_audit(tmp_path, simulator):
    with wirekey_with(tmp_path, simulator, disk_reserve="1000TB") as proxy:
        stage = Stage(simulator, proxy, proxy.add_agent("alice"), proxy.add_agent("bob"))
        simulator.forget()
        stage.began = beginning()
        answer = stage.ask(post(body=large(5 * MIB)))
        assert answer.status == 503
        assert "limits.disk_reserve" in answer.message
        assert stage.event()["outcome"] == "denied"
        assert not simulator.seen
        assert stage.ask(post(body=large(3 * MIB))).status == 200


# R18: refused calls without a token.


def test_R18_refused_calls_without_a_token_are_counted_beyond_a_rate(tmp_path, simulator):
    with wirekey_with(tmp_path, simulator) as proxy:
        stage = Stage(simulator, proxy, proxy.add_agent("alice"), proxy.add_agent("bob"))
        with stage.tunnel(token="") as client:
            for _ in range(RECORDED_PER_MINUTE + 35):
                client.send(post())
                assert client.read_response().status == 401
        assert stage.ask(post()).status == 200
        assert stage.ask(post(path="/v1/nothing/")).status == 404
        proxy.stop()
        outcomes = Counter((event["outcome"], event["agent_id"]) for event in proxy.events())
        assert outcomes == {
            ("denied", None): RECORDED_PER_MINUTE + 1,
            ("completed", "alice"): 1,
            ("denied", "alice"): 1,
        }
        (summary,) = [event for event in proxy.events() if "refusals_dropped" in (event["policy_reason"] or "")]
        assert "35 more refusals" in summary["policy_reason"]
        lines = proxy.output.read_text().splitlines()
        assert sum("35 more refusals" in line for line in lines) == 1
        assert sum("no_agent" in line for line in lines) <= RECORDED_PER_MINUTE + 5


# R7: silent connections.

SILENT = {"client_first_byte": 0.3, "client_hello": 0.3, "client_head": 0.5, "client_body": 0.5}


@pytest.mark.parametrize(
    "sent",
    [b"", b"C", b"CONNECT api.openai.com:443 HTTP/1.1\r\nHost: api.openai.com:443\r\n\r\n"],
    ids=["nothing", "half a head", "a tunnel without a ClientHello"],
)
def test_R7_a_silent_connection_without_a_token_is_closed_in_time(tmp_path, simulator, sent):
    with wirekey_behind(tmp_path / "wirekey", simulator, timeouts=SILENT) as proxy:
        stage = Stage(simulator, proxy, proxy.add_agent("alice"), proxy.add_agent("bob"))
        with stage.tunnel() as proven, stage.client() as silent:
            proven.send(post())
            assert proven.read_response().status == 200
            silent.send(sent)
            while silent.receive_bytes():
                pass
            # An idle connection of an agent is not a silent one.
            proven.send(post())
            assert proven.read_response().status == 200


@pytest.mark.parametrize("token", ["", None], ids=["without a token", "of an agent"])
def test_R7_a_body_of_one_byte_per_second_ends_its_connection(tmp_path, simulator, token):
    with wirekey_behind(tmp_path / "wirekey", simulator, timeouts=SILENT) as proxy:
        stage = Stage(simulator, proxy, proxy.add_agent("alice"), proxy.add_agent("bob"))
        stage.began = beginning()
        with stage.tunnel(token=token) as slow:
            slow.send(unfinished(100_000)[:1000])
            assert slow.read_response().status == (401 if token == "" else 408)
            assert slow.wait_closed()
        event = stage.event()
        assert (event["outcome"], event["status"]) == ("denied", 401 if token == "" else 408)


def test_R7_a_new_connection_closes_the_oldest_silent_one_and_agents_are_counted_separately(tmp_path, simulator):
    limits, timeouts = {"connections_per_client": 4}, {"client_first_byte": 300}
    with wirekey_behind(tmp_path, simulator, limits=limits, timeouts=timeouts) as proxy:
        stage = Stage(simulator, proxy, proxy.add_agent("alice"), proxy.add_agent("bob"))
        with contextlib.ExitStack() as stack:
            proven = [stack.enter_context(stage.tunnel()) for _ in range(4)]
            silent = [stack.enter_context(stage.client()) for _ in range(10)]
            for oldest in silent[:6]:
                assert oldest.wait_closed()
            bobs = stack.enter_context(stage.tunnel(token=stage.bob))
            bobs.send(post())
            assert bobs.read_response().status == 200
            for client in proven:
                client.send(post())
                assert client.read_response().status == 200
            fifth = stack.enter_context(stage.client())
            assert fifth.connect("api.openai.com:443", "alice", stage.alice).status == 429
            proven[0].socket.close()

            def has_room() -> bool:
                with stage.client() as another:
                    return another.connect("api.openai.com:443", "alice", stage.alice).status == 200

            wait_for(has_room, "the place of the closed connection")


# R48: half heads at the console.


def test_R48_half_heads_at_the_console_close_its_endpoints_to_nobody(tmp_path, simulator):
    settings = {"listen": {"forward": "127.0.0.1:0", "gateway": None, "console": "127.0.0.1:0"}}
    with wirekey_behind(tmp_path, simulator, **settings) as proxy, contextlib.ExitStack() as stack:
        host, _, port = proxy.running.console.rpartition(":")
        for number in range(600):
            source = (f"127.0.0.{number % 2 + 1}", 0)
            half = stack.enter_context(socket.create_connection((host, int(port)), source_address=source))
            half.send(b"GET /ready HTTP/1.1\r\nHost: x\r\n")
        with httpx.Client(base_url=f"http://{proxy.running.console}", trust_env=False, timeout=60) as client:
            assert client.get("/ready").status_code == 200
            assert client.get("/metrics").status_code == 200
            wrong = {"grant_type": "client_credentials", "client_id": "x", "client_secret": "x"}
            assert client.post("/api/v1/auth/token", data=wrong).status_code == 401
