"""The wire layer's HTTP layer with commands that are executed at once, instead of passing through generators.

A command of a stream, such as "send this to the provider", is an event for another child of the layer. mitmproxy hands
it there through a generator for each child. Here a plain method does so. A hook whose addons do not wait completes
within the stream's own generator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layer import Paused
from mitmproxy.proxy.layers.http import (
    DropStream,
    GetHttpConnection,
    HttpStream,
    ReceiveHttp,
    RegisterHttpConnection,
    RequestHeaders,
    ResponseHeaders,
    SendHttp,
)

from wirekey.core.wire.layer import WireLayer
from wirekey.core.wire.speed.cleanup import clear_layer
from wirekey.core.wire.speed.headers import with_quick_headers
from wirekey.core.wire.speed.http1 import FastHttp1Server

if TYPE_CHECKING:
    from mitmproxy.connection import Connection
    from mitmproxy.proxy.layer import CommandGenerator, Layer
    from mitmproxy.proxy.layers.http import HttpEvent


class CommandPath(Protocol):
    """The way of the commands out of a layer."""

    resumes_at_once: bool
    """Whether a stream continues as soon as a hook has completed."""

    def execute(self, command: commands.Command) -> None:
        """Execute a command of the HTTP layer."""

    def run_hook(self, hook: commands.StartHook) -> bool:
        """Run a hook. Returns whether it has completed."""


class DirectHttpLayer(WireLayer):
    """An HTTP layer that executes the commands of its children itself, as soon as its connection has a direct path."""

    http1_server = FastHttp1Server
    path: CommandPath | None = None
    """None while a layer outside of this one may decide something. Commands then pass through these layers."""

    def handle_directly(self, event: events.Event) -> None:
        """Handle an event, and execute all commands that follow, by the direct path."""
        if type(event) is events.DataReceived and (child := self.connections.get(event.connection)) is not None:
            self.run(child, event)
            self.execute_own(self.follow_up(event))
        else:
            self.execute_own(self._handle_event(event))

    def event_to_child(self, child: Layer | HttpStream, event: events.Event) -> CommandGenerator[None]:
        """Hand an event to a child layer."""
        if self.path is None:
            return super().event_to_child(child, event)
        self.run(child, event)
        return ()  # type: ignore[return-value]  # nothing is left to be executed

    def run(self, child: Layer | HttpStream, event: events.Event) -> None:
        """Hand an event to a child layer, and execute its commands.

        Does what mitmproxy's `Layer.handle_event` does, except that a hook of a stream may complete at once.
        """
        if child._paused is None:  # noqa: SLF001  # as mitmproxy's Layer does
            self.run_generator(child, child._handle_event(event))  # noqa: SLF001
            return
        for command in child.handle_event(event):
            self.execute(child, command)

    def run_generator(self, child: Layer | HttpStream, generator: CommandGenerator[None]) -> None:
        """Execute what a child layer does, until it has to wait."""
        assert self.path
        for command in generator:
            if command.blocking is not True:
                self.execute(child, command)
                continue
            is_direct = self.path.resumes_at_once and isinstance(child, HttpStream)
            hook = command if is_direct and isinstance(command, commands.StartHook) else None
            if hook and self.path.run_hook(hook):
                continue
            command.blocking = child
            child._paused = Paused(command, generator)  # noqa: SLF001
            if hook:
                self.command_sources[hook] = child
            else:
                self.execute(child, command)
            return

    def execute(self, child: Layer | HttpStream, command: commands.Command) -> None:
        """Execute a command of a child layer."""
        assert self.path
        kind = type(command)
        if kind is SendHttp:
            self.send_http(command.connection, command.event)  # type: ignore[attr-defined]
        elif kind is commands.SendData:
            self.path.execute(command)
        elif kind is ReceiveHttp:
            self.receive(command.event)  # type: ignore[attr-defined]
        elif kind is DropStream:
            self.streams.pop(command.stream_id, None)  # type: ignore[attr-defined]
        elif kind is not commands.Log:  # mitmproxy's log lines about a connection quote what was received
            self.execute_rare(child, command)

    def send_http(self, connection: Connection, event: HttpEvent) -> None:
        """Hand an event of a stream to a connection. The client gets the whole head of a response, unlike the flow."""
        if type(event) is ResponseHeaders:
            event = self.whole_head(event)
        self.run(self.connections[connection], event)

    def execute_rare(self, child: Layer | HttpStream, command: commands.Command) -> None:
        """Execute a command that does not occur for each part of a message."""
        assert self.path
        if command.blocking or isinstance(command, commands.RequestWakeup):
            self.command_sources[command] = child
        if isinstance(command, GetHttpConnection):
            self.execute_own(self.get_connection(command))
        elif isinstance(command, RegisterHttpConnection):
            self.execute_own(self.register_connection(command))
        else:
            if isinstance(command, commands.OpenConnection):
                self.connections[command.connection] = child
            self.path.execute(command)

    def receive(self, event: events.Event) -> None:
        """Hand an event of a connection to its stream, unless the stream has ended."""
        kind = type(event)
        if kind is RequestHeaders:
            with_quick_headers(event.request)  # type: ignore[attr-defined]
            self.execute_own(self.make_stream(event.stream_id))  # type: ignore[attr-defined]
        elif kind is ResponseHeaders:
            with_quick_headers(event.response)  # type: ignore[attr-defined]
        stream = self.streams.get(event.stream_id)  # type: ignore[attr-defined]
        if stream is not None:
            self.run(stream, event)

    def release_stream(self, stream: HttpStream) -> None:
        """Release a stream that has ended, and take it apart."""
        super().release_stream(stream)
        clear_layer(stream)

    def execute_own(self, own: CommandGenerator[None]) -> None:
        """Execute the commands of the layer itself."""
        assert self.path
        for command in own:
            if not isinstance(command, commands.Log):
                self.path.execute(command)
