"""One TCP or TLS connection: bytes in and out, back pressure, and the ways to break it."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, cast

from wirekey.simulator.http1 import Http1
from wirekey.simulator.http2 import Http2

if TYPE_CHECKING:
    import ssl

    from wirekey.simulator.delivery import Wire
    from wirekey.simulator.exchange import Request
    from wirekey.simulator.server import Simulator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
RST_ON_CLOSE = struct.pack("ii", 1, 0)


class Connection(asyncio.Protocol):
    """Speaks HTTP/2 when ALPN chose it or the client begins with its preface, else HTTP/1.1."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.number = 0
        self.is_open = False
        self.is_tls = False
        self.sni: str | None = None
        self._early = b""
        self._http: Http1 | Http2 | None = None
        self._transport: asyncio.Transport
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True
        self.number = self.simulator.connection_opened(self)
        secured: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        if secured is not None:
            self.is_tls = True
            self.sni = self.simulator.asked_names.get(secured)
            self._http = Http2(self) if secured.selected_alpn_protocol() == "h2" else Http1(self)

    def data_received(self, data: bytes) -> None:
        if self._http is None:
            data = self._early + data
            if len(data) < len(PREFACE) and PREFACE.startswith(data):
                self._early = data
                return
            self._http = Http2(self) if data.startswith(PREFACE) else Http1(self)
        self._http.receive(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self._writable.set()
        self.simulator.connection_closed(self)
        if self._http:
            self._http.lost()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def exchange(self, request: Request, wire: Wire) -> asyncio.Task[None] | None:
        return self.simulator.exchange(request, wire)

    def write(self, data: bytes) -> None:
        if self.is_open:
            self._transport.write(data)

    async def drained(self) -> None:
        if not self._writable.is_set():
            await self._writable.wait()

    def close(self) -> None:
        """Send what is written and close."""
        self.is_open = False
        self._transport.close()

    def abort(self) -> None:
        self.is_open = False
        self._transport.abort()

    def reset(self) -> None:
        """Close with a TCP RST."""
        sock: socket.socket | None = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
        self.abort()
