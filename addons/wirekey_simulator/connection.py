"""One TCP or TLS connection: bytes in and out, back pressure, and the ways to break it."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable
    from weakref import WeakKeyDictionary

    from wirekey_simulator.delivery import Gate, Wire
    from wirekey_simulator.exchange import SimulatedRequest

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LINGER = 1.0
"""Seconds to read the rest of a request that got an early response."""
TRICKLED = 512
"""Bytes that `trickle` sends one by one."""
RST_ON_CLOSE = struct.pack("ii", 1, 0)


class HttpReader(Protocol):
    """Reads the requests of one connection, in HTTP/1.1 or HTTP/2."""

    def receive(self, data: bytes) -> None:
        """Read bytes of the client."""

    def lost(self) -> None:
        """Cancel what is in progress: the client disconnected."""


class Exchanges(Protocol):
    """The server as a connection uses it."""

    gate: Gate
    requested_names: WeakKeyDictionary[ssl.SSLObject, str]

    def exchange(self, request: SimulatedRequest, wire: Wire) -> asyncio.Task[None] | None:
        """Respond to a request, at once or in the task that is returned."""

    def responds_early(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Return whether a request with these headers gets its response before its end."""

    def connection_opened(self, connection: SimulatorConnection) -> int:
        """Note a connection. Return its number, from 1."""

    def connection_closed(self, connection: SimulatorConnection) -> None:
        """Remove a connection."""

    def note_malformed(self, connection: SimulatorConnection, /) -> None:
        """Count a connection that sent something other than HTTP."""


class SimulatorConnection(asyncio.Protocol):
    """Reads HTTP/2 if ALPN chose it or the client begins with its preface, else HTTP/1.1.

    `make_reader` gets the connection, and whether it is HTTP/2.
    """

    def __init__(self, simulator: Exchanges, make_reader: Callable[[SimulatorConnection, bool], HttpReader]) -> None:
        self.simulator = simulator
        self._make_reader = make_reader
        self.number = 0
        self.is_open = False
        self.is_tls = False
        self.sni: str | None = None
        self._early = b""
        self._http: HttpReader | None = None
        self._transport: asyncio.Transport
        self._writable = asyncio.Event()
        self._writable.set()
        self._to_trickle = 0
        self._held = bytearray()
        """Bytes that wait to be sent one by one."""
        self._trickling: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Choose the protocol by ALPN if the connection is over TLS."""
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True
        self.number = self.simulator.connection_opened(self)
        secured: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        if secured is not None:
            self.is_tls = True
            self.sni = self.simulator.requested_names.get(secured)
            self._http = self._make_reader(self, secured.selected_alpn_protocol() == "h2")

    def data_received(self, data: bytes) -> None:
        """Choose the protocol by the first bytes if it is still open, and pass the data on."""
        if self._http is None:
            data = self._early + data
            if len(data) < len(PREFACE) and PREFACE.startswith(data):
                self._early = data
                return
            self._http = self._make_reader(self, data.startswith(PREFACE))
        self._http.receive(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the open responses."""
        self.is_open = False
        self._writable.set()
        self.simulator.connection_closed(self)
        if self._http:
            self._http.lost()

    def pause_writing(self) -> None:
        """Hold back writers: the client reads too slowly."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Allow writers to continue."""
        self._writable.set()

    def exchange(self, request: SimulatedRequest, wire: Wire) -> asyncio.Task[None] | None:
        """Pass a whole request to the simulator. Return the task that responds, if it takes one."""
        return self.simulator.exchange(request, wire)

    def write(self, data: bytes) -> None:
        """Write bytes, one at a time while trickling. Writes to a closed connection are dropped."""
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
        """Wait until the client has read enough to write more."""
        if self._trickling:
            await asyncio.wait([self._trickling])
        if not self._writable.is_set():
            await self._writable.wait()

    def close(self) -> None:
        """Send what is written, then close."""
        self.is_open = False
        if self._trickling is None:
            self._transport.close()

    def close_later(self) -> None:
        """Close after reading the rest of a request.

        Closing at once would reset the connection and lose the response.
        """
        asyncio.get_running_loop().call_later(LINGER, self.close)

    def abort(self) -> None:
        """Close at once and drop what is not sent."""
        self.is_open = False
        self._transport.abort()

    def reset(self) -> None:
        """Close with a TCP RST."""
        sock: socket.socket | None = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
        self.abort()
