"""One TCP or TLS connection: bytes in and out, back pressure, and the ways to break it."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, cast

from wirekey_simulator.http1 import Http1
from wirekey_simulator.http2 import Http2

if TYPE_CHECKING:
    import ssl

    from wirekey_simulator.delivery import Wire
    from wirekey_simulator.exchange import SimulatedRequest
    from wirekey_simulator.server import Simulator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LINGER = 1.0
"""Seconds that are given to the rest of a request that was answered early."""
TRICKLED = 512
"""Bytes that are sent one by one where an answer is to trickle."""
RST_ON_CLOSE = struct.pack("ii", 1, 0)


class SimulatorConnection(asyncio.Protocol):
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
        self._to_trickle = 0
        self._held = bytearray()
        """What waits to be sent byte by byte."""
        self._trickling: asyncio.Task[None] | None = None

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

    def exchange(self, request: SimulatedRequest, wire: Wire) -> asyncio.Task[None] | None:
        return self.simulator.exchange(request, wire)

    def write(self, data: bytes) -> None:
        if not self.is_open:
            return
        if not (self._to_trickle or self._trickling):
            self._transport.write(data)
            return
        self._held += data
        if self._trickling is None:
            self._trickling = asyncio.get_running_loop().create_task(self._trickle())

    def trickle(self) -> None:
        """Send the next bytes one by one."""
        self._to_trickle = TRICKLED

    async def _trickle(self) -> None:
        while self._held and not self._transport.is_closing():
            size = 1 if self._to_trickle else len(self._held)
            self._transport.write(bytes(self._held[:size]))
            del self._held[:size]
            self._to_trickle = max(0, self._to_trickle - size)
            await asyncio.sleep(0)
        self._trickling = None
        if not self.is_open:
            self._transport.close()

    async def drained(self) -> None:
        if self._trickling:
            await asyncio.wait([self._trickling])
        if not self._writable.is_set():
            await self._writable.wait()

    def close(self) -> None:
        """Send what is written and close."""
        self.is_open = False
        if self._trickling is None:
            self._transport.close()

    def close_later(self) -> None:
        """Take in the rest of a request for a while: closing at once would reset the connection and lose the answer."""
        asyncio.get_running_loop().call_later(LINGER, self.close)

    def abort(self) -> None:
        self.is_open = False
        self._transport.abort()

    def reset(self) -> None:
        """Close with a TCP RST."""
        sock: socket.socket | None = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
        self.abort()
