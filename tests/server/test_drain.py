"""What happens after SIGTERM: /ready says so at once, open calls finish, and what is left is ended and recorded."""

from __future__ import annotations

import json
import signal
import urllib.error
import urllib.request

import pytest

from tests.support.http2_client import Http2Client
from tests.support.load import chat, tunnel
from tests.support.own_simulator import simulator
from tests.support.raw_client import RawClient
from tests.support.running import KEY_ENVIRONMENT, Wirekey, behind, wait_for

__all__ = ["simulator"]

LISTENERS = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": "127.0.0.1:0"}


@pytest.fixture(params=[1, 2], ids=["one process", "two workers"])
def start(tmp_path, simulator, request):
    started = []

    def start(**timeouts) -> Wirekey:
        settings = behind(simulator, listen=LISTENERS, timeouts=timeouts, workers=request.param)
        started.append(Wirekey(tmp_path, settings, environ=KEY_ENVIRONMENT))
        return started[0]

    yield start
    for proxy in started:
        if proxy.process.poll() is None:
            proxy.process.send_signal(signal.SIGTERM)
            proxy.stop()


def ready(proxy) -> int:
    try:
        with urllib.request.urlopen(f"http://{proxy.running.console}/ready", timeout=30) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def test_during_the_delay_connections_are_accepted_and_ready_says_no(start):
    proxy = start(drain_delay=60.0)
    token = proxy.add_agent()
    assert ready(proxy) == 200
    with tunnel(proxy, token) as early:
        early.send(chat("first"))
        assert "connection" not in early.read_response().headers
        proxy.process.send_signal(signal.SIGTERM)
        wait_for(lambda: ready(proxy) == 503, "/ready to say that Wirekey is stopping")
        with tunnel(proxy, token) as late:
            for client, model in ((early, "second"), (late, "third")):
                client.send(chat(model))
                response = client.read_response()
                assert response.status == 200
                assert response.headers["connection"] == "close"
                assert client.wait_closed()
    wait_for(lambda: [event["outcome"] for event in proxy.events()] == ["completed"] * 3, "the records")
    proxy.process.send_signal(signal.SIGTERM)
    assert proxy.process.wait(60) == 0
    assert {event["outcome"] for event in proxy.events()} == {"completed"}


def test_an_open_stream_finishes_and_no_other_connection_is_accepted(start):
    proxy = start(drain=30.0)
    token = proxy.add_agent()
    with tunnel(proxy, token) as client:
        client.send(chat("sim-headers-delay-2", stream=True))
        wait_for(proxy.events, "the call to be sent")
        proxy.process.send_signal(signal.SIGTERM)
        wait_for(lambda: not accepts(proxy.running.forward), "the listener to close")
        response = client.read_response()
        assert response.body.rstrip().endswith(b"data: [DONE]")
    assert proxy.process.wait(60) == 0
    assert [event["outcome"] for event in proxy.events()] == ["completed"]


def test_an_http2_connection_ends_with_goaway_after_its_last_response(start):
    proxy = start(drain=30.0, drain_delay=1.0)
    identity = ("authorization", f"Bearer {proxy.add_agent()}")
    with RawClient(proxy.running.gateway) as connection:
        connection.start_tls(proxy.root, "localhost", alpn=("h2",))
        client = Http2Client(connection, host="localhost")
        for model in ("sim-headers-delay-2", "sim-headers-delay-3"):
            client.open(identity, body=body_of(model))
        client.flush()
        wait_for(lambda: len(proxy.events()) == 2, "the calls to be sent")
        proxy.process.send_signal(signal.SIGTERM)
        while client.receive():
            assert client.goaway is None or client.ended == {1, 3}, "the second response was still on its way"
    assert client.statuses == {1: 200, 3: 200}
    assert all(body.rstrip().endswith(b"data: [DONE]") for body in client.bodies.values())
    assert client.goaway == 0
    assert client.last_stream == 3
    assert proxy.process.wait(60) == 0
    assert {event["outcome"] for event in proxy.events()} == {"completed"}


def body_of(model: str) -> bytes:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": True}).encode()


def test_a_stream_that_lasts_longer_is_ended_in_its_format_and_recorded(start):
    proxy = start(drain=0.5)
    token = proxy.add_agent()
    with tunnel(proxy, token) as client:
        client.send(chat("sim-stall-1", stream=True))
        client.received = client.receive_bytes()  # the stream has begun
        proxy.process.send_signal(signal.SIGTERM)
        response = client.read_response()
    assert response.status == 200
    last = response.body.rstrip().rpartition(b"data: ")[2]
    assert json.loads(last)["error"]["code"] == "stopping"
    assert proxy.process.wait(60) == 0
    (event,) = proxy.events()
    assert (event["outcome"], event["policy_reason"]) == ("interrupted", "stopping")


def test_a_second_signal_ends_it_at_once(start):
    proxy = start(drain=600.0)
    token = proxy.add_agent()
    with tunnel(proxy, token) as client:
        client.send(chat("sim-stall-1", stream=True))
        assert client.receive_bytes()
        proxy.process.send_signal(signal.SIGTERM)
        wait_for(lambda: not accepts(proxy.running.forward), "the listener to close")
        assert proxy.process.poll() is None
        assert [event["outcome"] for event in proxy.events()] == [None], "the listener closed only after the call"
        proxy.process.send_signal(signal.SIGTERM)
        assert proxy.process.wait(60) == 0
    assert [event["outcome"] for event in proxy.events()] == ["interrupted"]


def accepts(address: str) -> bool:
    try:
        with RawClient(address):
            return True
    except OSError:
        return False
