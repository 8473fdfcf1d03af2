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

from mitmproxy.proxy import commands, events, layer, mode_servers
from mitmproxy.proxy.layer import NextLayerHook
from mitmproxy.proxy.server import ConnectionIO
from mitmproxy.utils import asyncio_utils

from wirekey.failure import described
from wirekey.wire.holding import OpenSecured, hold

if TYPE_CHECKING:
    from mitmproxy.connection import Connection

UPSTREAM_CONNECTIONS_PER_ADDRESS = 1000
"""Of one client connection. The stock bound of 5 makes the sixth HTTP/2 stream to an HTTP/1.1 upstream wait."""

JOINED = 64 * 1024
"""Bytes up to which what is sent together is copied together, for one call of the system."""

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
        handlers[self.client.id] = self

    async def server_event(self, event: events.Event) -> None:
        self.take(event)

    def take(self, event: events.Event) -> None:
        """Hand an event to the layers and do what they command; never from within itself, but one after another."""
        self.waiting.append(event)
        if self.is_handling:
            return
        self.is_handling = True
        self.timeout_watchdog.register_activity()
        try:
            while self.waiting:
                following = self.waiting.popleft()
                for command in self.layer.handle_event(following):
                    self.execute(command)
                if self.inside_tunnel and is_layer_choice(following):
                    self.enter_tunnel()
        except Exception as error:
            # Without its message, which may quote what came over the connection.
            self.log(f"a layer failed; the connection is closed: {described(error)}", logging.ERROR)
            self.waiting.clear()
            self.flush()
            if self.client in self.transports:
                self.close_connection(self.client)
        finally:
            if self.outgoing:
                self.flush()
            self.is_handling = False

    def flush(self) -> None:
        outgoing, self.outgoing = self.outgoing, {}
        for connection, pieces in outgoing.items():
            transport = self.transports.get(connection)
            if transport and transport.writer and not transport.writer.is_closing():
                if len(pieces) > 1 and sum(map(len, pieces)) <= JOINED:
                    pieces = [b"".join(pieces)]  # noqa: PLW2901  # asyncio's own writelines forgets to hold back
                for piece in pieces:
                    transport.writer.write(piece)

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
        if isinstance(command, OpenSecured):
            transport = self.transports[command.connection] = ConnectionIO()
            transport.handler = asyncio_utils.create_task(
                hold(self, command, transport), name="server connection", keep_ref=False, client=self.client.peername
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
            self.log(f"hook {hook.name} failed: {described(error)}", logging.ERROR)
        if hook.blocking:
            self.take(events.HookCompleted(hook))


def is_layer_choice(event: events.Event) -> bool:
    return isinstance(event, events.HookCompleted) and isinstance(event.command, NextLayerHook)


def go_inside(chosen: layer.Layer) -> None:
    """Let the events of this layer's connection come to it without passing the layers outside."""
    if handler := handlers.get(chosen.context.client.id):
        handler.inside_tunnel = chosen
