"""One client connection: makes our streams, keeps time, caps unfinished request heads."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.http import (
    GetHttpConnectionCompleted,
    Http1Server,
    Http2Client,
    HttpLayer,
    HttpStream,
    ResponseHeaders,
)

from wirekey.wire.body_stream import RoomAgain
from wirekey.wire.dialling import UpstreamConnection
from wirekey.wire.framing import CappedHttp1Server
from wirekey.wire.holding import SecuredClient, secured_server
from wirekey.wire.link import links
from wirekey.wire.stream import Tick, WireStream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mitmproxy.connection import Connection
    from mitmproxy.proxy.layer import CommandGenerator, Layer
    from mitmproxy.proxy.layers.http import GetHttpConnection, RegisterHttpConnection

    from wirekey.wire.body_stream import BodyStream
    from wirekey.wire.house import House
    from wirekey.wire.lending import Lending


class WireLayer(HttpLayer):
    """Made from a stock HttpLayer by `adopt`, before it has seen its first event."""

    house: House
    ticking: commands.RequestWakeup | None
    dialled_at: dict[Connection, float]
    sending: set[BodyStream]
    """Those that have more of their request to send."""

    @classmethod
    def adopt(cls, layer: HttpLayer, house: House) -> None:
        layer.__class__ = cls
        assert isinstance(layer, WireLayer)
        layer.house = house
        layer.ticking = None
        layer.dialled_at = {}
        layer.sending = set()

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, events.Wakeup) and event.command is self.ticking:
            self.ticking = None
            yield from self.on_tick()
            return
        for command in super()._handle_event(event):
            # mitmproxy's lines about a connection quote what came over it: heads, tokens, answers.
            if not isinstance(command, commands.Log):
                yield command
        if isinstance(event, events.Start):
            client = self.connections[self.context.client]
            if type(client) is Http1Server:
                client.__class__ = CappedHttp1Server
                assert isinstance(client, CappedHttp1Server)
                client.head_bytes = self.house.limits.header_bytes
                client.state = client.read_headers
        elif self.ticking is None and self.unfinished_head():
            yield from self.keep_ticking()
        if self.sending and isinstance(event, events.DataReceived):
            for stream in self.unpaused(self.sending):
                yield from self.event_to_child(stream, RoomAgain(stream.stream_id))

    def unfinished_head(self) -> CappedHttp1Server | None:
        client = self.connections.get(self.context.client)
        return client if isinstance(client, CappedHttp1Server) and client.head_since else None

    def on_tick(self) -> CommandGenerator[None]:
        now = time.monotonic()
        limits = self.house.limits
        for connection in list(self.waiting_for_establishment):
            waiting = [one for one in self.waiting_for_establishment[connection] if isinstance(one, UpstreamConnection)]
            limit = max((command.limit for command in waiting), default=limits.connect)
            if now - self.dialled_at.get(connection, now) > limit:
                self.dialled_at.pop(connection)
                for command in waiting:
                    command.timed_out = True
                yield commands.CloseConnection(connection)
        for stream in self.unpaused(self.streams_on_the_wire()):
            yield from self.event_to_child(stream, Tick(stream.stream_id))
        client = self.unfinished_head()
        if client and now - client.head_since > limits.head:
            reason = f"request head not complete within {limits.head:g} s"
            yield from client.give_up(408, reason)
        if self.waiting_for_establishment or self.streams_on_the_wire() or self.unfinished_head():
            yield from self.keep_ticking()

    def event_to_child(self, child: Layer | HttpStream, event: events.Event) -> CommandGenerator[None]:
        if type(event) is ResponseHeaders and child is self.connections.get(self.context.client):
            stream = self.streams.get(event.stream_id)
            if stream:
                head = self.house.answer_head(stream.flow, event.response)
                event = ResponseHeaders(event.stream_id, head, event.end_stream)
        return super().event_to_child(child, event)

    def streams_on_the_wire(self) -> list[WireStream]:
        return [
            stream
            for stream in self.streams.values()
            if isinstance(stream, WireStream) and stream.sent_at and stream.child_layer is None
        ]

    def unpaused[Stream: HttpStream](self, streams: Iterable[Stream]) -> list[Stream]:
        """Give those of the streams that do not wait for a hook or a connection: they would only queue an event."""
        return [stream for stream in streams if stream._paused is None]  # noqa: SLF001

    def holds_back(self, stream: BodyStream) -> bool:
        """Tell whether an HTTP/2 provider's window is shut to this stream, so that mitmproxy keeps what it is given."""
        connection = self.connections.get(stream.context.server)
        client = connection.context.layers[-1] if connection else None
        if not isinstance(client, Http2Client):
            return False
        theirs = client.our_stream_id.get(stream.stream_id)
        return theirs is not None and bool(client.h2_conn.stream_buffers.get(theirs))

    def keep_ticking(self) -> CommandGenerator[None]:
        if self.ticking is None:
            self.ticking = commands.RequestWakeup(self.house.limits.tick)
            # The wake-up comes back to this layer, not to a child of it.
            yield self.ticking

    def make_stream(self, stream_id: int) -> CommandGenerator[None]:
        stream: HttpStream = WireStream(self.context.fork(), stream_id, self.house)
        self.streams[stream_id] = stream
        yield from self.event_to_child(stream, events.Start())

    def get_connection(self, event: GetHttpConnection, *, reuse: bool = True) -> CommandGenerator[None]:
        before = set(self.waiting_for_establishment)
        yield from self.keep_ticking()
        lending = self.house.lending
        if lending is not None and isinstance(event, UpstreamConnection) and self.can_be_lent(event):
            yield from self.get_secured(event, lending)
        else:
            yield from super().get_connection(event, reuse=reuse)
        for connection in self.waiting_for_establishment.keys() - before:
            self.dialled_at[connection] = time.monotonic()

    def can_be_lent(self, command: UpstreamConnection) -> bool:
        """Tell whether it is TLS for one request at a time: a client that speaks HTTP/2 may get HTTP/2 upstream."""
        is_direct = not command.via and command.transport_protocol == "tcp"
        return command.tls and is_direct and self.context.client.alpn != b"h2"

    def get_secured(self, command: UpstreamConnection, lending: Lending) -> CommandGenerator[None]:
        for connection in () if command.fresh else self.connections:
            if not command.connection_spec_matches(connection):
                continue
            if connection in self.waiting_for_establishment:
                self.waiting_for_establishment[connection].append(command)
                return
            link = links.get(connection)
            if connection.connected and (link is None or link.is_silent):
                stream = self.command_sources.pop(command)
                yield from self.event_to_child(stream, GetHttpConnectionCompleted(command, (connection, None)))
                return
        context = self.context.fork()
        context.server = secured_server(command.address)
        client = SecuredClient(context, lending, fresh=command.fresh)
        self.connections[context.server] = client
        self.waiting_for_establishment[context.server].append(command)
        yield from self.event_to_child(client, events.Start())

    def register_connection(self, command: RegisterHttpConnection) -> CommandGenerator[None]:
        self.dialled_at.pop(command.connection, None)
        yield from super().register_connection(command)
