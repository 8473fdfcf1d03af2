"""An upstream connection for one client connection: lent or dialled, held, and given back between two requests."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import TYPE_CHECKING

from mitmproxy.connection import ConnectionState, Server
from mitmproxy.proxy import commands, events, layer, server_hooks
from mitmproxy.proxy.layers.http import RegisterHttpConnection
from mitmproxy.proxy.layers.tls import TlsEstablishedServerHook, TlsFailedServerHook
from mitmproxy.tls import TlsData

from wirekey.wire.dialling import addresses_of, asked_for
from wirekey.wire.framing import CappedHttp1Client
from wirekey.wire.pooled_connection import WRITTEN_AHEAD, Origin, PooledConnection, dial, trust

if TYPE_CHECKING:
    from collections.abc import Callable

    from mitmproxy.proxy.context import Context
    from mitmproxy.proxy.layer import CommandGenerator
    from mitmproxy.proxy.server import ConnectionIO

    from wirekey.wire.connection import WireConnectionHandler
    from wirekey.wire.connection_pool import ConnectionPool


CANCELLED = "connection cancelled"


class OpenPooledTls(commands.OpenConnection):
    """Open a connection on which TLS is established below the layers. `fresh`: not one that was used before."""

    def __init__(self, client: PooledTlsClient, connection_pool: ConnectionPool, *, fresh: bool) -> None:
        super().__init__(client.context.server)
        self.client, self.connection_pool, self.fresh = client, connection_pool, fresh


class PooledTlsClient(layer.Layer):
    """HTTP/1.1 to an upstream, in place of mitmproxy's pair of a TLS layer and an HttpClient."""

    http: CappedHttp1Client | None = None

    def __init__(self, context: Context, connection_pool: ConnectionPool, *, fresh: bool) -> None:
        super().__init__(context)
        self.opening = OpenPooledTls(self, connection_pool, fresh=fresh)

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        error = yield self.opening
        if not error:
            self.http = CappedHttp1Client(self.context)
            self._handle_event = self.http.handle_event  # type: ignore[method-assign]  # as HttpClient does
            yield from self.http.handle_event(event)
        yield RegisterHttpConnection(self.context.server, error)

    @property
    def is_between_requests(self) -> bool:
        return self.http is not None and self.http.is_free


def pooled_tls_server(address: tuple[str, int]) -> Server:
    server = Server(address=address)
    server.tls, server.sni, server.alpn_offers = True, address[0], [b"http/1.1"]
    return server


async def hold(handler: WireConnectionHandler, command: OpenPooledTls, transport: ConnectionIO) -> None:
    """Open a connection and keep it for its client, until either side ends it."""
    server, connection_pool = command.connection, command.connection_pool
    assert isinstance(server, Server)
    assert server.address
    hook_data = server_hooks.ServerConnectionHookData(server, handler.client)
    link = None if command.fresh else connection_pool.take(Origin(*server.address[:2]))
    is_new = link is None
    if link is None:
        link = await dialled(handler, command, hook_data)
        if link is None:
            return
    else:
        # Its address was checked when it was dialled, for this same name.
        asked_for[server] = server.address[:2]
        server.address = link.address
    link.hold(server, receiver(handler, server))
    server.state = ConnectionState.OPEN
    transport.writer = link  # type: ignore[assignment]  # as far as mitmproxy uses a StreamWriter
    is_told = False
    try:
        await handler.handle_hook(server_hooks.ServerConnectedHook(hook_data))
        if is_new:
            await handler.handle_hook(TlsEstablishedServerHook(TlsData(server, command.client.context)))
        is_told = True
        handler.take(events.OpenConnectionCompleted(command, None))
        await until_it_ends(handler, server, link)
    finally:
        # A CloseConnection sets the state before it cancels this; the end of the client connection does not.
        is_lent_on = server.state is ConnectionState.OPEN and command.client.is_between_requests
        server.state = ConnectionState.CLOSED
        handler.transports.pop(server, None)
        transport.handler = None  # this task, which keeps the frame that this name is in
        if is_told:
            handler.take(events.ConnectionClosed(server))
        else:
            handler.take(events.OpenConnectionCompleted(command, CANCELLED))
        link.let_go()
        connection_pool.give(link) if is_lent_on else link.close()
        server.timestamp_end = time.time()
        await handler.handle_hook(server_hooks.ServerDisconnectedHook(hook_data))


def receiver(handler: WireConnectionHandler, server: Server) -> Callable[[bytes], bool]:
    """Give what hands bytes to the layers, and tells whether the client has too many of them to read."""
    client = handler.transports.get(handler.client)
    to_client = client.writer.transport if client and isinstance(client.writer, asyncio.StreamWriter) else None

    def receive(data: bytes) -> bool:
        handler.take(events.DataReceived(server, data))
        is_full = to_client is not None and to_client.get_write_buffer_size() > WRITTEN_AHEAD
        return is_full or handler.must_wait(server)

    return receive


async def until_it_ends(handler: WireConnectionHandler, server: Server, link: PooledConnection) -> None:
    while not link.ended:
        await link.stirred.wait()
        link.stirred.clear()
        if link.choked:
            await handler.room_for_client(server)
            link.go_on()


async def dialled(
    handler: WireConnectionHandler, command: OpenPooledTls, hook_data: server_hooks.ServerConnectionHookData
) -> PooledConnection | None:
    """Dial anew; None: that failed, and the layers know why."""
    server, context = hook_data.server, command.client.context
    assert server.address
    origin = Origin(*server.address[:2])
    try:
        await handler.handle_hook(server_hooks.ServerConnectHook(hook_data))
        if server.error:
            await fail(handler, command, hook_data, f"Connection killed: {server.error}")
            return None
        options = context.options
        settings = trust(options.ssl_verify_upstream_trusted_ca, options.tls_version_server_min)
        link = await dial(addresses_of(server), origin, settings)
        server.address = link.address
    except asyncio.CancelledError:
        await fail(handler, command, hook_data, CANCELLED)
        raise
    except (OSError, ValueError) as error:
        server.error = said(error)
        if isinstance(error, ssl.SSLError):
            await handler.handle_hook(TlsFailedServerHook(TlsData(server, context)))
        await fail(handler, command, hook_data, server.error)
        return None
    command.connection_pool.dialled(link)
    return link


async def fail(
    handler: WireConnectionHandler,
    command: OpenPooledTls,
    hook_data: server_hooks.ServerConnectionHookData,
    error: str,
) -> None:
    hook_data.server.error = hook_data.server.error or error
    await handler.handle_hook(server_hooks.ServerConnectErrorHook(hook_data))
    handler.transports.pop(hook_data.server, None)
    handler.take(events.OpenConnectionCompleted(command, error))


def said(error: Exception) -> str:
    """Say why there is no connection. That a certificate was at fault is seen by that word."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"Certificate verify failed: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or 'no reason given').replace('_', ' ').lower()}"
    return str(error) or "the connection ended while it was made"
