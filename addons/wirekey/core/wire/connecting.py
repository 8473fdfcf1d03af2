"""Opening an upstream connection outside of the pool: for HTTP/2, for tunnels, and if no connections are reused.

mitmproxy's layers add TLS to it. It differs from mitmproxy's own in two ways. It connects to one of several checked
addresses. And it reads what the provider sent before a reset: a provider may respond early, and close the connection
while the request is still being sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from mitmproxy.connection import ConnectionState, Server
from mitmproxy.proxy import commands, events, server_hooks
from mitmproxy.proxy.server import ConnectionIO

from wirekey.core.wire.upstream_connection import dial

if TYPE_CHECKING:
    from asyncio.sslproto import SSLProtocol
    from collections.abc import Iterator

    from mitmproxy.proxy.server import ConnectionHandler

READ_BYTES = 16 * 1024


class ResetTolerantReader(asyncio.StreamReader):
    """Returns what was received before a connection failed, and then its end instead of the error."""

    def set_exception(self, exc: BaseException) -> None:
        """Treat a failed connection as one that was closed."""
        if isinstance(exc, OSError):
            self.feed_eof()
        else:
            super().set_exception(exc)  # type: ignore[arg-type]  # as asyncio does


class ResetTolerantProtocol(asyncio.StreamReaderProtocol):
    """Feeds its reader with what a socket had received before it was reset."""

    def __init__(self, reader: ResetTolerantReader) -> None:
        super().__init__(reader)
        self.reader = reader
        self.transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Read the rest of what was received, then end."""
        if isinstance(exc, OSError):
            for data in read_after_reset(self.transport):
                self.reader.feed_data(data)
        super().connection_lost(exc)


def read_after_reset(transport: asyncio.BaseTransport | None) -> Iterator[bytes]:
    """Yield what a socket had received before a write failed. asyncio does not read it any more.

    Call it from `connection_lost`: asyncio closes the socket afterwards.
    """
    sock = getattr(transport, "_sock", None)
    with contextlib.suppress(OSError):
        while sock is not None and (data := sock.recv(READ_BYTES)):
            yield data


def feed_tls_after_reset(protocol: SSLProtocol) -> None:
    """Decrypt and hand on what the socket of a TLS connection had received before a write failed."""
    with contextlib.suppress(Exception):  # the connection has ended in any case
        for data in read_after_reset(protocol._transport):  # noqa: SLF001
            buffer = protocol.get_buffer(len(data))
            buffer[: len(data)] = data
            protocol.buffer_updated(len(data))


async def open_tcp_connection(handler: ConnectionHandler, command: commands.OpenConnection) -> None:
    """Open a TCP connection, with its hooks, and handle it until either side ends it."""
    server = command.connection
    assert isinstance(server, Server)
    assert server.address
    hook_data = server_hooks.ServerConnectionHookData(client=handler.client, server=server)
    await handler.handle_hook(server_hooks.ServerConnectHook(hook_data))
    if server.error:
        await handler.handle_hook(server_hooks.ServerConnectErrorHook(hook_data))
        await handler.server_event(events.OpenConnectionCompleted(command, f"Connection killed: {server.error}"))
        return
    async with handler.max_conns[server.address]:
        try:
            server.timestamp_start = time.time()
            transport = await connect_tcp(server)
        except (OSError, asyncio.CancelledError) as error:
            # A CancelledError has no message.
            server.error = str(error) or "connection cancelled"
            await handler.handle_hook(server_hooks.ServerConnectErrorHook(hook_data))
            await handler.server_event(events.OpenConnectionCompleted(command, server.error))
            if isinstance(error, asyncio.CancelledError):
                raise
            return
        server.timestamp_tcp_setup = time.time()
        server.state = ConnectionState.OPEN
        assert transport.writer
        server.peername = transport.writer.get_extra_info("peername")
        server.sockname = transport.writer.get_extra_info("sockname")
        handler.transports[server] = transport
        await handler.handle_hook(server_hooks.ServerConnectedHook(hook_data))
        await handler.server_event(events.OpenConnectionCompleted(command, None))
        try:
            await handler.handle_connection(server)
        finally:
            server.timestamp_end = time.time()
            await handler.handle_hook(server_hooks.ServerDisconnectedHook(hook_data))


async def connect_tcp(server: Server) -> ConnectionIO:
    """Connect to one of the server's addresses, and set it as the server's address. Raises OSError."""
    sock, server.address = await dial(server)
    loop = asyncio.get_running_loop()
    reader = ResetTolerantReader(loop=loop)
    protocol = ResetTolerantProtocol(reader)
    transport, _ = await loop.create_connection(lambda: protocol, sock=sock)
    writer = asyncio.StreamWriter(transport, protocol, reader, loop)
    return ConnectionIO(handler=asyncio.current_task(), reader=reader, writer=writer)
