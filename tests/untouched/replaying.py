"""Sends recorded requests through Wirekey to a server that records them and responds with recorded responses."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from pathlib import Path

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, ResponseReceived, StreamEnded

from tests.support.raw_client import RawClient
from tests.untouched.messages import Message, Reader, field_lines, fields, name_of
from wirekey_simulator.certificate import prepare_certificate

WHOLE_WINDOW = (1 << 31) - 1


class Upstream:
    """A provider that records each request, and responds with the next bytes of `responses`."""

    def __init__(self, folder: Path) -> None:
        self.arrived: list[Message] = []
        self.response: Message | None = None
        server, self.ca_file = prepare_certificate(folder)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(server)
        self.context.set_alpn_protocols(["h2", "http/1.1"])
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"https://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError), self.context.wrap_socket(plain, server_side=True) as connection:
            if connection.selected_alpn_protocol() == "h2":
                self.serve_http2(connection)
                return
            reader = Reader(lambda: connection.recv(65536))
            while message := reader.message():
                self.arrived.append(message)
                assert self.response
                connection.sendall(written(self.response))

    def serve_http2(self, connection: ssl.SSLSocket) -> None:
        state = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        state.initiate_connection()
        heads: dict[int, tuple[bytes, ...]] = {}
        bodies: dict[int, bytes] = {}
        connection.sendall(state.data_to_send())
        while data := connection.recv(65536):
            for event in state.receive_data(data):
                if isinstance(event, RequestReceived):
                    heads[event.stream_id] = tuple(field_lines(event.headers))
                elif isinstance(event, DataReceived):
                    bodies[event.stream_id] = bodies.get(event.stream_id, b"") + event.data
                    state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, StreamEnded):
                    stream = event.stream_id
                    self.arrived.append(Message(b"", heads[stream], bodies.get(stream, b"")))
                    assert self.response
                    send_http2(state, stream, self.response)
            connection.sendall(state.data_to_send())

    def close(self) -> None:
        self.listener.close()


def written(message: Message) -> bytes:
    """Return the bytes of a message of HTTP/1.1."""
    trailers = b"".join(line + b"\r\n" for line in message.trailers)
    is_chunked = bool(message.values(b"transfer-encoding"))
    return b"".join(message.interim) + message.head + message.framed + (trailers + b"\r\n" if is_chunked else b"")


def send_http2(state: H2Connection, stream: int, message: Message) -> None:
    """Prepare a message. Bodies of tests are smaller than the window of a stream."""
    state.send_headers(stream, fields(message), end_stream=not message.body)
    size = state.max_outbound_frame_size
    for start in range(0, len(message.body), size):
        piece = message.body[start : start + size]
        state.send_data(stream, piece, end_stream=start + size >= len(message.body))


def call_http1(client: RawClient, request: Message) -> Message:
    """Send a request, and return the response as it arrives."""
    client.send(written(request))
    found = Reader(client.receive_bytes).message()
    assert found, "the connection ended before the response"
    return found


def call_http2(client: RawClient, request: Message) -> Message:
    """Send a request on a new connection, and return the response as it arrives."""
    config = H2Configuration(header_encoding=None, normalize_outbound_headers=False, validate_outbound_headers=False)
    state = H2Connection(config)
    state.initiate_connection()
    send_http2(state, 1, request)
    client.send(state.data_to_send())
    lines: tuple[bytes, ...] = ()
    body = b""
    while data := client.receive_bytes():
        for event in state.receive_data(data):
            if isinstance(event, ResponseReceived):
                lines = tuple(field_lines(event.headers))
            elif isinstance(event, DataReceived):
                body += event.data
                state.acknowledge_received_data(event.flow_controlled_length, 1)
            elif isinstance(event, StreamEnded):
                return Message(b"", lines, body)
        client.send(state.data_to_send())
    raise AssertionError("the connection ended before the response")


def with_line(message: Message, name: bytes, value: bytes) -> Message:
    """Return a message with another value of a header, in the same place and spelling."""
    lines = [line[: len(name)] + b": " + value if name_of(line) == name else line for line in message.lines]
    return Message(message.start, tuple(lines), message.body, message.framed, message.trailers, message.interim)
