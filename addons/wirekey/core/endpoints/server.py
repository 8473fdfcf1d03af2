"""A listener for local requests in mitmproxy's event loop: sockets, connections, and limits on their number and speed.

It is the HTTP server of tornado, which comes with mitmproxy. Connections are accepted here, so that they can be
counted, and closed at once if they send TLS.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import socket
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tornado.http1connection import HTTP1Connection, HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.netutil import bind_sockets
from tornado.web import Application

from wirekey.core.endpoints.admission import Admission, Admitted
from wirekey.core.endpoints.handler import EndpointHandler, HeadCheck
from wirekey.core.endpoints.local_request import HEAD_BYTES
from wirekey.core.endpoints.routes import not_found
from wirekey.core.proxy_protocol import LONGEST_HEADER, ProxyHeaderError, is_in, parse_proxy_header

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from ipaddress import IPv4Network, IPv6Network

    from tornado.httputil import HTTPConnection

    from wirekey.config import HostPort
    from wirekey.core.endpoints.reply import LocalHandler

logger = logging.getLogger(__name__)

BUFFER = 8 * HEAD_BYTES
"""Bytes that may wait to be read on a connection."""
TLS_RECORD = b"\x16"
"""First byte of a TLS handshake. No HTTP method begins with it."""
HEADER_BYTES = 2 * LONGEST_HEADER
HEADER_PAUSE = 0.01
"""Seconds until the rest of a header of the PROXY protocol is looked for."""
AT_ONCE = 64
"""Connections accepted in one turn of the loop."""
PAUSE = 1.0
"""Seconds without accepting after the system had no descriptor for a connection."""
WARNING_INTERVAL = 10.0


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Seconds for a head, a body and for receiving a response; connections in total and from one address."""

    head: float = 10.0
    body: float = 10.0
    response: float = 10.0
    connections: int = 512
    of_one_address: int = 256


@dataclass(slots=True)
class Undecided:
    """A connection that has sent nothing yet. `patience` ends it."""

    address: str
    admitted: Admitted
    patience: asyncio.TimerHandle


class Server(HTTPServer):
    """Accepts and serves connections to `place`. For one event loop: call `open` and `close` within it."""

    def initialize(  # type: ignore[override]
        self,
        place: HostPort,
        routes: Mapping[str, LocalHandler],
        bounds: ServerLimits | None = None,
        proxies: Sequence[IPv4Network | IPv6Network] = (),
    ) -> None:
        """Do not open anything yet. tornado calls this in place of `__init__`.

        `routes`: path → endpoint. `proxies`: load balancers whose connections begin with a header of the PROXY
        protocol.
        """
        self.place = place
        self._proxies = proxies
        self._bounds = bounds or ServerLimits()
        self._listening: list[socket.socket] = []
        self._undecided: dict[socket.socket, Undecided] = {}
        self._admission = Admission(self._bounds.connections, self._bounds.of_one_address)
        self._admitted: dict[IOStream, Admitted] = {}
        self._warned_at = 0.0
        patience = self._bounds.response
        endpoints: list[Any] = [
            (re.escape(path), EndpointHandler, {"handler": handler, "patience": patience})
            for path, handler in routes.items()
        ]
        super().initialize(
            Application(
                endpoints,
                default_handler_class=EndpointHandler,
                default_handler_args={"handler": not_found, "patience": patience},
                log_function=lambda _: None,
            ),
            # Beyond HEAD_BYTES there is an error response; beyond this limit the connection is closed.
            max_header_size=4 * HEAD_BYTES,
            idle_connection_timeout=self._bounds.head,
            body_timeout=self._bounds.body,
            max_body_size=sys.maxsize,  # the handler counts
        )

    def open(self, sockets: Sequence[socket.socket] = ()) -> None:
        """Start to listen, on `sockets` if there are any. Raises OSError."""
        self._loop = asyncio.get_running_loop()
        self._listening = [*sockets] or bind_sockets(self.place.port, self.place.host)
        for one in sockets:
            one.setblocking(False)
        if not self._listening:
            raise OSError(errno.EADDRNOTAVAIL, "has no address that can be listened on")
        for one in self._listening:
            self._loop.add_reader(one, self._accept, one)

    @property
    def address(self) -> str:
        """HOST:PORT, as assigned by the system."""
        host, port = self._listening[0].getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def is_open(self) -> bool:
        """Whether the server listens."""
        return bool(self._listening)

    async def close(self) -> None:
        """Stop accepting connections and close the open ones. Responses are short, and streams may end at any time."""
        sockets, self._listening = self._listening, []
        for one in sockets:
            self._loop.remove_reader(one)
            one.close()
        for waiting in list(self._undecided):
            self._decide(waiting, serve=False)
        await self.close_all_connections()

    # For tornado.

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HeadCheck:
        """Return the delegate of a request."""
        assert isinstance(server_conn, HTTP1ServerConnection)
        assert isinstance(request_conn, HTTP1Connection)
        following = super().start_request(server_conn, request_conn)
        if (admitted := self._admitted.get(server_conn.stream)) is None:
            return HeadCheck(request_conn, following, self._bounds.response)  # closed in the meantime
        self._admission.request_ended(admitted)
        return HeadCheck(request_conn, following, self._bounds.response, lambda: self._admission.request_read(admitted))

    def on_close(self, server_conn: object) -> None:
        """Forget a closed connection."""
        super().on_close(server_conn)
        assert isinstance(server_conn, HTTP1ServerConnection)
        if admitted := self._admitted.pop(server_conn.stream, None):
            self._admission.leave(admitted)

    # Connections.

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                connection, peer = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:
                continue
            except OSError as error:
                self._warn(f"accepts no connections for {PAUSE:g} s: {error.strerror}")
                self._loop.remove_reader(listening)
                self._loop.call_later(PAUSE, self._accept_again, listening)
                return
            self._admit(connection, peer[0])

    def _accept_again(self, listening: socket.socket) -> None:
        if listening in self._listening:
            self._loop.add_reader(listening, self._accept, listening)

    def _admit(self, connection: socket.socket, address: str) -> None:
        closed = self._admission.closed
        admitted = self._admission.admit(address, lambda: self._decide(connection, serve=False))
        if admitted is None or self._admission.closed > closed:
            self._warn(f"has too many connections; one was closed when {address} opened another")
        if admitted is None:
            connection.close()
            return
        connection.setblocking(False)
        patience = self._loop.call_later(self._bounds.head, self._decide, connection, False)
        self._undecided[connection] = Undecided(address, admitted, patience)
        if is_in(address, self._proxies):
            self._loop.add_reader(connection, self._read_header, connection)
        else:
            self._loop.add_reader(connection, self._decide, connection, True)

    def _read_header(self, connection: socket.socket) -> None:
        """Read the header of the PROXY protocol, and continue with the client that it names."""
        undecided = self._undecided[connection]
        try:
            received = connection.recv(HEADER_BYTES, socket.MSG_PEEK)
            header = parse_proxy_header(received)
            if header is None and received:
                # The received bytes stay there, so their arrival must not be awaited again at once.
                self._loop.remove_reader(connection)
                self._loop.call_later(HEADER_PAUSE, self._await_header, connection)
                return
            if header is None:
                raise ConnectionRefusedError
            connection.recv(header.size)
        except (OSError, ProxyHeaderError) as error:
            if not isinstance(error, BlockingIOError):
                self._warn(f"closed a connection from {undecided.address} without a valid header of the PROXY protocol")
                self._decide(connection, serve=False)
            return
        if header.client:
            undecided.address = header.client[0]
            if not self._admission.move(undecided.admitted, undecided.address):
                self._decide(connection, serve=False)
                return
        undecided.patience.cancel()
        undecided.patience = self._loop.call_later(self._bounds.head, self._decide, connection, False)
        self._loop.remove_reader(connection)
        self._loop.add_reader(connection, self._decide, connection, True)

    def _await_header(self, connection: socket.socket) -> None:
        if connection in self._undecided:
            self._loop.add_reader(connection, self._read_header, connection)

    def _decide(self, connection: socket.socket, serve: bool) -> None:
        """Serve a connection that has sent data. One that sends TLS is closed at once, so that the client notices."""
        undecided = self._undecided.pop(connection)
        undecided.patience.cancel()
        self._loop.remove_reader(connection)
        try:
            if not serve or connection.recv(1, socket.MSG_PEEK) == TLS_RECORD:
                raise ConnectionRefusedError
            stream = IOStream(connection, max_buffer_size=BUFFER)
        except OSError:
            connection.close()
            self._admission.leave(undecided.admitted)
        else:
            undecided.admitted.close = stream.close
            self._admitted[stream] = undecided.admitted
            self.handle_stream(stream, (undecided.address,))

    def _warn(self, what: str) -> None:
        now = time.monotonic()
        if now - self._warned_at >= WARNING_INTERVAL:
            self._warned_at = now
            logger.warning("%s %s", self.place, what)
