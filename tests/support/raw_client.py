"""A client that sends exactly the bytes of a test, in a CONNECT tunnel with TLS, or to the proxy without TLS."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import ssl
import time
import zlib
from dataclasses import dataclass, field
from typing import Self

from tests.support.running import PATIENCE

CHAT = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hello"}]}'


@dataclass
class RawResponse:
    """A response as it was received. Header names are in lower case. A status of 0 means that there was none."""

    status: int
    reason: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> dict:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """Return the message of an error response in any provider's format."""
        content = self.json()
        error = content.get("error", content)
        return error.get("message", "")


CLOSED = RawResponse(0)


class RawClient:
    """One connection to the proxy. After `connect`, `send` and `read_response` use the tunnel."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.socket: socket.socket = socket.create_connection((host, int(port)), PATIENCE)
        self.received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(data)

    def send_request(self, request: bytes, delivery: str) -> None:
        """Send a request in the pieces of a delivery. Stops if the other side has responded and closed meanwhile."""
        with contextlib.suppress(OSError):
            for piece in pieces_of(request, delivery):
                self.send(piece)
                if len(piece) > 1:
                    time.sleep(APART)

    def connect(self, target: str, agent: str = "", token: str = "", *lines: str) -> RawResponse:
        """Open a tunnel to `target` (host:port). Returns the response to CONNECT. `lines`: more header lines."""
        head = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", *lines]
        if token:
            head.append("Proxy-Authorization: Basic " + base64.b64encode(f"{agent}:{token}".encode()).decode())
        self.send("\r\n".join(head).encode() + b"\r\n\r\n")
        return self.read_response(body=False)

    def start_tls(self, root, name: str, alpn: tuple[str, ...] = ("http/1.1",)) -> None:
        """Start TLS with a server called `name`, whose certificate is verified with the CA file `root`."""
        context = ssl.create_default_context(cafile=root)
        context.set_alpn_protocols(list(alpn))
        self.socket = context.wrap_socket(self.socket, server_hostname=name)

    def receive_bytes(self) -> bytes:
        """Return the next bytes that are received, or b"" if the connection has ended."""
        try:
            return self.socket.recv(65536)
        except (ConnectionError, ssl.SSLError):
            return b""

    def read_response(self, *, body: bool = True) -> RawResponse:
        """Read one final response. Returns CLOSED if the connection ended before its head. `body`: if it has one."""
        while b"\r\n\r\n" not in self.received:
            data = self.receive_bytes()
            if not data:
                return CLOSED
            self.received += data
        head, _, self.received = self.received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        _, status, *reason = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        found = RawResponse(int(status), *reason, headers=headers)
        if int(status) == 100:
            return self.read_response(body=body)
        if body or "content-length" in headers:
            found.body = self._body(headers)
        return found

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            pieces = []
            while size := int(self._line(), 16):
                pieces.append(self._exactly(size + 2)[:-2])
            self._exactly(2)
            return b"".join(pieces)
        return self._exactly(int(headers.get("content-length", 0)))

    def _exactly(self, count: int) -> bytes:
        pieces, missing = [self.received], count - len(self.received)
        while missing > 0:
            data = self.receive_bytes()
            if not data:
                raise AssertionError("the connection ended within the response")
            pieces.append(data)
            missing -= len(data)
        whole = b"".join(pieces)
        self.received = whole[count:]
        return whole[:count]

    def _line(self) -> bytes:
        while b"\r\n" not in self.received:
            data = self.receive_bytes()
            if not data:
                raise AssertionError("the connection ended within the response")
            self.received += data
        line, _, self.received = self.received.partition(b"\r\n")
        return line

    def wait_closed(self) -> bool:
        """Wait until the other side closes the connection. Returns False if it sends something first."""
        return self.receive_bytes() == b""


REQUEST_DELIVERIES = ("one write", "head, then body", "byte by byte", "body in pieces")
"""How a client sends a request."""
APART = 0.002
"""Seconds after a piece of several bytes, so that it arrives before the next one."""


def pieces_of(request: bytes, delivery: str) -> list[bytes]:
    """Return what is written at once of a request, for one of `REQUEST_DELIVERIES`."""
    head, end, body = request.partition(b"\r\n\r\n")
    head += end
    if delivery == "one write":
        pieces = [request]
    elif delivery == "head, then body":
        pieces = [head, body]
    elif delivery == "byte by byte":
        pieces = [*_bytes_of(head[:20]), head[20:-20], *_bytes_of(head[-20:]), *_bytes_of(body[:40]), body[40:]]
    else:
        size = max(1, -(-len(body) // 8))
        pieces = [head, *(body[start : start + size] for start in range(0, len(body), size))]
    return [piece for piece in pieces if piece]


def _bytes_of(data: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in data]


def some_delivery(request: bytes) -> str:
    """Return a delivery for a request, always the same one. A table of requests goes out in all of them."""
    return REQUEST_DELIVERIES[zlib.crc32(request) % len(REQUEST_DELIVERIES)]


def post(
    *lines: str,
    path: str = "/v1/chat/completions",
    host: str | None = "api.openai.com",
    method: str = "POST",
    body: bytes = CHAT,
    content_type: str | None = "application/json",
    length: bool = True,
) -> bytes:
    """Return the bytes of a request: an OpenAI chat, unless parameters say otherwise. `lines`: more header lines."""
    head = [f"{method} {path} HTTP/1.1"]
    if host is not None:
        head.append(f"Host: {host}")
    if content_type:
        head.append(f"Content-Type: {content_type}")
    head += lines
    if length:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body
