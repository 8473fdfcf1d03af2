"""A stand-in for a company's proxy: it opens tunnels with CONNECT, and may want credentials."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

PATIENCE = 60.0


@dataclass
class CompanyProxy:
    """`leads_to`: where tunnels lead, whatever they name. `answer`: its whole response, if it opens no tunnel."""

    port: int
    leads_to: tuple[str, int]
    credentials: str = ""
    answer: bytes = b""
    asked: list[str] = field(default_factory=list)
    """The request lines that it got."""
    passed: bytearray = field(default_factory=bytearray)
    """All bytes that it passed on, in both directions."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def handle(self, client: socket.socket) -> None:
        with client:
            client.settimeout(PATIENCE)
            head = b""
            while b"\r\n\r\n" not in head:
                data = client.recv(1000)
                if not data:
                    return
                head += data
            lines = head.decode().split("\r\n")
            self.asked.append(lines[0])
            wanted = f"Proxy-Authorization: Basic {base64.b64encode(self.credentials.encode()).decode()}"
            if self.credentials and wanted not in lines:
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            if self.answer:
                client.sendall(self.answer)
                return
            upstream = socket.create_connection(self.leads_to)
            # In two packets, as a head may come.
            client.sendall(b"HTTP/1.1 200 Connection ")
            client.sendall(b"established\r\nVia: 1.1 corp\r\n\r\n")
            back = threading.Thread(target=self.copy, args=(upstream, client), daemon=True)
            back.start()
            self.copy(client, upstream)
            back.join(PATIENCE)

    def copy(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.passed += data
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def company_proxy(leads_to: tuple[str, int], **options: object) -> Iterator[CompanyProxy]:
    listener = socket.create_server(("127.0.0.1", 0))
    running = CompanyProxy(listener.getsockname()[1], leads_to, **options)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=running.handle, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield running
    finally:
        listener.close()
