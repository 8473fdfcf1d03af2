"""The HTTP layer of one client connection: its streams, its upstream connections, and its timer.

It subclasses mitmproxy's HttpLayer. Each request becomes a `WireStream`. One timer per client connection checks the
time limits of all its streams and connections. Upstream connections come from the pool where possible.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
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

from wirekey.core.wire.connection_handler import connection_handlers, unwritten_bytes
from wirekey.core.wire.http1 import BoundedHttp1Client, BoundedHttp1Server
from wirekey.core.wire.http2 import (
    BoundedHttp2Client,
    BoundedHttp2Server,
    ClientWindowChanged,
    FramesWaiting,
    RequestsRead,
)
from wirekey.core.wire.http2_goaway import WireHttp2Client
from wirekey.core.wire.pooled_connection import pooled_connections
from wirekey.core.wire.pooled_tls import PooledTlsClient, pooled_tls_server
from wirekey.core.wire.stream import Tick, UpstreamWindowChanged, WireStream
from wirekey.core.wire.upstream_connection import GetUpstreamConnection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mitmproxy.connection import Connection
    from mitmproxy.proxy.layer import CommandGenerator, Layer
    from mitmproxy.proxy.layers.http import GetHttpConnection, RegisterHttpConnection

    from wirekey.core.wire.connection_pool import ConnectionPool
    from wirekey.core.wire.delegate import WireDelegate


class StreamTable(dict[int, Any]):
    """The streams of a connection by id. A stream that is removed is kept in `dropped` until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.dropped: list[HttpStream] = []

    def pop(self, stream_id: int, *default: Any) -> Any:
        """Remove and return a stream."""
        found = super().pop(stream_id, *default)
        if found is not None:
            self.dropped.append(found)
        return found


class WireLayer(HttpLayer):
    """The HTTP layer of a client connection. `adopt` makes it from mitmproxy's HttpLayer before the first event."""

    http1_server = BoundedHttp1Server
    """The class of the protocol layer of a client with HTTP/1.1."""
    delegate: WireDelegate
    tick_command: commands.RequestWakeup | None
    streams: StreamTable
    connect_started_at: dict[Connection, float]
    """For the connections that are being opened, a time of the monotonic clock."""
    has_stopped_requests: bool
    """Whether a client's HTTP/2 stream may not send more of its request for now."""
    sending_streams: set[WireStream]
    """The streams that have more of a spooled body to send."""

    @classmethod
    def adopt(cls, layer: HttpLayer, delegate: WireDelegate) -> None:
        """Turn mitmproxy's HTTP layer into this class."""
        layer.__class__ = cls
        assert isinstance(layer, WireLayer)
        layer.delegate = delegate
        layer.tick_command = None
        layer.connect_started_at = {}
        layer.sending_streams = set()
        layer.has_stopped_requests = False
        layer.streams = StreamTable()
        if handler := connection_handlers.get(layer.context.client.id):
            handler.use_http_layer(layer)

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, events.Wakeup) and event.command is self.tick_command:
            self.tick_command = None
            yield from self.on_tick()
            return
        if isinstance(event, FramesWaiting):
            yield from self.event_to_child(self.connections[self.context.client], event)
            yield from self.follow_up(event)
            return
        for command in super()._handle_event(event):
            # mitmproxy's log lines about a connection quote what was received: heads, tokens, responses.
            if not isinstance(command, commands.Log):
                yield command
        if isinstance(event, events.Start):
            self.limit_client_connection(self.connections[self.context.client])
        yield from self.follow_up(event)

    def follow_up(self, event: events.Event) -> CommandGenerator[None]:
        """Do what is due after an event was handled: start the timer, send more, release what has ended."""
        if (
            self.tick_command is None
            and not isinstance(event, events.Start)
            and (self.is_client_timed or self.streams_with_time_limits())
        ):
            yield from self.schedule_tick()
        if isinstance(event, events.DataReceived):
            for stream in self.unpaused(self.sending_streams) if self.sending_streams else ():
                yield from self.event_to_child(stream, UpstreamWindowChanged(stream.stream_id))
            has_client_sent = event.connection is self.context.client
        else:
            has_client_sent = isinstance(event, FramesWaiting)
        if has_client_sent and self.http2_client_connection:
            yield from self.resume_http2_upstreams()
        if self.has_stopped_requests:
            self.has_stopped_requests = False  # it is set again if there is still no room
            yield from self.event_to_child(self.connections[self.context.client], RequestsRead(0))
        if self.streams.dropped:
            self.release_dropped_streams()
            if self.delegate.is_draining and (client := self.http2_client_connection):
                yield from client.end_if_unused()

    def release_dropped_streams(self) -> None:
        """Release the streams that were dropped, except those that wait for a command's completion."""
        dropped, self.streams.dropped = self.streams.dropped, []
        waiting = set(map(id, self.command_sources.values()))
        for stream in dropped:
            if stream._paused is None and id(stream) not in waiting:  # noqa: SLF001  # mitmproxy has no other way to ask
                self.release_stream(stream)

    def release_stream(self, stream: HttpStream) -> None:
        """Release a stream that has ended."""
        if isinstance(stream, WireStream):
            stream.discard_body()

    def discard_bodies(self) -> None:
        """Release the request bodies of all streams."""
        for stream in self.streams.values():
            if isinstance(stream, WireStream):
                stream.discard_body()

    def limit_client_connection(self, client: Layer) -> None:
        """Limit how much memory the client's protocol layer uses."""
        limits = self.delegate.limits
        if type(client) is Http1Server:
            client.__class__ = self.http1_server
            assert isinstance(client, BoundedHttp1Server)
            client.head_bytes = limits.header_bytes
            client.state = client.read_headers
        elif type(client) is Http2Server:
            BoundedHttp2Server.adopt(client, self.must_withhold_request)

    def unfinished_request_head(self) -> BoundedHttp1Server | None:
        """Return the client's protocol layer if it has received a part of a request head."""
        client = self.connections.get(self.context.client)
        return client if isinstance(client, BoundedHttp1Server) and client.head_since else None

    @property
    def is_client_timed(self) -> bool:
        """Return whether the client has a part of a request head to send, or a connection to close."""
        client = self.connections.get(self.context.client)
        return isinstance(client, BoundedHttp1Server) and bool(client.head_since or client.lingers_since)

    def on_tick(self) -> CommandGenerator[None]:
        """Check the time limits of connecting, of request heads and of all streams."""
        now = time.monotonic()
        limits = self.delegate.limits
        for connection in list(self.waiting_for_establishment):
            waiting = [
                one for one in self.waiting_for_establishment[connection] if isinstance(one, GetUpstreamConnection)
            ]
            limit = max((command.limit for command in waiting), default=limits.connect)
            if now - self.connect_started_at.get(connection, now) > limit:
                self.connect_started_at.pop(connection)
                for command in waiting:
                    command.timed_out = True
                yield commands.CloseConnection(connection)
        for stream in self.unpaused(self.streams_with_time_limits()):
            yield from self.event_to_child(stream, Tick(stream.stream_id))
        client = self.unfinished_request_head()
        if client and now - client.head_since > limits.head:
            yield from client.reject(408, f"The request head was not complete within {limits.head:g} s.")
        if isinstance(lingering := self.connections.get(self.context.client), BoundedHttp1Server):
            yield from lingering.check_linger(now)
        if self.waiting_for_establishment or self.streams_with_time_limits() or self.is_client_timed:
            yield from self.schedule_tick()

    def event_to_child(self, child: Layer | HttpStream, event: events.Event) -> CommandGenerator[None]:
        """Hand an event to a child layer. The client gets the whole head of a response, unlike the flow."""
        if type(event) is ResponseHeaders and child is self.connections.get(self.context.client):
            event = self.whole_head(event)
        return super().event_to_child(child, event)

    def whole_head(self, event: ResponseHeaders) -> ResponseHeaders:
        """Return the head of a response as the client gets it."""
        stream = self.streams.get(event.stream_id)
        if stream is None:
            return event
        head = self.delegate.response_head(stream.flow, event.response)
        return ResponseHeaders(event.stream_id, head, event.end_stream)

    def streams_with_time_limits(self) -> list[WireStream]:
        """Return the streams that wait for a provider or for the rest of a request."""
        return [
            stream
            for stream in self.streams.values()
            if isinstance(stream, WireStream)
            and (stream.child_layer is None or stream.takeover is not None)
            and (stream.sent_at or stream.is_receiving_body or stream.awaits_client)
        ]

    def unpaused[Stream: HttpStream](self, streams: Iterable[Stream]) -> list[Stream]:
        """Return the streams that do not wait for a hook or a connection. The others would only queue an event."""
        return [stream for stream in streams if stream._paused is None]  # noqa: SLF001

    def is_window_closed(self, stream: WireStream) -> bool:
        """Return whether an HTTP/2 provider's window is closed to a stream, so that more data would wait in memory."""
        client = self.http_layer_of(stream.context.server)
        if not isinstance(client, Http2Client):
            return False
        upstream_id = client.our_stream_id.get(stream.stream_id)
        return upstream_id is not None and bool(client.h2_conn.stream_buffers.get(upstream_id))

    # Flow control of responses.

    @property
    def http2_client_connection(self) -> BoundedHttp2Server | None:
        """Return the client's protocol layer if it is HTTP/2. An HTTP/1.1 client is limited by its socket's buffer."""
        client = self.connections.get(self.context.client)
        return client if isinstance(client, BoundedHttp2Server) else None

    def must_withhold_request(self, stream_id: int) -> bool:
        """Return whether an HTTP/2 client may not send more of a request, because the last part has not gone on."""
        stream = self.streams.get(stream_id)
        if not isinstance(stream, WireStream):
            return False
        if stream._paused is None:  # noqa: SLF001  # mitmproxy has no other way to ask
            http = self.http_layer_of(stream.context.server) if stream.is_streaming_request else None
            if not (isinstance(http, BoundedHttp2Client) and http.is_request_buffer_full(stream_id)):
                return False
        self.has_stopped_requests = True
        return True

    @property
    def has_waiting_frames(self) -> bool:
        """Return whether an HTTP/2 client has sent more frames than one turn of the loop handles."""
        client = self.connections.get(self.context.client)
        return type(client) is BoundedHttp2Server and client.has_waiting_frames

    def is_client_buffer_full(self, stream_id: int) -> bool:
        """Return whether too much of a stream waits until an HTTP/2 client reads it."""
        client = self.http2_client_connection
        return client is not None and client.is_buffer_full(stream_id)

    def must_pause_reading(self, connection: Connection) -> bool:
        """Return whether the HTTP/2 client has too much unread data from an HTTP/1.1 upstream connection."""
        if not self.http2_client_connection or (found := self.connections.get(connection)) is None:
            return False
        http = found.http if isinstance(found, PooledTlsClient) else found.context.layers[-1]
        return (
            isinstance(http, Http1Client) and http.stream_id is not None and self.is_client_buffer_full(http.stream_id)
        )

    def resume_http2_upstreams(self) -> CommandGenerator[None]:
        """Notify HTTP/2 upstream connections that the client may have room for more."""
        for connection, layer in list(self.connections.items()):
            if connection.alpn == b"h2" and connection is not self.context.client:
                http = layer.context.layers[-1]
                if isinstance(http, BoundedHttp2Client) and http.h2_conn.unacknowledged:
                    yield from self.event_to_child(layer, ClientWindowChanged(0))

    def schedule_tick(self) -> CommandGenerator[None]:
        """Start the timer, unless it runs."""
        if self.tick_command is None:
            self.tick_command = commands.RequestWakeup(self.delegate.limits.tick)
            # This layer yields it, not a child, so the wakeup event comes to this layer.
            yield self.tick_command

    def make_stream(self, stream_id: int) -> CommandGenerator[None]:
        """Start a stream for a new request."""
        stream: HttpStream = WireStream(forked(self.context), stream_id, self.delegate)
        self.streams[stream_id] = stream
        yield from self.event_to_child(stream, events.Start())

    def get_connection(self, event: GetHttpConnection, *, reuse: bool = True) -> CommandGenerator[None]:
        """Reuse or open an upstream connection for a stream: from the pool if it can be used, or as mitmproxy does."""
        before = set(self.waiting_for_establishment)
        yield from self.schedule_tick()
        if isinstance(event, GetUpstreamConnection):
            event.can_send = self.can_send
        connection_pool = self.delegate.connection_pool
        if connection_pool is not None and isinstance(event, GetUpstreamConnection) and self.can_use_pool(event):
            yield from self.get_pooled_connection(event, connection_pool)
        else:
            yield from super().get_connection(event, reuse=reuse)
        for connection in self.waiting_for_establishment.keys() - before:
            self.connect_started_at[connection] = time.monotonic()

    def can_send(self, connection: Connection) -> bool:
        """Return whether a request can be sent on an open connection. Over HTTP/1.1, the last one must have ended."""
        inner = self.http_layer_of(connection)
        if isinstance(inner, BoundedHttp1Client):
            return inner.is_idle and not unwritten_bytes(self.context.client, connection)
        return not (isinstance(inner, WireHttp2Client) and inner.goaway_received)

    def http_layer_of(self, connection: Connection) -> Layer | None:
        """Return the protocol layer of an upstream connection, or None if the connection is not known."""
        layer = self.connections.get(connection)
        return layer.context.layers[-1] if layer else None

    def is_request_sent(self, stream: WireStream) -> bool:
        """Return whether the whole request of a stream was written to its connection."""
        if stream.buffer.is_sending or self.is_window_closed(stream):
            return False
        over_http1 = isinstance(self.http_layer_of(stream.context.server), Http1Client)
        return not (over_http1 and unwritten_bytes(self.context.client, stream.context.server))

    def can_use_pool(self, command: GetUpstreamConnection) -> bool:
        """Return whether a connection is direct, with TLS and HTTP/1.1. An HTTP/2 client may get an HTTP/2 upstream."""
        is_direct = not command.via and command.transport_protocol == "tcp"
        return command.tls and is_direct and self.context.client.alpn != b"h2"

    def get_pooled_connection(
        self, command: GetUpstreamConnection, connection_pool: ConnectionPool
    ) -> CommandGenerator[None]:
        """Reuse a connection of this client, or acquire one from the pool."""
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
        context = forked(self.context)
        context.server = pooled_tls_server(command.address)
        client = PooledTlsClient(context, connection_pool, force_new=command.force_new)
        self.connections[context.server] = client
        self.waiting_for_establishment[context.server].append(command)
        yield from self.event_to_child(client, events.Start())

    def register_connection(self, command: RegisterHttpConnection) -> CommandGenerator[None]:
        """Note that a connection was opened or failed, and tell the streams that wait for it."""
        self.connect_started_at.pop(command.connection, None)
        found = self.connections.get(command.connection)
        if found and isinstance(http := found.context.layers[-1], BoundedHttp2Client):
            http.is_client_buffer_full = self.is_client_buffer_full
        yield from super().register_connection(command)


def forked(context: Context) -> Context:
    """Return a copy of a context with a list of layers of its own. mitmproxy's makes a Server first, and drops it."""
    copied = object.__new__(Context)
    copied.client, copied.server, copied.options = context.client, context.server, context.options
    copied.layers = context.layers.copy()
    return copied
