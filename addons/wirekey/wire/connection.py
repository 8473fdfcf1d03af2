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
from wirekey.wire.opening import open_stream
from wirekey.wire.pooled_tls import OpenPooledConnection, run_pooled_connection
from wirekey.wire.releasing import release

if TYPE_CHECKING:
    from mitmproxy.connection import Client, Connection

    from wirekey.wire.layer import WireLayer

UPSTREAM_CONNECTIONS_PER_ADDRESS = 1000
"""Of one client connection. The stock bound of 5 makes the sixth HTTP/2 stream to an HTTP/1.1 upstream wait."""

JOINED = 64 * 1024
"""Bytes up to which what is sent together is copied together, for one call of the system."""

LONG_AGO = 1e-9
"""A moment of the monotonic clock."""
READ_BYTES = 64 * 1024 - 1

logger = logging.getLogger(__name__)
handlers: WeakValueDictionary[str, WireConnectionHandler] = WeakValueDictionary()
"""By the id of the client connection."""


class RoomToSend(commands.RequestWakeup):
    """Wake the layer when the connection has sent nearly all that it was given, or is gone."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(0)
        self.connection = connection


class WireConnectionHandler(mode_servers.ProxyConnectionHandler):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.max_conns = collections.defaultdict(lambda: asyncio.Semaphore(UPSTREAM_CONNECTIONS_PER_ADDRESS))
        self.waiting: collections.deque[events.Event] = collections.deque()
        self.is_handling = False
        self.outgoing: dict[Connection, list[bytes]] = {}
        """What the layers send while they handle one event: it goes out at once, head and body in one write."""
        self.hooks: set[asyncio.Task[None]] = set()
        self.inside_tunnel: layer.Layer | None = None
        self.http: WireLayer | None = None
        """The innermost HTTP layer."""
        self.waiting_for_room: set[asyncio.Future[None]] = set()
        """Those that read from a provider what the client has no room for."""
        self.has_ended = False
        """Whether the client's connection has ended. Its hooks may still be under way."""
        self.is_released = False
        handlers[self.client.id] = self

    async def handle_client(self) -> None:
        try:
            await super().handle_client()
        finally:
            self.has_ended = True
            if not self.hooks:
                self.release()

    def release(self) -> None:
        """Free what the layers hold. What still comes to them reaches nobody."""
        self.is_released = True
        outer, inner = self.layer, self.http
        self.http = None
        self.outgoing.clear()
        release((outer, inner, self.inside_tunnel))

    def close_client(self) -> None:
        if self.client in self.transports:
            self.close_connection(self.client)

    def time_out(self) -> None:
        """End a connection whose client took too long; it is told why if a part of a request head is there."""
        unfinished = self.http.unfinished_head() if self.http else None
        if unfinished:
            unfinished.head_since = LONG_AGO  # the layer's next tick answers
        else:
            self.close_client()

    async def server_event(self, event: events.Event) -> None:
        self.take(event)

    def take(self, event: events.Event) -> None:
        """Hand an event to the layers and do what they command; never from within itself, but one after another."""
        if self.is_released:
            return
        self.waiting.append(event)
        if self.is_handling:
            return
        self.is_handling = True
        self.timeout_watchdog.register_activity()
        try:
            while self.waiting:
                reloader = self.waiting.popleft()
                for command in self.layer.handle_event(reloader):
                    self.execute(command)
                if self.inside_tunnel and is_layer_choice(reloader):
                    self.enter_tunnel()
        except Exception as error:
            # Without its message, which may quote what came over the connection.
            self.log(f"a layer failed; the connection is closed: {safe_traceback(error)}", logging.ERROR)
            self.waiting.clear()
            self.flush()
            if self.client in self.transports:
                self.close_connection(self.client)
        finally:
            if self.outgoing:
                self.flush()
            self.is_handling = False
        if self.waiting_for_room:
            for waiting in self.waiting_for_room:
                if not waiting.done():
                    waiting.set_result(None)
            self.waiting_for_room.clear()

    def flush(self) -> None:
        outgoing, self.outgoing = self.outgoing, {}
        for connection, pieces in outgoing.items():
            transport = self.transports.get(connection)
            if transport and transport.writer and not transport.writer.is_closing():
                if len(pieces) > 1 and sum(map(len, pieces)) <= JOINED:
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
                self.take(events.DataReceived(connection, data))
                data = b""  # it would be kept while there is no room
                if connection is self.client:
                    await self.drain_writers()
                else:
                    await self.room_for_client(connection)
        except OSError:
            pass  # reset by the other side
        except asyncio.CancelledError:
            is_cancelled = True
        if is_cancelled or connection.transport_protocol != "tcp":
            connection.state = ConnectionState.CLOSED
        else:
            connection.state &= ~ConnectionState.CAN_READ
        self.take(events.ConnectionClosed(connection))
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

    async def room_for_client(self, connection: Connection) -> None:
        """Return when the client takes more of what comes from this upstream connection."""
        client = self.transports.get(self.client)
        if client and client.writer:
            try:
                await client.writer.drain()
            except OSError as error:
                if client.handler:
                    client.handler.cancel(f"Error sending data: {error}")
        while self.must_wait(connection):
            room = asyncio.get_running_loop().create_future()
            self.waiting_for_room.add(room)
            await room

    def must_wait(self, connection: Connection) -> bool:
        return self.http is not None and not self.is_released and self.http.must_wait(connection)

    def enter_tunnel(self) -> None:
        """Leave out the layers outside the tunnel; timers that they set have nothing left to watch."""
        assert self.inside_tunnel
        self.layer, self.inside_tunnel = self.inside_tunnel, None
        while self.wakeup_timer:
            self.wakeup_timer.pop().cancel()

    def execute(self, command: commands.Command) -> None:
        if isinstance(command, commands.SendData):
            self.outgoing.setdefault(command.connection, []).append(command.data)
            return
        if isinstance(command, commands.StartHook):
            self.start_hook(command)
            return
        if self.outgoing:
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
            await open_stream(self, command)
        else:
            await super().open_connection(command)

    async def drain_writers(self) -> None:
        """Wait until what was written has nearly left. A connection that failed meanwhile is still read to its end."""
        for transport in list(self.transports.values()):
            if transport.writer:
                with contextlib.suppress(OSError):
                    await transport.writer.drain()

    async def wakeup(self, request: commands.RequestWakeup) -> None:
        if isinstance(request, RoomToSend):
            transport = self.transports.get(request.connection)
            if transport and transport.writer:
                with contextlib.suppress(OSError):
                    await transport.writer.drain()
        await super().wakeup(request)

    def start_hook(self, hook: commands.StartHook) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.Task(self.handle_hook(hook), loop=loop, eager_start=True)
        if task.done():
            self.end_hook(hook, task)
        else:
            self.hooks.add(task)
            task.add_done_callback(lambda ended: self.end_hook(hook, ended))

    def end_hook(self, hook: commands.StartHook, task: asyncio.Task[None]) -> None:
        self.hooks.discard(task)
        if task.cancelled():
            return
        if error := task.exception():
            self.log(f"hook {hook.name} failed: {safe_traceback(error)}", logging.ERROR)
        if hook.blocking:
            self.take(events.HookCompleted(hook))
        if self.has_ended and not (self.hooks or self.is_handling or self.is_released):
            self.release()


def unwritten(client: Client, connection: Connection) -> int:
    """Count the bytes that were given to an upstream connection of this client and wait to be sent."""
    handler = handlers.get(client.id)
    transport = handler.transports.get(connection) if handler else None
    writer = transport.writer if transport else None
    return writer.transport.get_write_buffer_size() if writer else 0  # type: ignore[union-attr]  # TCP's


def is_layer_choice(event: events.Event) -> bool:
    return isinstance(event, events.HookCompleted) and isinstance(event.command, NextLayerHook)


def go_inside(chosen: layer.Layer) -> None:
    """Let the events of this layer's connection come to it without passing the layers outside."""
    if handler := handlers.get(chosen.context.client.id):
        handler.inside_tunnel = chosen
