"""The handler of one client connection: mitmproxy's, with less work for each event and hook.

Three things differ from the stock handler. A hook whose addons did not wait is answered at once, not by a task
that waits for a lock. Once a CONNECT tunnel is open, its events go straight to the layers inside it, as the layers
outside only pass them on. An exception in a layer closes the connection, where the stock handler lets it hang.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events, layer, mode_servers
from mitmproxy.proxy.layer import NextLayerHook
from mitmproxy.proxy.server import ConnectionIO
from mitmproxy.utils import asyncio_utils

from wirekey.tracebacks import safe_traceback
from wirekey.wire.cleanup import release
from wirekey.wire.connecting import open_tcp_connection
from wirekey.wire.pooled_tls import OpenPooledConnection, run_pooled_connection

if TYPE_CHECKING:
    from mitmproxy.connection import Client, Connection

    from wirekey.wire.layer import WireLayer

UPSTREAM_CONNECTIONS_PER_ADDRESS = 1000
"""Of one client connection. With mitmproxy's 5, the sixth HTTP/2 stream to an HTTP/1.1 upstream waits."""

MAX_JOINED_BYTES = 64 * 1024
"""Bytes up to which what is sent together is copied together, for one call of the system."""

EXPIRED = 1e-9
"""A moment of the monotonic clock."""
READ_BYTES = 64 * 1024 - 1

logger = logging.getLogger(__name__)
connection_handlers: WeakValueDictionary[str, WireConnectionHandler] = WeakValueDictionary()
"""By the id of the client connection."""


class WakeWhenWritten(commands.RequestWakeup):
    """Wake the layer when the connection has sent nearly all that it was given, or is gone."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(0)
        self.connection = connection


class WireConnectionHandler(mode_servers.ProxyConnectionHandler):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.max_conns = collections.defaultdict(lambda: asyncio.Semaphore(UPSTREAM_CONNECTIONS_PER_ADDRESS))
        self.event_queue: collections.deque[events.Event] = collections.deque()
        self.is_dispatching = False
        self.pending_writes: dict[Connection, list[bytes]] = {}
        """What the layers send while they handle one event: it goes out at once, head and body in one write."""
        self.running_hooks: set[asyncio.Task[None]] = set()
        self.tunnel_layer: layer.Layer | None = None
        self.http_layer: WireLayer | None = None
        """The http_layer_of HTTP layer."""
        self.reader_futures: set[asyncio.Future[None]] = set()
        """Those that read from a provider what the client has no room for."""
        self.client_disconnected = False
        """Whether the client's connection has ended. Its hooks may still be under way."""
        self.is_released = False
        connection_handlers[self.client.id] = self

    async def handle_client(self) -> None:
        try:
            await super().handle_client()
        finally:
            self.client_disconnected = True
            if not self.running_hooks:
                self.release()

    def release(self) -> None:
        """Free what the layers hold. What still comes to them reaches nobody."""
        self.is_released = True
        outer, inner = self.layer, self.http_layer
        self.http_layer = None
        self.pending_writes.clear()
        release((outer, inner, self.tunnel_layer))

    def close_client(self) -> None:
        if self.client in self.transports:
            self.close_connection(self.client)

    def time_out(self) -> None:
        """End a connection whose client took too long; it is told why if a part of a request head is there."""
        unfinished = self.http_layer.unfinished_request_head() if self.http_layer else None
        if unfinished:
            unfinished.head_since = EXPIRED  # the layer's next tick answers
        else:
            self.close_client()

    async def server_event(self, event: events.Event) -> None:
        self.dispatch(event)

    def dispatch(self, event: events.Event) -> None:
        """Hand an event to the layers and do what they command; never from within itself, but one after another."""
        if self.is_released:
            return
        self.event_queue.append(event)
        if self.is_dispatching:
            return
        self.is_dispatching = True
        self.timeout_watchdog.register_activity()
        try:
            while self.event_queue:
                queued = self.event_queue.popleft()
                for command in self.layer.handle_event(queued):
                    self.execute(command)
                if self.tunnel_layer and is_next_layer_completed(queued):
                    self.enter_tunnel()
        except Exception as error:
            # Without its message, which may quote what came over the connection.
            self.log(f"a layer failed; the connection is closed: {safe_traceback(error)}", logging.ERROR)
            self.event_queue.clear()
            self.flush()
            if self.client in self.transports:
                self.close_connection(self.client)
        finally:
            if self.pending_writes:
                self.flush()
            self.is_dispatching = False
        if self.reader_futures:
            for waiting in self.reader_futures:
                if not waiting.done():
                    waiting.set_result(None)
            self.reader_futures.clear()

    def flush(self) -> None:
        outgoing, self.pending_writes = self.pending_writes, {}
        for connection, pieces in outgoing.items():
            transport = self.transports.get(connection)
            if transport and transport.writer and not transport.writer.is_closing():
                if len(pieces) > 1 and sum(map(len, pieces)) <= MAX_JOINED_BYTES:
                    pieces = [b"".join(pieces)]  # noqa: PLW2901  # asyncio's own writelines forgets to hold back
                for piece in pieces:
                    transport.writer.write(piece)

    # Reading, as fast as the other side takes it.

    async def handle_connection(self, connection: Connection) -> None:
        """Read until the connection ends. As mitmproxy's own, but it waits for those only that were written to."""
        transport = self.transports[connection]
        assert transport.reader
        is_cancelled = False
        try:
            while data := await transport.reader.read(READ_BYTES):
                self.dispatch(events.DataReceived(connection, data))
                data = b""  # it would be kept while there is no room
                if connection is self.client:
                    await self.drain_writers()
                else:
                    await self.wait_for_client(connection)
        except OSError:
            pass  # reset by the other side
        except asyncio.CancelledError:
            is_cancelled = True
        if is_cancelled or connection.transport_protocol != "tcp":
            connection.state = ConnectionState.CLOSED
        else:
            connection.state &= ~ConnectionState.CAN_READ
        self.dispatch(events.ConnectionClosed(connection))
        try:
            if connection.state is ConnectionState.CAN_WRITE:
                await asyncio.Event().wait()  # it may still be written to, until a layer closes it
        finally:
            if transport.writer:
                with contextlib.suppress(OSError):
                    transport.writer.close()
            self.transports.pop(connection)
            transport.handler = None  # this task, which keeps the frame that this name is in
        if is_cancelled:
            raise asyncio.CancelledError

    async def wait_for_client(self, connection: Connection) -> None:
        """Return when the client takes more of what comes from this upstream connection."""
        client = self.transports.get(self.client)
        if client and client.writer:
            try:
                await client.writer.drain()
            except OSError as error:
                if client.handler:
                    client.handler.cancel(f"Error sending data: {error}")
        while self.must_pause_reading(connection):
            room = asyncio.get_running_loop().create_future()
            self.reader_futures.add(room)
            await room

    def must_pause_reading(self, connection: Connection) -> bool:
        return self.http_layer is not None and not self.is_released and self.http_layer.must_pause_reading(connection)

    def enter_tunnel(self) -> None:
        """Leave out the layers outside the tunnel; timers that they set have nothing left to watch."""
        assert self.tunnel_layer
        self.layer, self.tunnel_layer = self.tunnel_layer, None
        while self.wakeup_timer:
            self.wakeup_timer.pop().cancel()

    def execute(self, command: commands.Command) -> None:
        if isinstance(command, commands.SendData):
            self.pending_writes.setdefault(command.connection, []).append(command.data)
            return
        if isinstance(command, commands.StartHook):
            self.start_hook(command)
            return
        if self.pending_writes:
            self.flush()
        if isinstance(command, OpenPooledConnection):
            transport = self.transports[command.connection] = ConnectionIO()
            transport.handler = asyncio_utils.create_task(
                run_pooled_connection(self, command, transport),
                name="server connection",
                keep_ref=False,
                client=self.client.peername,
            )
        elif isinstance(command, commands.OpenConnection):
            assert command.connection not in self.transports
            handler = asyncio_utils.create_task(
                self.open_connection(command), name="server connection", keep_ref=False, client=self.client.peername
            )
            self.transports[command.connection] = ConnectionIO(handler=handler)
        elif isinstance(command, commands.RequestWakeup):
            timer = asyncio_utils.create_task(
                self.wakeup(command), name="wakeup timer", keep_ref=False, client=self.client.peername
            )
            self.wakeup_timer.add(timer)
        elif isinstance(command, commands.CloseConnection):
            if command.connection in self.transports:
                half = isinstance(command, commands.CloseTcpConnection) and command.half_close
                self.close_connection(command.connection, half)
        elif isinstance(command, commands.Log):
            self.log(command.message, command.level)
        else:
            raise TypeError(f"Unexpected command: {command}")

    async def open_connection(self, command: commands.OpenConnection) -> None:
        if command.connection.transport_protocol == "tcp":
            await open_tcp_connection(self, command)
        else:
            await super().open_connection(command)

    async def drain_writers(self) -> None:
        """Wait until what was written has nearly left. A connection that failed meanwhile is still read to its end."""
        for transport in list(self.transports.values()):
            if transport.writer:
                with contextlib.suppress(OSError):
                    await transport.writer.drain()

    async def wakeup(self, request: commands.RequestWakeup) -> None:
        if isinstance(request, WakeWhenWritten):
            transport = self.transports.get(request.connection)
            if transport and transport.writer:
                with contextlib.suppress(OSError):
                    await transport.writer.drain()
        await super().wakeup(request)

    def start_hook(self, hook: commands.StartHook) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.Task(self.handle_hook(hook), loop=loop, eager_start=True)
        if task.done():
            self.complete_hook(hook, task)
        else:
            self.running_hooks.add(task)
            task.add_done_callback(lambda ended: self.complete_hook(hook, ended))

    def complete_hook(self, hook: commands.StartHook, task: asyncio.Task[None]) -> None:
        self.running_hooks.discard(task)
        if task.cancelled():
            return
        if error := task.exception():
            self.log(f"hook {hook.name} failed: {safe_traceback(error)}", logging.ERROR)
        if hook.blocking:
            self.dispatch(events.HookCompleted(hook))
        if self.client_disconnected and not (self.running_hooks or self.is_dispatching or self.is_released):
            self.release()


def unwritten_bytes(client: Client, connection: Connection) -> int:
    """Count the bytes that were given to an upstream connection of this client and wait to be sent."""
    handler = connection_handlers.get(client.id)
    transport = handler.transports.get(connection) if handler else None
    writer = transport.writer if transport else None
    return writer.transport.get_write_buffer_size() if writer else 0  # type: ignore[union-attr]  # TCP's


def is_next_layer_completed(event: events.Event) -> bool:
    return isinstance(event, events.HookCompleted) and isinstance(event.command, NextLayerHook)


def skip_outer_layers(chosen: layer.Layer) -> None:
    """Let the events of this layer's connection come to it without passing the layers outside."""
    if handler := connection_handlers.get(chosen.context.client.id):
        handler.tunnel_layer = chosen
