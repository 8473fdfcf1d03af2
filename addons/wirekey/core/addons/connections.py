"""Bounds the connections of clients: by number, and by a deadline for each step until the client is identified."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from wirekey.core.addons.base import Addon
from wirekey.core.calls.client_connections import Step
from wirekey.core.errors import Refusal
from wirekey.core.wire.connection_handler import connection_handlers

if TYPE_CHECKING:
    from mitmproxy import http
    from mitmproxy.connection import Client
    from mitmproxy.proxy.layer import NextLayer
    from mitmproxy.tls import ClientHelloData, TlsData

    from wirekey.core.calls.services import Services

TOO_MANY = Refusal(
    429,
    "too_many_connections",
    "This agent has as many connections from this address as limits.connections_per_client allows. Close some, or "
    "reuse them.",
    retry_after=2,
)


class Connections(Addon):
    """Closes connections that are too many or too slow, and counts the others for their agent.

    A connection is silent until a request of it has an agent, which `Identity` finds first. It keeps its counts in
    `services.client_connections`.
    """

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self.connections = services.client_connections
        self.timer: asyncio.TimerHandle | None = None

    def client_connected(self, client: Client) -> None:
        """Count a new connection, and close the oldest silent one of its address if there are too many."""
        most = self.services.settings.connections_per_client
        oldest = self.connections.opened(client.id, client.peername[0], time.monotonic(), most)
        if oldest and (handler := connection_handlers.get(oldest)):
            handler.close_client()
        self.look_later()

    def client_disconnected(self, client: Client) -> None:
        """Stop counting a connection."""
        self.connections.closed(client.id)

    # The steps of a silent connection.

    def next_layer(self, next_layer: NextLayer) -> None:
        """Note the first bytes of a connection."""
        if next_layer.data_client():
            self.connections.first_byte_received(next_layer.context.client.id)

    def http_connected(self, flow: http.HTTPFlow) -> None:
        """Expect a ClientHello after a CONNECT."""
        self.connections.begin_step(flow.client_conn.id, Step.HELLO, time.monotonic())

    def tls_clienthello(self, data: ClientHelloData) -> None:
        """Expect the end of the TLS handshake."""
        self.connections.begin_step(data.context.client.id, Step.HANDSHAKE, time.monotonic())

    def tls_established_client(self, data: TlsData) -> None:
        """Expect the head of a request."""
        self.connections.begin_step(data.context.client.id, Step.HEAD, time.monotonic())

    def response(self, flow: http.HTTPFlow) -> None:
        """Note the end of a response."""
        self.connections.response_ended(flow.client_conn.id, time.monotonic())

    error = response
    http_connect_error = response

    # Identified connections.

    def http_connect(self, flow: http.HTTPFlow) -> None:
        """Count the connection for the agent of a CONNECT, if it has one."""
        if self.calls.of(flow).agent:
            self.prove(flow)

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Count the connection for the agent of a request."""
        self.prove(flow)

    def request(self, flow: http.HTTPFlow) -> None:
        """Count the connection for an agent whose signature was verified with the body."""
        self.prove(flow)

    def prove(self, flow: http.HTTPFlow) -> None:
        """Count the connection for its agent, as soon as there is one or none is required. Raises Refusal."""
        agent, client = self.calls.of(flow).agent, flow.client_conn
        if agent is None and self.services.settings.identity_required:
            return  # an AWS signature is verified with the body
        most = self.services.settings.connections_per_client
        if not self.connections.prove(client.id, client.peername[0], agent.id if agent else "", most):
            raise TOO_MANY

    # Deadlines.

    def look_later(self) -> None:
        """Check the deadlines again later, until there are no silent connections."""
        if self.timer is None and self.connections.silent:
            pause = self.services.settings.deadlines.check_interval
            self.timer = asyncio.get_running_loop().call_later(pause, self.look)

    def look(self) -> None:
        """Close the silent connections whose next step is overdue."""
        self.timer = None
        for connection, _ in self.connections.overdue(time.monotonic(), self.services.settings.deadlines):
            if handler := connection_handlers.get(connection):
                handler.time_out()
        self.look_later()
