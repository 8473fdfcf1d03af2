"""A proxy that stands in for Wirekey while a client is looked at: it sends nothing on, and notes what came.

One connection at a time is one thread; one `StubRequest` is the sum of them all.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

AUTH = "proxy-authorization"
LARGEST_HEAD = 65536
SECONDS = 20.0
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: 30\r\n\r\n"
    b'{"object": "list", "data": []}'
)
CHALLENGE = (
    b"HTTP/1.1 407 Proxy Authentication Required\r\n"
    b'Proxy-Authenticate: Basic realm="wirekey"\r\nContent-Length: 0\r\n\r\n'
)


@dataclass(frozen=True, slots=True)
class StubRequest:
    """What arrived: a CONNECT, with the agent's credentials, a TLS handshake that was finished, a request in it.

    `refused` is the client's own word (a TLS alert) for why it ended the handshake.
    """

    connected: bool = False
    credentials: bool = False
    requested: bool = False
    refused: str = ""


class Stub:
    """Listens on a free port of this machine while it is entered.

    `certificate` gives the server side of TLS for a host, None for one that it does not speak for. With `challenge` a
    CONNECT without the agent's credentials is answered 407, as some clients send them only then.
    """

    def __init__(
        self, certificate: Callable[[str], ssl.SSLContext | None], agent: str, token: str, *, challenge: bool
    ) -> None:
        self.certificate = certificate
        self.expected = f"Basic {base64.b64encode(f'{agent}:{token}'.encode()).decode()}"
        self.challenge = challenge
        self.sighting = StubRequest()
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            # Wakes the thread that waits in accept; closing alone does not.
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def note(self, **seen: bool | str) -> None:
        with self.lock:
            self.sighting = replace(self.sighting, **seen)  # type: ignore[arg-type]  # the fields' own types

    def accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.attend, args=(connection,), daemon=True).start()

    def attend(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(SECONDS)
            host = self.tunnel_to(connection)
            context = self.certificate(host) if host else None
            if context is None:
                return
            try:
                # With TLS 1.3 a client that does not believe us says so only when we read.
                with context.wrap_socket(connection, server_side=True) as secure:
                    if read_head(secure):
                        self.note(requested=True)
                        secure.sendall(ANSWER)
            except ssl.SSLError as error:
                self.note(refused=(error.reason or "TLS failed").replace("_", " ").lower())

    def tunnel_to(self, connection: socket.socket) -> str | None:
        """Answer CONNECTs until one opens a tunnel; give its host, None where the client goes away."""
        while head := read_head(connection):
            first, *headers = head.split("\r\n")
            method, _, cool_down = first.partition(" ")
            if method != "CONNECT":
                return None
            self.note(connected=True)
            given = [value.strip() for name, _, value in (h.partition(":") for h in headers) if name.lower() == AUTH]
            if self.expected in given:
                self.note(credentials=True)
            elif self.challenge:
                connection.sendall(CHALLENGE)
                continue
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            return cool_down.partition(" ")[0].rpartition(":")[0].strip("[]").lower()
        return None


def read_head(connection: socket.socket) -> str:
    """Read until the empty line; empty where the client ends before, or never comes to an end."""
    head = b""
    while b"\r\n\r\n" not in head:
        part = connection.recv(4096)
        if not part or len(head) > LARGEST_HEAD:
            return ""
        head += part
    return head.partition(b"\r\n\r\n")[0].decode("latin-1")
