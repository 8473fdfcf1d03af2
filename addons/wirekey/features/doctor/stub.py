"""A stub of Wirekey's proxy, for a run of a client. It forwards nothing and records what arrives.

Each connection has a thread. One `StubRequest` sums up what arrives on all of them.
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
MAX_HEAD_BYTES = 65536
SECONDS = 20.0
"""The time limit of each read and write."""
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: 30\r\n\r\n"
    b'{"object": "list", "data": []}'
)
CHALLENGE = (
    b"HTTP/1.1 407 Proxy Authentication Required\r\n"
    b'Proxy-Authenticate: Basic realm="wirekey"\r\nContent-Length: 0\r\n\r\n'
)

LAST_SECONDS = 2.0
"""Seconds to read what a client has sent before it ended."""


@dataclass(frozen=True, slots=True)
class StubRequest:
    """The steps that a client has completed.

    `connected`: a CONNECT. `credentials`: a CONNECT with the agent's token. `requested`: a request in the tunnel.
    `refused` is the TLS alert with which the client ended the handshake, or an empty string.
    """

    connected: bool = False
    credentials: bool = False
    requested: bool = False
    refused: str = ""


class Stub:
    """A context manager that listens on a free port of this machine. At its end, `observed` is all that has arrived.

    `certificate` returns the server side of TLS for a host, or None to close the connection. With `challenge`, a
    CONNECT without the agent's credentials gets a 407 response, as some clients send them only then.
    """

    def __init__(
        self, certificate: Callable[[str], ssl.SSLContext | None], agent: str, token: str, *, challenge: bool
    ) -> None:
        self.certificate = certificate
        self.expected = f"Basic {base64.b64encode(f'{agent}:{token}'.encode()).decode()}"
        self.challenge = challenge
        self.observed = StubRequest()
        self.lock = threading.Lock()
        self.serving: list[threading.Thread] = []
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
        for thread in self.serving:
            # The last thing that a client has sent, such as a TLS alert, may not be read yet when its program ends.
            thread.join(LAST_SECONDS)

    def note(self, **seen: bool | str) -> None:
        """Add to what has arrived."""
        with self.lock:
            self.observed = replace(self.observed, **seen)  # type: ignore[arg-type]  # the fields' own types

    def accept(self) -> None:
        """Accept connections until the listener is closed."""
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self.serve, args=(connection,), daemon=True)
            self.serving.append(thread)
            thread.start()

    def serve(self, connection: socket.socket) -> None:
        """Open the tunnel that a client requests, and respond to one request in it."""
        with contextlib.suppress(OSError), connection:
            connection.settimeout(SECONDS)
            host = self.tunnel_to(connection)
            context = self.certificate(host) if host else None
            if context is None:
                return
            try:
                # With TLS 1.3, the alert of a client that does not trust the certificate arrives with the first read.
                with context.wrap_socket(connection, server_side=True) as secure:
                    if read_head(secure):
                        self.note(requested=True)
                        secure.sendall(RESPONSE)
            except ssl.SSLError as error:
                self.note(refused=(error.reason or "TLS failed").replace("_", " ").lower())

    def tunnel_to(self, connection: socket.socket) -> str | None:
        """Respond to CONNECT requests until one opens a tunnel. Returns its host, or None if the client leaves."""
        while head := read_head(connection):
            first, *headers = head.split("\r\n")
            method, _, target = first.partition(" ")
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
            return target.partition(" ")[0].rpartition(":")[0].strip("[]").lower()
        return None


def read_head(connection: socket.socket) -> str:
    """Read a head up to the empty line. Returns an empty string if the client leaves before that or sends too much."""
    head = b""
    while b"\r\n\r\n" not in head:
        part = connection.recv(4096)
        if not part or len(head) > MAX_HEAD_BYTES:
            return ""
        head += part
    return head.partition(b"\r\n\r\n")[0].decode("latin-1")
