"""The packets of a response, and what surrounds it: the deliveries that a client of a provider may meet."""

from __future__ import annotations

import json
import socket
import ssl

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, InformationalResponseReceived, ResponseReceived, StreamEnded

from tests.support.running import PROVIDER_KEYS

BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}]}).encode()
KEY = f"Bearer {PROVIDER_KEYS['openai']}"
PATIENCE = 30


def connected(simulator, context, protocol: str) -> ssl.SSLSocket:
    context.set_alpn_protocols([protocol])
    plain = socket.create_connection(("127.0.0.1", simulator.simulator.port), timeout=PATIENCE)
    return context.wrap_socket(plain, server_hostname="127.0.0.1")


def asked(behaviour: str, body: bytes = BODY, more: int = 0) -> bytes:
    """A request; `more` bytes of its body are not there yet."""
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nAuthorization: %b\r\n"
        b"Content-Type: application/json\r\nX-Simulator: %b\r\nContent-Length: %d\r\n\r\n%b"
        % (KEY.encode(), behaviour.encode(), len(body) + more, body)
    )


def records(connection: ssl.SSLSocket) -> list[bytes]:
    """Read to the end of a response, one TLS record after another."""
    found = []
    while not ended(b"".join(found)):
        record = connection.recv(65536)
        found.append(record)
        if not record:
            break
    return found


def ended(data: bytes) -> bool:
    while data.startswith(b"HTTP/1.1 1"):
        data = data.partition(b"\r\n\r\n")[2]
    head, end, body = data.partition(b"\r\n\r\n")
    if b"chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(end) and len(body) >= int(length[0].split(b":")[1])


def test_head_and_body_come_one_after_the_other(simulator, context):
    with connected(simulator, context, "http/1.1") as connection:
        connection.sendall(asked(""))
        head, *rest = records(connection)
    assert head.endswith(b"\r\n\r\n")
    assert b"".join(rest).startswith(b"{")


def test_at_once_they_come_together(simulator, context):
    with connected(simulator, context, "http/1.1") as connection:
        connection.sendall(asked("at-once"))
        (whole,) = records(connection)
    assert whole.endswith(b"}")


def test_bytewise_each_byte_comes_alone(simulator, context):
    with connected(simulator, context, "http/1.1") as connection:
        connection.sendall(asked("bytewise"))
        found = records(connection)
    assert {len(record) for record in found[:512]} == {1}


def test_with_pauses_a_chunks_size_comes_before_its_content(simulator, context):
    with connected(simulator, context, "http/1.1") as connection:
        connection.sendall(asked("pauses"))
        head, *rest = records(connection)
    assert b"transfer-encoding: chunked" in head.lower()
    sizes = [record for record in rest if record.endswith(b"\r\n") and len(record) <= 6]
    assert len(sizes) >= 4


def test_hints_come_before_the_response(simulator, context):
    with connected(simulator, context, "http/1.1") as connection:
        connection.sendall(asked("hints"))
        first, head, *_ = records(connection)
    assert first.startswith(b"HTTP/1.1 103")
    assert head.startswith(b"HTTP/1.1 200")


def test_the_connection_closes_after_a_response_with_connection_close(simulator, context):
    with connected(simulator, context, "http/1.1") as connection:
        connection.sendall(asked("close"))
        head, *_ = records(connection)
        assert b"connection: close" in head.lower()
        assert connection.recv(1) == b""


def test_an_early_response_comes_before_the_rest_of_the_request(simulator, context):
    with connected(simulator, context, "http/1.1") as connection:
        connection.sendall(asked("early", BODY + b" ", 1000))
        assert b"".join(records(connection)).startswith(b"HTTP/1.1 200")
        connection.sendall(b" " * 1000)
        connection.sendall(asked(""))
        assert b"".join(records(connection)).startswith(b"HTTP/1.1 200")
    assert len(simulator.seen) == 2


class Http2:
    """A bare HTTP/2 client that keeps all events."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self.connection = connection
        self.state = H2Connection(H2Configuration(header_encoding="utf-8"))
        self.state.initiate_connection()
        self.events = []

    def ask(self, behaviour: str, body: bytes = BODY, *, end: bool = True) -> int:
        stream = self.state.get_next_available_stream_id()
        headers = [(":method", "POST"), (":scheme", "https"), (":authority", "api.openai.com")]
        headers += [(":path", "/v1/chat/completions"), ("authorization", KEY), ("x-simulator", behaviour)]
        self.state.send_headers(stream, headers)
        self.state.send_data(stream, body, end_stream=end)
        self.connection.sendall(self.state.data_to_send())
        return stream

    def read(self, kind, stream: int):
        while True:
            for event in self.events:
                if isinstance(event, kind) and getattr(event, "stream_id", stream) == stream:
                    return event
            data = self.connection.recv(65536)
            assert data, self.events
            self.events += self.state.receive_data(data)
            self.connection.sendall(self.state.data_to_send())


@pytest.fixture
def http2(simulator, context):
    with connected(simulator, context, "h2") as connection:
        yield Http2(connection)


@pytest.mark.parametrize("behaviour", ["", "at-once", "bytewise", "pauses", "hints"])
def test_over_http2_each_delivery_brings_the_same_response(http2, behaviour):
    stream = http2.ask(behaviour)
    http2.read(StreamEnded, stream)
    body = b"".join(event.data for event in http2.events if isinstance(event, DataReceived))
    assert json.loads(body)["choices"]
    assert any(isinstance(event, InformationalResponseReceived) for event in http2.events) == (behaviour == "hints")
    empty = [event for event in http2.events if isinstance(event, DataReceived) and not event.data]
    assert (len(empty) > 1) == (behaviour == "pauses"), "the last one may be empty"


def test_over_http2_an_early_response_comes_before_the_rest(http2):
    stream = http2.ask("early", BODY + b" ", end=False)
    http2.read(ResponseReceived, stream)
    http2.read(StreamEnded, stream)


@pytest.mark.parametrize("behaviour", ["goaway", "close"])
def test_a_goaway_names_the_last_stream_that_gets_a_response(http2, behaviour):
    stream = http2.ask(behaviour)
    assert http2.read(ConnectionTerminated, stream).last_stream_id == stream


def test_a_goaway_can_name_the_stream_before(http2):
    http2.read(StreamEnded, http2.ask(""))
    assert http2.read(ConnectionTerminated, http2.ask("disown")).last_stream_id == 1
