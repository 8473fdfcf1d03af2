"""An upstream that says exactly the bytes it is given, over TLS with the simulator's certificate."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Self

from wirekey_simulator.certificate import prepare_certificate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class RawUpstream:
    """`talk` gets each connection, TLS done unless `tls` is False, and is left to do what it likes with it."""

    def __init__(self, folder: Path, talk: Callable[[socket.socket], None], *, tls: bool = True) -> None:
        self.talk = talk
        self.context = None
        if tls:
            server, _ = prepare_certificate(folder)
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(server)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(30)
            self.talk(self.context.wrap_socket(connection, server_side=True) if self.context else connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()


def saying(*parts: bytes) -> Callable[[socket.socket], None]:
    """Read a request, then say the parts and close."""

    def talk(connection: socket.socket) -> None:
        # To the end: what is left unread makes the closing a reset, and the answer may be lost.
        request = b""
        while not request.endswith((b"}", b"\r\n\r\n")) or (b"POST" in request and b"{" not in request):
            if not (data := connection.recv(65536)):
                return
            request += data
        for part in parts:
            connection.sendall(part)

    return talk


def endless_head(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for number in range(1_000_000):
        connection.sendall(b"x-%d: %s\r\n" % (number, b"y" * 4000))


def silence(connection: socket.socket) -> None:
    connection.recv(65536)
    while connection.recv(65536):
        pass
