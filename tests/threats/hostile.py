"""A provider that says what it likes, over HTTP/1.1 and HTTP/2: each piece of a body is a chunk or frame of its own."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from tests.support.raw_upstream import RawUpstream


@dataclass
class Asked:
    """A request as it arrived."""

    target: str
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""

    def header(self, name: str) -> str:
        return next((value.decode() for found, value in self.headers if found.lower() == name.encode()), "")

    @property
    def everything(self) -> bytes:
        return b"\n".join([self.target.encode(), *(name + b": " + value for name, value in self.headers), self.body])


@dataclass
class Says:
    """A response. `length` states it for HTTP/1.1 where True; else the body goes in chunks."""

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=lambda: [("content-type", "application/json")])
    pieces: list[bytes] = field(default_factory=lambda: [b"{}"])
    reason: str = "OK"
    trailers: list[tuple[str, str]] = field(default_factory=list)
    length: bool = False


type Script = Callable[[Asked], Says]


class Hostile(RawUpstream):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder, self.speak)
        self.context.set_alpn_protocols(["h2", "http/1.1"])
        self.script: Script = lambda _: Says()
        self.asked: list[Asked] = []
        self.protocols: list[str] = []
        self.lock = threading.Lock()

    def says(self, says: Says | Script) -> None:
        self.script = says if callable(says) else lambda _: says
        self.asked.clear()
        self.protocols.clear()

    def answer(self, asked: Asked, protocol: str) -> Says:
        with self.lock:
            self.asked.append(asked)
            self.protocols.append(protocol)
        return self.script(asked)

    def speak(self, connection: ssl.SSLSocket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if connection.selected_alpn_protocol() == "h2":
            with contextlib.suppress(h2.exceptions.ProtocolError):
                self.speak_http2(connection)
        else:
            self.speak_http1(connection)

    def speak_http1(self, connection: ssl.SSLSocket) -> None:
        received = b""
        while True:
            while b"\r\n\r\n" not in received:
                if not (data := connection.recv(65536)):
                    return
                received += data
            head, _, received = received.partition(b"\r\n\r\n")
            first, *lines = head.split(b"\r\n")
            headers = [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
            asked = Asked(first.split(b" ")[1].decode("latin-1"), headers)
            wanted = int(asked.header("content-length") or 0)
            while len(received) < wanted:
                if not (data := connection.recv(65536)):
                    return
                received += data
            asked.body, received = received[:wanted], received[wanted:]
            says = self.answer(asked, "http/1.1")
            framing = f"content-length: {sum(map(len, says.pieces))}" if says.length else "transfer-encoding: chunked"
            fields = "".join(f"{name}: {value}\r\n" for name, value in says.headers)
            connection.sendall(f"HTTP/1.1 {says.status} {says.reason}\r\n{fields}{framing}\r\n\r\n".encode("latin-1"))
            for piece in says.pieces:
                connection.sendall(piece if says.length else b"%x\r\n%b\r\n" % (len(piece), piece))
            if not says.length:
                trailers = "".join(f"{name}: {value}\r\n" for name, value in says.trailers)
                connection.sendall(f"0\r\n{trailers}\r\n".encode("latin-1"))

    def speak_http2(self, connection: ssl.SSLSocket) -> None:
        state = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding=None, validate_outbound_headers=False)
        )
        state.initiate_connection()
        connection.sendall(state.data_to_send())
        streams: dict[int, Asked] = {}
        while data := connection.recv(65536):
            for event in state.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    path = next(value for name, value in event.headers if name == b":path")
                    streams[event.stream_id] = Asked(path.decode("latin-1"), list(event.headers))
                elif isinstance(event, h2.events.DataReceived):
                    streams[event.stream_id].body += event.data
                    state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    self.say_http2(connection, state, event.stream_id, streams.pop(event.stream_id))
            connection.sendall(state.data_to_send())

    def say_http2(self, connection, state, stream: int, asked: Asked) -> None:
        says = self.answer(asked, "h2")
        fields = [(":status", str(says.status)), *((name.lower(), value) for name, value in says.headers)]
        if says.length:
            fields.append(("content-length", str(sum(map(len, says.pieces)))))
        state.send_headers(stream, fields)
        for piece in says.pieces:
            state.send_data(stream, piece)
            connection.sendall(state.data_to_send())
        if says.trailers:
            state.send_headers(stream, says.trailers, end_stream=True)
        else:
            state.end_stream(stream)
