"""The handler of one client connection and its upstream connections.

It differs from mitmproxy's handler in these ways:

- A hook whose addons do not wait completes at once.
- Once a CONNECT tunnel is open, events go to the layers inside it directly. The layers outside only pass them on.
- An exception in a layer closes the connection. mitmproxy's handler leaves it open, and the client waits.
- A provider is read only as fast as the client reads.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import contextvars
import logging
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakValueDictionary

from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events, layer, mode_servers
from mitmproxy.proxy.layer import NextLayerHook
from mitmproxy.proxy.server import ConnectionIO
from mitmproxy.utils import asyncio_utils

from wirekey.core.tracebacks import safe_traceback
from wirekey.core.wire.connecting import open_tcp_connection
from wirekey.core.wire.http2 import FramesWaiting
from wirekey.core.wire.pooled_tls import OpenPooledConnection, run_pooled_connection

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mitmproxy.connection import Client, Connection
    from mitmproxy_rs import Stream

    from wirekey.core.wire.http1 import BoundedHttp1Server

UPSTREAM_CONNECTIONS_PER_ADDRESS = 1000
"""Limit per client connection. With mitmproxy's 5, the sixth HTTP/2 stream to an HTTP/1.1 upstream waits."""

MAX_JOINED_BYTES = 64 * 1024
"""Pieces that are written together are joined up to this size, so that one system call writes them."""

EXPIRED = 1e-9
"""A time of the monotonic clock that lies before any limit."""
READ_BYTES = 64 * 1024 - 1

logger = logging.getLogger(__name__)
connection_handlers: WeakValueDictionary[str, WireConnectionHandler] = WeakValueDictionary()
"""By the id of the client connection."""


class ClientHttpLayer(Protocol):
    """The innermost HTTP layer of a client connection."""

    @property
    def has_waiting_frames(self) -> bool:
        """Return whether an HTTP/2 client has sent more frames than one turn of the loop handles."""

    def unfinished_request_head(self) -> BoundedHttp1Server | None:
        """Return the client's protocol layer if it has received a part of a request head."""

    def must_pause_reading(self, connection: Connection) -> bool:
        """Return whether the HTTP/2 client has too much unread data from an HTTP/1.1 upstream connection."""

    def discard_bodies(self) -> None:
        """Release the request bodies of all streams."""


class WakeWhenWritten(commands.RequestWakeup):
    """Wake the layer when the connection has written nearly all of its buffer, or was closed."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(0)
        self.connection = connection


class WireConnectionHandler(mode_servers.ProxyConnectionHandler):
    """Runs the layers of one client connection: hands them events, and executes their commands.

    It replaces mitmproxy's handler in every proxy mode. After the client has disconnected and the last hook has ended,
    it releases the layers, and drops later events.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.max_conns = collections.defaultdict(lambda: asyncio.Semaphore(UPSTREAM_CONNECTIONS_PER_ADDRESS))
        self.event_queue: collections.deque[events.Event] = collections.deque()
        self.is_dispatching = False
        self.pending_writes: dict[Connection, list[bytes]] = {}
        """Bytes that the layers send while they handle events. Head and body are written together, afterwards."""
        self.running_hooks: set[asyncio.Task[None]] = set()
        self.tunnel_layer: layer.Layer | None = None
        self.http_layer: ClientHttpLayer | None = None
        """The innermost HTTP layer."""
        self.reader_futures: set[asyncio.Future[None]] = set()
        """The readers of upstream connections that wait until the client has read more."""
        self.client_disconnected = False
        """Whether the client connection has ended. Hooks may still be running."""
        self.is_released = False
        connection_handlers[self.client.id] = self

    async def handle_client(self) -> None:
        """Handle the client connection until it ends, then release the layers unless a hook is running."""
        try:
            await super().handle_client()
        finally:
            self.client_disconnected = True
            if not self.running_hooks:
                self.release()

    def release(self) -> None:
        """Release the layers. Later events are dropped."""
        self.is_released = True
        if self.http_layer:
            self.http_layer.discard_bodies()
        self.http_layer = None
        self.pending_writes.clear()
        self.timeout_watchdog.callback = do_nothing  # it refers to this handler otherwise

    def close_client(self) -> None:
        """Close the client connection, if it is open."""
        if self.client in self.transports:
            self.close_connection(self.client)

    def time_out(self) -> None:
        """Close a connection whose client was too slow, with a 408 response if a request head has begun."""
        unfinished = self.http_layer.unfinished_request_head() if self.http_layer else None
        if unfinished:
            unfinished.head_since = EXPIRED  # the layer responds at its next tick
        else:
            self.close_client()

    async def server_event(self, event: events.Event) -> None:
        """Dispatch an event; mitmproxy's own code calls this."""
        self.dispatch(event)

    def dispatch(self, event: events.Event) -> None:
        """Hand an event to the layers and execute their commands. An event that this causes is queued behind it."""
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
                self.hand_on(queued)
                if self.tunnel_layer and is_next_layer_completed(queued):
                    self.enter_tunnel()
        except Exception as error:
            # The exception's message is left out: it may quote what was received.
            self.log(f"a layer failed; the connection is closed: {safe_traceback(error)}", logging.ERROR)
            self.event_queue.clear()
            self.flush()
            if self.client in self.transports:
                self.close_connection(self.client)
        finally:
            self.flush()
            self.is_dispatching = False
        if self.reader_futures:
            for future in self.reader_futures:
                if not future.done():
                    future.set_result(None)
            self.reader_futures.clear()

    def hand_on(self, event: events.Event) -> None:
        """Hand an event to the outermost layer, and execute the commands of all layers."""
        for command in self.layer.handle_event(event):
            self.execute(command)

    def use_http_layer(self, layer: ClientHttpLayer) -> None:
        """Note the innermost HTTP layer."""
        self.http_layer = layer

    def flush(self) -> None:
        """Write what the layers have sent."""
        if not self.pending_writes:
            return
        writes, self.pending_writes = self.pending_writes, {}
        for connection, pieces in writes.items():
            transport = self.transports.get(connection)
            if transport and transport.writer and not transport.writer.is_closing():
                if len(pieces) > 1 and sum(map(len, pieces)) <= MAX_JOINED_BYTES:
                    pieces = [b"".join(pieces)]  # noqa: PLW2901  # asyncio's writelines does not pause the writer
                for piece in pieces:
                    transport.writer.write(piece)

    def write(self, connection: Connection, data: bytes) -> None:
        """Write to a connection at once, if it is open."""
        transport = self.transports.get(connection)
        if data and transport and transport.writer and not transport.writer.is_closing():
            transport.writer.write(data)

    # Reading, as fast as the other side reads.

    async def handle_connection(self, connection: Connection) -> None:
        """Handle a connection until it ends, and until nothing can be written to it any more."""
        transport = self.transports[connection]
        assert transport.reader
        is_cancelled = False
        try:
            if connection is self.client:
                await self.read_client(transport)
            else:
                await self.read(connection, transport.reader)
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
                await asyncio.Event().wait()  # a layer may still write to it
        finally:
            if transport.writer:
                with contextlib.suppress(OSError):
                    transport.writer.close()
            self.transports.pop(connection)
            transport.handler = None  # this task, which keeps the frame that this name is in
        if is_cancelled:
            raise asyncio.CancelledError

    async def read_client(self, transport: ConnectionIO) -> None:
        """Read the client until it ends its side. Wait after each read until its bytes are handled and sent on."""
        assert transport.reader
        while data := await transport.reader.read(READ_BYTES):
            self.dispatch(events.DataReceived(self.client, data))
            data = b""  # release it before waiting
            await self.drain_writers()
            while self.has_waiting_frames:
                await asyncio.sleep(0)  # all other connections have their turn
                self.dispatch(FramesWaiting())
                await self.drain_writers()

    async def read(self, connection: Connection, reader: asyncio.StreamReader | Stream) -> None:
        """Read a provider until it ends its side. Wait after each read until the client has room for more."""
        while data := await reader.read(READ_BYTES):
            self.dispatch(events.DataReceived(connection, data))
            data = b""  # release it before waiting
            await self.wait_for_client(connection)

    @property
    def has_waiting_frames(self) -> bool:
        """Return whether the client has sent more HTTP/2 frames than one turn of the loop handles."""
        return self.http_layer is not None and not self.is_released and self.http_layer.has_waiting_frames

    async def wait_for_client(self, connection: Connection) -> None:
        """Return when the client has room for more of what this upstream connection receives."""
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
        """Return whether the HTTP/2 client has too much unread data of the request on this upstream connection."""
        return self.http_layer is not None and not self.is_released and self.http_layer.must_pause_reading(connection)

    def enter_tunnel(self) -> None:
        """Send events to the layers inside the tunnel from now on, and cancel the timers of the layers outside."""
        assert self.tunnel_layer
        self.layer, self.tunnel_layer = self.tunnel_layer, None
        while self.wakeup_timer:
            self.wakeup_timer.pop().cancel()

    def execute(self, command: commands.Command) -> None:
        """Execute a command of a layer. Raises TypeError for an unknown one."""
        if isinstance(command, commands.SendData):
            self.pending_writes.setdefault(command.connection, []).append(command.data)
            return
        if isinstance(command, commands.StartHook):
            self.start_hook(command)
            return
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
        """Open an upstream connection and handle it until it ends."""
        if command.connection.transport_protocol == "tcp":
            await open_tcp_connection(self, command)
        else:
            await super().open_connection(command)

    async def drain_writers(self) -> None:
        """Wait until nearly all is written. A connection that fails is still read to its end."""
        for transport in list(self.transports.values()):
            if transport.writer:
                with contextlib.suppress(OSError):
                    await transport.writer.drain()

    async def wakeup(self, request: commands.RequestWakeup) -> None:
        """Send the layers a wakeup event, after a delay or once a connection has written its buffer."""
        if isinstance(request, WakeWhenWritten):
            transport = self.transports.get(request.connection)
            if transport and transport.writer:
                with contextlib.suppress(OSError):
                    await transport.writer.drain()
        await super().wakeup(request)

    def begin_hook(self, hook: commands.StartHook) -> Awaitable[None] | None:
        """Run the handlers of a hook until one of them waits. Return what remains to be awaited, or None."""
        return self.handle_hook(hook)

    def run_hook(self, hook: commands.StartHook) -> bool:
        """Run a hook. Returns whether it has completed; otherwise the layers are notified when it has."""
        # A context of its own: what an addon sets in it, such as the call that log lines belong to, ends with the hook.
        context = contextvars.copy_context()
        waiting = context.run(self.begin_hook, hook)
        if waiting is None:
            return True
        loop = asyncio.get_running_loop()
        task = asyncio.Task(self.wait_for_hook(waiting), loop=loop, context=context, eager_start=True)
        if not task.done():
            self.running_hooks.add(task)
            task.add_done_callback(lambda ended: self.complete_hook(hook, ended))
            return False
        return self.is_completed(hook, task)

    def start_hook(self, hook: commands.StartHook) -> None:
        """Run a hook. The layers are notified at once unless an addon waits for something."""
        if self.run_hook(hook):
            self.end_hook(hook)

    async def wait_for_hook(self, waiting: Awaitable[None]) -> None:
        """Wait for the handlers of a hook. The client connection does not time out in this time."""
        with self.timeout_watchdog.disarm():
            await waiting

    def complete_hook(self, hook: commands.StartHook, task: asyncio.Task[None]) -> None:
        """End a hook whose handlers had to wait."""
        self.running_hooks.discard(task)
        if self.is_completed(hook, task):
            self.end_hook(hook)

    def is_completed(self, hook: commands.StartHook, task: asyncio.Task[None]) -> bool:
        """Return whether the task of a hook was not cancelled. Log its failure."""
        if task.cancelled():
            return False
        if error := task.exception():
            self.log(f"hook {hook.name} failed: {safe_traceback(error)}", logging.ERROR)
        return True

    def end_hook(self, hook: commands.StartHook) -> None:
        """Notify the layers that a hook has ended, and release them if the client has disconnected."""
        if hook.blocking:
            self.dispatch(events.HookCompleted(hook))
        if self.client_disconnected and not (self.running_hooks or self.is_dispatching or self.is_released):
            self.release()


async def do_nothing() -> None:
    """Replace the callback of a timer that has ended."""


def unwritten_bytes(client: Client, connection: Connection) -> int:
    """Return how many bytes wait to be written to an upstream connection of this client."""
    handler = connection_handlers.get(client.id)
    transport = handler.transports.get(connection) if handler else None
    writer = transport.writer if transport else None
    return writer.transport.get_write_buffer_size() if writer else 0  # type: ignore[union-attr]  # TCP's


def is_next_layer_completed(event: events.Event) -> bool:
    """Return whether an addon has just chosen a layer."""
    return isinstance(event, events.HookCompleted) and isinstance(event.command, NextLayerHook)


def skip_outer_layers(inner: layer.Layer) -> None:
    """Hand later events of the layer's connection to it directly, without the layers outside of it."""
    if handler := connection_handlers.get(inner.context.client.id):
        handler.tunnel_layer = inner
