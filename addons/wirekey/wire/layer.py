"""One client connection: makes our streams, keeps time, caps unfinished request heads."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.http import (
    GetHttpConnectionCompleted,
    Http1Client,
    Http1Server,
    Http2Client,
    Http2Server,
    HttpLayer,
    HttpStream,
    ResponseHeaders,
)

from wirekey.wire.connection import handlers, unwritten
from wirekey.wire.dialling import UpstreamConnection
from wirekey.wire.framing import CappedHttp1Client, CappedHttp1Server
from wirekey.wire.going_away import WireHttp2Client
from wirekey.wire.http2 import BoundedHttp2Client, BoundedHttp2Server, ClientHasRoom
from wirekey.wire.pooled_connection import pooled_connections
from wirekey.wire.pooled_tls import PooledTlsClient, pooled_tls_server
from wirekey.wire.releasing import Streams
from wirekey.wire.stream import RoomAgain, Tick, WireStream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mitmproxy.connection import Connection
    from mitmproxy.proxy.layer import CommandGenerator, Layer
    from mitmproxy.proxy.layers.http import GetHttpConnection, RegisterHttpConnection

    from wirekey.wire.connection_pool import ConnectionPool
    from wirekey.wire.delegate import WireDelegate


class WireLayer(HttpLayer):
    """Made from a stock HttpLayer by `adopt`, before it has seen its first event."""

    delegate: WireDelegate
    ticking: commands.RequestWakeup | None
    streams: Streams
    dialled_at: dict[Connection, float]
    sending: set[WireStream]
    """Those that have more of their request to send."""

    @classmethod
    def adopt(cls, layer: HttpLayer, delegate: WireDelegate) -> None:
        layer.__class__ = cls
        assert isinstance(layer, WireLayer)
        layer.delegate = delegate
        layer.ticking = None
        layer.dialled_at = {}
        layer.sending = set()
        layer.streams = Streams()
        if handler := handlers.get(layer.context.client.id):
            handler.http = layer

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
            self.bound(self.connections[self.context.client])
        elif self.ticking is None and (self.unfinished_head() or self.streams_to_watch()):
            yield from self.keep_ticking()
        if isinstance(event, events.DataReceived):
            for stream in self.unpaused(self.sending) if self.sending else ():
                yield from self.event_to_child(stream, RoomAgain(stream.stream_id))
            if event.connection is self.context.client and self.client_http2:
                yield from self.read_on()
        if self.streams.dropped:
            self.streams.release_dropped(self.command_sources.values())

    def bound(self, client: Layer) -> None:
        """Bound what mitmproxy's side of the client connection holds."""
        limits = self.delegate.limits
        if type(client) is Http1Server:
            client.__class__ = CappedHttp1Server
            assert isinstance(client, CappedHttp1Server)
            client.head_bytes = limits.header_bytes
            client.state = client.read_headers
        elif type(client) is Http2Server:
            BoundedHttp2Server.adopt(client, limits.stream_resets, limits.client_buffer)

    def unfinished_head(self) -> CappedHttp1Server | None:
        client = self.connections.get(self.context.client)
        return client if isinstance(client, CappedHttp1Server) and client.head_since else None

    def on_tick(self) -> CommandGenerator[None]:
        now = time.monotonic()
        limits = self.delegate.limits
        for connection in list(self.waiting_for_establishment):
            waiting = [one for one in self.waiting_for_establishment[connection] if isinstance(one, UpstreamConnection)]
            limit = max((command.limit for command in waiting), default=limits.connect)
            if now - self.dialled_at.get(connection, now) > limit:
                self.dialled_at.pop(connection)
                for command in waiting:
                    command.timed_out = True
                yield commands.CloseConnection(connection)
        for stream in self.unpaused(self.streams_to_watch()):
            yield from self.event_to_child(stream, Tick(stream.stream_id))
        client = self.unfinished_head()
        if client and now - client.head_since > limits.head:
            reason = f"request head not complete within {limits.head:g} s"
            yield from client.give_up(408, reason)
        if self.waiting_for_establishment or self.streams_to_watch() or self.unfinished_head():
            yield from self.keep_ticking()

    def event_to_child(self, child: Layer | HttpStream, event: events.Event) -> CommandGenerator[None]:
        if type(event) is ResponseHeaders and child is self.connections.get(self.context.client):
            stream = self.streams.get(event.stream_id)
            if stream:
                head = self.delegate.response_head(stream.flow, event.response)
                event = ResponseHeaders(event.stream_id, head, event.end_stream)
        return super().event_to_child(child, event)

    def streams_to_watch(self) -> list[WireStream]:
        """Return the streams whose request is on the wire, or whose body is still to come."""
        return [
            stream
            for stream in self.streams.values()
            if isinstance(stream, WireStream)
            and stream.child_layer is None
            and (stream.sent_at or stream.is_receiving_body)
        ]

    def unpaused[Stream: HttpStream](self, streams: Iterable[Stream]) -> list[Stream]:
        """Give those of the streams that do not wait for a hook or a connection: they would only queue an event."""
        return [stream for stream in streams if stream._paused is None]  # noqa: SLF001

    def holds_back(self, stream: WireStream) -> bool:
        """Tell whether an HTTP/2 provider's window is shut to this stream, so that mitmproxy keeps what it is given."""
        client = self.innermost(stream.context.server)
        if not isinstance(client, Http2Client):
            return False
        theirs = client.our_stream_id.get(stream.stream_id)
        return theirs is not None and bool(client.h2_conn.stream_buffers.get(theirs))

    # Room for answers.

    @property
    def client_http2(self) -> BoundedHttp2Server | None:
        """The client's side where it speaks HTTP/2. A client of HTTP/1.1 has no room when its socket has none."""
        client = self.connections.get(self.context.client)
        return client if isinstance(client, BoundedHttp2Server) else None

    def has_no_room(self, stream_id: int) -> bool:
        """Return whether the client has too much of this stream to read already."""
        client = self.client_http2
        return client is not None and client.has_no_room(stream_id)

    def must_wait(self, connection: Connection) -> bool:
        """Return whether nothing may be read from this upstream connection of one request for now."""
        if not self.client_http2 or (found := self.connections.get(connection)) is None:
            return False
        http = found.http if isinstance(found, PooledTlsClient) else found.context.layers[-1]
        return isinstance(http, Http1Client) and http.stream_id is not None and self.has_no_room(http.stream_id)

    def read_on(self) -> CommandGenerator[None]:
        """Have HTTP/2 providers send on what the client has room for again."""
        for connection, layer in list(self.connections.items()):
            if connection.alpn == b"h2" and connection is not self.context.client:
                http = layer.context.layers[-1]
                if isinstance(http, BoundedHttp2Client) and http.h2_conn.unacknowledged:
                    yield from self.event_to_child(layer, ClientHasRoom(0))

    def keep_ticking(self) -> CommandGenerator[None]:
        if self.ticking is None:
            self.ticking = commands.RequestWakeup(self.delegate.limits.tick)
            # The wake-up comes back to this layer, not to a child of it.
            yield self.ticking

    def make_stream(self, stream_id: int) -> CommandGenerator[None]:
        stream: HttpStream = WireStream(self.context.fork(), stream_id, self.delegate)
        self.streams[stream_id] = stream
        yield from self.event_to_child(stream, events.Start())

    def get_connection(self, event: GetHttpConnection, *, reuse: bool = True) -> CommandGenerator[None]:
        before = set(self.waiting_for_establishment)
        yield from self.keep_ticking()
        if isinstance(event, UpstreamConnection):
            event.may_send = self.may_send
        connection_pool = self.delegate.connection_pool
        if connection_pool is not None and isinstance(event, UpstreamConnection) and self.can_use_pool(event):
            yield from self.get_pooled_connection(event, connection_pool)
        else:
            yield from super().get_connection(event, reuse=reuse)
        for connection in self.waiting_for_establishment.keys() - before:
            self.dialled_at[connection] = time.monotonic()

    def may_send(self, connection: Connection) -> bool:
        """Tell whether a request can go out on a connection: over HTTP/1.1 when the last one is over."""
        inner = self.innermost(connection)
        if isinstance(inner, CappedHttp1Client):
            return inner.is_free and not unwritten(self.context.client, connection)
        return not (isinstance(inner, WireHttp2Client) and inner.is_going_away)

    def innermost(self, connection: Connection) -> Layer | None:
        """Give what speaks HTTP on an upstream connection; None where it is not there yet."""
        layer = self.connections.get(connection)
        return layer.context.layers[-1] if layer else None

    def is_sent(self, stream: WireStream) -> bool:
        """Tell whether nothing of a stream's request waits here to be sent."""
        if stream.buffer.is_sending or self.holds_back(stream):
            return False
        over_http1 = isinstance(self.innermost(stream.context.server), Http1Client)
        return not (over_http1 and unwritten(self.context.client, stream.context.server))

    def can_use_pool(self, command: UpstreamConnection) -> bool:
        """Tell whether it is TLS for one request at a time: a client that speaks HTTP/2 may get HTTP/2 upstream."""
        is_direct = not command.via and command.transport_protocol == "tcp"
        return command.tls and is_direct and self.context.client.alpn != b"h2"

    def get_pooled_connection(
        self, command: UpstreamConnection, connection_pool: ConnectionPool
    ) -> CommandGenerator[None]:
        for connection in () if command.force_new else self.connections:
            if not command.connection_spec_matches(connection):
                continue
            if connection in self.waiting_for_establishment:
                self.waiting_for_establishment[connection].append(command)
                return
            pooled = pooled_connections.get(connection)
            if connection.connected and (pooled is None or pooled.is_reusable):
                stream = self.command_sources.pop(command)
                yield from self.event_to_child(stream, GetHttpConnectionCompleted(command, (connection, None)))
                return
        context = self.context.fork()
        context.server = pooled_tls_server(command.address)
        client = PooledTlsClient(context, connection_pool, force_new=command.force_new)
        self.connections[context.server] = client
        self.waiting_for_establishment[context.server].append(command)
        yield from self.event_to_child(client, events.Start())

    def register_connection(self, command: RegisterHttpConnection) -> CommandGenerator[None]:
        self.dialled_at.pop(command.connection, None)
        found = self.connections.get(command.connection)
        if found and isinstance(http := found.context.layers[-1], BoundedHttp2Client):
            http.has_no_room = self.has_no_room
        yield from super().register_connection(command)
