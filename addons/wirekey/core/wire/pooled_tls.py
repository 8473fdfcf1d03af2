"""Acquiring a pooled upstream connection for one client connection, and releasing it between two requests."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import TYPE_CHECKING, Protocol

from mitmproxy.connection import ConnectionState, Server
from mitmproxy.proxy import commands, events, layer, server_hooks
from mitmproxy.proxy.layers import http as http_layers
from mitmproxy.proxy.layers.http import RegisterHttpConnection
from mitmproxy.proxy.layers.tls import TlsEstablishedServerHook, TlsFailedServerHook
from mitmproxy.tls import TlsData

from wirekey.core.wire.http1 import BoundedHttp1Client
from wirekey.core.wire.pooled_connection import (
    WRITE_BUFFER_BYTES,
    Origin,
    PooledConnection,
    open_connection,
    tls_context,
)
from wirekey.core.wire.upstream_connection import dial, requested_address

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from mitmproxy.connection import Client, Connection
    from mitmproxy.proxy.context import Context
    from mitmproxy.proxy.layer import CommandGenerator
    from mitmproxy.proxy.server import ConnectionIO

    from wirekey.core.wire.connection_pool import ConnectionPool


CANCELLED = "connection cancelled"


class PoolUser(Protocol):
    """The handler of a client connection that uses pooled connections."""

    client: Client
    transports: MutableMapping[Connection, ConnectionIO]

    def dispatch(self, event: events.Event) -> None:
        """Hand an event to the layers."""

    async def handle_hook(self, hook: commands.StartHook) -> None:
        """Run a hook to its end."""

    def must_pause_reading(self, connection: Connection) -> bool:
        """Return whether the client must read before more of this upstream connection is read."""

    async def wait_for_client(self, connection: Connection) -> None:
        """Return when the client has room for more of what this upstream connection receives."""


class OpenPooledConnection(commands.OpenConnection):
    """Acquire or open an upstream connection that has TLS already. `force_new`: do not reuse an idle one."""

    def __init__(self, client: PooledTlsClient, connection_pool: ConnectionPool, *, force_new: bool) -> None:
        super().__init__(client.context.server)
        self.client, self.connection_pool, self.force_new = client, connection_pool, force_new


class PooledTlsClient(layer.Layer):
    """HTTP/1.1 over a pooled connection. It replaces mitmproxy's TLS layer and HttpClient."""

    http: BoundedHttp1Client | None = None

    def __init__(self, context: Context, connection_pool: ConnectionPool, *, force_new: bool) -> None:
        super().__init__(context)
        self.open_command = OpenPooledConnection(self, connection_pool, force_new=force_new)

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        error = yield self.open_command
        if not error:
            http = http_layers.Http1Client(self.context)  # the installed class
            assert isinstance(http, BoundedHttp1Client)
            self.http = http
            # As mitmproxy's HttpClient does, but directly: HTTP/1.1 never waits for a command.
            self._handle_event = self.http._handle_event  # type: ignore[method-assign]  # noqa: SLF001
            yield from self._handle_event(event)
        yield RegisterHttpConnection(self.context.server, error)

    @property
    def is_idle(self) -> bool:
        """Return whether the connection is open and has no open request."""
        return self.http is not None and self.http.is_idle


def pooled_tls_server(address: tuple[str, int]) -> Server:
    """Return mitmproxy's connection object for a pooled connection to a host and port."""
    server = Server(address=address)
    server.tls, server.sni, server.alpn_offers = True, address[0], [b"http/1.1"]
    return server


async def run_pooled_connection(handler: PoolUser, command: OpenPooledConnection, transport: ConnectionIO) -> None:
    """Acquire or open a connection, use it for one client connection until either side ends, and release it."""
    server, connection_pool = command.connection, command.connection_pool
    assert isinstance(server, Server)
    assert server.address
    hook_data = server_hooks.ServerConnectionHookData(server, handler.client)
    origin = Origin(*server.address[:2])
    try:
        connection = await acquire(connection_pool, origin, force_new=command.force_new)
    except asyncio.CancelledError:
        await report_error(handler, command, hook_data, CANCELLED)
        raise
    is_new = connection is None
    if connection is None:
        try:
            connection = await open_new(handler, command, hook_data)
        finally:
            connection_pool.end_opening(origin)
        if connection is None:
            return
    else:
        # The address was checked when the connection was opened, for the same name.
        requested_address[server] = server.address[:2]
        server.address = connection.address
    connection.attach(server, make_receiver(handler, command, connection))
    server.state = ConnectionState.OPEN
    transport.writer = connection  # type: ignore[assignment]  # has what mitmproxy uses of a StreamWriter
    is_reported = False
    try:
        await handler.handle_hook(server_hooks.ServerConnectedHook(hook_data))
        if is_new:
            await handler.handle_hook(TlsEstablishedServerHook(TlsData(server, command.client.context)))
        is_reported = True
        handler.dispatch(events.OpenConnectionCompleted(command, None))
        await wait_until_given_up(handler, command, connection)
    finally:
        # A CloseConnection command sets the state before it cancels this task. The end of the client does not.
        is_reusable = server.state is ConnectionState.OPEN and command.client.is_idle
        server.state = ConnectionState.CLOSED
        handler.transports.pop(server, None)
        transport.handler = None  # this task, which keeps the frame that this name is in
        if is_reported:
            handler.dispatch(events.ConnectionClosed(server))
        else:
            handler.dispatch(events.OpenConnectionCompleted(command, CANCELLED))
        connection.detach()
        connection_pool.release(connection) if is_reusable else connection.close()
        server.timestamp_end = time.time()
        await handler.handle_hook(server_hooks.ServerDisconnectedHook(hook_data))


async def acquire(connection_pool: ConnectionPool, origin: Origin, *, force_new: bool) -> PooledConnection | None:
    """Return an idle connection, or None once one may be opened."""
    if force_new:
        connection_pool.begin_opening(origin)
        return None
    return await connection_pool.acquire_or_wait(origin)


def make_receiver(
    handler: PoolUser, command: OpenPooledConnection, connection: PooledConnection
) -> Callable[[bytes], bool]:
    """Return a function that hands bytes to the layers, and returns whether the client must read before more comes."""
    client = handler.transports.get(handler.client)
    to_client = client.writer.transport if client and isinstance(client.writer, asyncio.StreamWriter) else None
    server, connection_pool, origin = command.connection, command.connection_pool, connection.origin

    def receive(data: bytes) -> bool:
        handler.dispatch(events.DataReceived(server, data))
        if connection_pool.is_wanted(origin):
            connection.state_changed.set()
        is_full = to_client is not None and to_client.get_write_buffer_size() > WRITE_BUFFER_BYTES
        return is_full or handler.must_pause_reading(server)

    return receive


async def wait_until_given_up(handler: PoolUser, command: OpenPooledConnection, connection: PooledConnection) -> None:
    """Return when the connection has ended, or is idle while another client's call waits for one.

    Until then, resume reading whenever the client has room.
    """
    while not connection.is_closed:
        await connection.state_changed.wait()
        connection.state_changed.clear()
        if connection.is_reading_paused:
            await handler.wait_for_client(command.connection)
            connection.resume_reading()
        if command.client.is_idle and command.connection_pool.is_wanted(connection.origin):
            return


async def open_new(
    handler: PoolUser, command: OpenPooledConnection, hook_data: server_hooks.ServerConnectionHookData
) -> PooledConnection | None:
    """Open a connection and register it with the pool. Returns None after an error was reported to the layers."""
    server, context = hook_data.server, command.client.context
    assert server.address
    origin = Origin(*server.address[:2])
    try:
        await handler.handle_hook(server_hooks.ServerConnectHook(hook_data))
        if server.error:
            await report_error(handler, command, hook_data, f"Connection killed: {server.error}")
            return None
        options = context.options
        tls = tls_context(options.ssl_verify_upstream_trusted_ca, options.tls_version_server_min)
        connection = await open_connection(dial(server), origin, tls)
        server.address = connection.address
    except asyncio.CancelledError:
        await report_error(handler, command, hook_data, CANCELLED)
        raise
    except (OSError, ValueError) as error:
        server.error = describe_error(error)
        if isinstance(error, ssl.SSLError):
            await handler.handle_hook(TlsFailedServerHook(TlsData(server, context)))
        await report_error(handler, command, hook_data, server.error)
        return None
    command.connection_pool.register(connection)
    return connection


async def report_error(
    handler: PoolUser,
    command: OpenPooledConnection,
    hook_data: server_hooks.ServerConnectionHookData,
    error: str,
) -> None:
    """Report to the hooks and the layers why a connection could not be opened."""
    hook_data.server.error = hook_data.server.error or error
    await handler.handle_hook(server_hooks.ServerConnectErrorHook(hook_data))
    handler.transports.pop(hook_data.server, None)
    handler.dispatch(events.OpenConnectionCompleted(command, error))


def describe_error(error: Exception) -> str:
    """Return why a connection could not be opened. `connect_refusal` looks for the word "certificate" in it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"Certificate verify failed: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or 'no reason given').replace('_', ' ').lower()}"
    return str(error) or "the connection was closed before it was open"
