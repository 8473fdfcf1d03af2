"""HTTP/2 to a provider that sends GOAWAY while requests are open.

GOAWAY names the last stream that the provider processes (RFC 9113, section 6.8). Streams up to it continue. The
provider did not process the streams above it, so they can be sent again. mitmproxy would end all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from h2.errors import ErrorCodes
from h2.events import StreamReset
from mitmproxy.proxy import commands
from mitmproxy.proxy.layers.http import ReceiveHttp, ResponseProtocolError
from mitmproxy.proxy.layers.http._events import ErrorCode

from wirekey.core.goaway import GoingAway
from wirekey.core.wire.http2 import BoundedHttp2Client

if TYPE_CHECKING:
    from h2.events import Event as Http2Event
    from mitmproxy.proxy import events
    from mitmproxy.proxy.context import Context
    from mitmproxy.proxy.layer import CommandGenerator

UNPROCESSED = "the provider did not process this request"
"""The message of the error that ends a stream whose request may be sent again, whatever its method."""


class WireHttp2Client(BoundedHttp2Client):
    """The provider's side, which continues after GOAWAY and ends unprocessed streams with `UNPROCESSED`."""

    goaway_received = False
    """Whether the provider has sent GOAWAY, after which it accepts no new streams."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.unsent_streams: list[int] = []
        """Ids of the client's streams that were queued when GOAWAY was received."""

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        yield from super()._handle_event(event)
        while self.unsent_streams:
            yield unprocessed(self.unsent_streams.pop(0))
        if self.goaway_received and not self.streams and self.conn.connected:
            yield commands.CloseConnection(self.conn)

    def handle_h2_event(self, event: Http2Event) -> CommandGenerator[bool]:
        """Handle an event of the protocol. Returns whether the connection was closed."""
        if isinstance(event, GoingAway):
            self.goaway_received = True
            for stream_id in [one for one in self.streams if one > event.last_stream_id]:
                yield from self.end_unprocessed_stream(stream_id)
            self.unsent_streams += self.stream_queue
            self.stream_queue.clear()
            return False
        if isinstance(event, StreamReset) and event.error_code == ErrorCodes.REFUSED_STREAM:
            if event.stream_id in self.streams:
                yield from self.end_unprocessed_stream(event.stream_id)
            return False
        return (yield from super().handle_h2_event(event))

    def end_unprocessed_stream(self, stream_id: int) -> CommandGenerator[None]:
        """End a stream that the provider did not process."""
        self.streams.pop(stream_id)
        self.h2_conn.stream_buffers.pop(stream_id, None)
        yield unprocessed(stream_id)


def unprocessed(stream_id: int) -> ReceiveHttp:
    """Return the command that ends a stream which the provider did not process."""
    return ReceiveHttp(ResponseProtocolError(stream_id, UNPROCESSED, ErrorCode.GENERIC_SERVER_ERROR))
