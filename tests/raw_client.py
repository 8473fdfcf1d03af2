"""A client that sends exactly the bytes it is given: through CONNECT and TLS, or plain to the proxy."""

from __future__ import annotations

import base64
import json
import socket
import ssl
from dataclasses import dataclass, field
from typing import Self

from tests.running import PATIENCE

CHAT = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hello"}]}'


@dataclass
class Answer:
    status: int
    reason: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> dict:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """The sentence in an error of any provider's shape."""
        content = self.json()
        error = content.get("error", content)
        return error.get("message", "")


CLOSED = Answer(0)


class RawClient:
    """One connection to the proxy. `send` and `answer` speak inside the tunnel once `connect` made it."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.socket: socket.socket = socket.create_connection((host, int(port)), PATIENCE)
        self.received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def connect(self, target: str, agent: str = "", token: str = "", *lines: str) -> Answer:
        head = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", *lines]
        if token:
            head.append("Proxy-Authorization: Basic " + base64.b64encode(f"{agent}:{token}".encode()).decode())
        self.send("\r\n".join(head).encode() + b"\r\n\r\n")
        return self.answer(body=False)

    def start_tls(self, root, name: str, alpn: tuple[str, ...] = ("http/1.1",)) -> None:
        context = ssl.create_default_context(cafile=root)
        context.set_alpn_protocols(list(alpn))
        self.socket = context.wrap_socket(self.socket, server_hostname=name)

    def more(self) -> bytes:
        try:
            return self.socket.recv(65536)
        except (ConnectionError, ssl.SSLError):
            return b""

    def answer(self, *, body: bool = True) -> Answer:
        """Read one answer; CLOSED where the connection ended before it."""
        while b"\r\n\r\n" not in self.received:
            data = self.more()
            if not data:
                return CLOSED
            self.received += data
        head, _, self.received = self.received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        _, status, *reason = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        found = Answer(int(status), *reason, headers=headers)
        if int(status) == 100:
            return self.answer(body=body)
        if body or "content-length" in headers:
            found.body = self._body(headers)
        return found

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self._line(), 16):
                body += self._exactly(size + 2)[:-2]
            self._exactly(2)
            return body
        return self._exactly(int(headers.get("content-length", 0)))

    def _exactly(self, count: int) -> bytes:
        while len(self.received) < count:
            data = self.more()
            if not data:
                raise AssertionError("the answer broke off")
            self.received += data
        data, self.received = self.received[:count], self.received[count:]
        return data

    def _line(self) -> bytes:
        while b"\r\n" not in self.received:
            data = self.more()
            if not data:
                raise AssertionError("the answer broke off")
            self.received += data
        line, _, self.received = self.received.partition(b"\r\n")
        return line

    def at_end(self) -> bool:
        """Wait for the other side to close; False where it says something first."""
        return self.more() == b""


def post(
    *lines: str,
    path: str = "/v1/chat/completions",
    host: str | None = "api.openai.com",
    method: str = "POST",
    body: bytes = CHAT,
    content_type: str | None = "application/json",
    length: bool = True,
) -> bytes:
    """The bytes of a request, OpenAI chat where nothing else is said."""
    head = [f"{method} {path} HTTP/1.1"]
    if host is not None:
        head.append(f"Host: {host}")
    if content_type:
        head.append(f"Content-Type: {content_type}")
    head += lines
    if length:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body
