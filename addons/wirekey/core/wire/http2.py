"""HTTP/2 on either side, with flow control and limits on stream resets and empty frames.

mitmproxy has no flow control. It accepts 2 GiB of each stream at once, and buffers what the other side has no window
for. Here a stream has a small window, which is opened again when the stream on the other side has room. A client that
does not read a response therefore stops it at the provider, and a provider that does not read a request stops it at the
client. No other stream stops.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from typing import TYPE_CHECKING

from h2.connection import ConnectionState
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamReset
from h2.exceptions import ProtocolError
from hyperframe.frame import HeadersFrame, RstStreamFrame
from mitmproxy.proxy import events
from mitmproxy.proxy.commands import SendData
from mitmproxy.proxy.layers.http import Http2Client, Http2Server, _http2
from mitmproxy.proxy.layers.http._base import HttpEvent

from wirekey.core.goaway import GoawayTolerantConnection
from wirekey.core.wire.http2_frames import (
    ALLOWED_PER_REQUEST,
    EmptyFrameAllowance,
    FramesOfTurn,
    TooManyEmptyFrames,
    is_empty,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from h2.config import H2Configuration
    from h2.events import Event as H2Event
    from hyperframe.frame import Frame
    from mitmproxy.proxy.context import Context
    from mitmproxy.proxy.events import Event
    from mitmproxy.proxy.layer import CommandGenerator
    from mitmproxy.proxy.layers.http._http_h2 import SendH2Data

RESET_SECONDS = 10.0
"""Stream resets are counted over this time."""
MOST_RESETS = 200
"""Streams that a client may reset in this time: more than a person or a program cancels, few enough to serve."""
CLIENT_BUFFER_BYTES = 1024 * 1024
"""Bytes of responses that one connection may buffer for its client. Then reading from the provider pauses."""
STREAM_BUFFER_BYTES = 64 * 1024
"""Bytes that each stream may buffer for its client, however much the other streams of the connection buffer."""
STREAM_WINDOW = 256 * 1024
"""Bytes that a provider may send on one stream before its window is opened again."""
SMALL_DATA = 1024
"""Bytes below which the data of a frame is joined with that of the frame before it."""
REQUEST_WINDOW = 1024 * 1024
"""Bytes that a client may send on one stream before its window is opened again."""


class TooManyResets(ProtocolError):  # noqa: N818  # h2 names its exceptions without "Error"
    """The client reset more streams than `MOST_RESETS` in `RESET_SECONDS`."""

    error_code = ErrorCodes.ENHANCE_YOUR_CALM


class ResetCount:
    """Counts stream resets within `RESET_SECONDS`, by the monotonic clock."""

    def __init__(self) -> None:
        self.since = 0.0
        self.count = 0

    def add(self, now: float) -> bool:
        """Count a reset at time `now`. Returns whether the count is within the limit."""
        if now - self.since >= RESET_SECONDS:
            self.since, self.count = now, 0
        self.count += 1
        return self.count <= MOST_RESETS


class SizedDeque(deque["SendH2Data"]):
    """Data of one stream that waits for the other side's window. `size`: its bytes."""

    size = 0

    def append(self, data: SendH2Data) -> None:
        """Add data at the end."""
        self.size += len(data.data)
        super().append(data)

    def appendleft(self, data: SendH2Data) -> None:
        """Add data at the start."""
        self.size += len(data.data)
        super().appendleft(data)

    def popleft(self) -> SendH2Data:
        """Remove and return the first data."""
        data = super().popleft()
        self.size -= len(data.data)
        return data


class WireH2Connection(GoawayTolerantConnection, _http2.BufferedH2Connection):
    """The protocol state of one connection: mitmproxy's, with flow control, counts of frames and early GOAWAY."""

    resets: ResetCount | None = None
    """None if resets are not counted."""
    empty_frames: EmptyFrameAllowance | None = None
    """None if frames without content are not counted."""
    must_withhold_window: Callable[[int], bool] | None = None
    """Returns whether a stream's window must stay closed, because what it sent has not gone on."""

    def __init__(self, config: H2Configuration) -> None:
        super().__init__(config)
        self.stream_buffers: defaultdict[int, SizedDeque] = defaultdict(SizedDeque)  # type: ignore[assignment]
        self.unacknowledged: dict[int, int] = {}
        """Bytes by stream id that the other side has sent, and that its window was not opened for again."""
        self.local_settings.initial_window_size = STREAM_WINDOW if config.client_side else REQUEST_WINDOW
        self.local_settings.acknowledge()

    @property
    def buffered(self) -> int:
        """Return the bytes of all streams that wait for the other side's windows."""
        return sum(waiting.size for waiting in self.stream_buffers.values())

    def acknowledge_received_data(self, acknowledged_size: int, stream_id: int) -> None:
        """Open a stream's window again, unless that must wait for those who read what it sent."""
        if self.must_withhold_window is not None and self.must_withhold_window(stream_id):
            self.unacknowledged[stream_id] = self.unacknowledged.get(stream_id, 0) + acknowledged_size
        else:
            super().acknowledge_received_data(acknowledged_size, stream_id)

    def acknowledge_read(self) -> None:
        """Open the windows of the streams for which there is room again."""
        for stream_id in list(self.unacknowledged):
            self.acknowledge_received_data(self.unacknowledged.pop(stream_id), stream_id)

    def receive_data(self, data: bytes) -> list[H2Event]:
        """Return the events, without those of streams that were opened and reset in the same data."""
        found: list[H2Event] = super().receive_data(data)
        if self.resets is None:
            return found
        if len(found) > 1:
            found = joined_small_data(found)
        if not any(type(event) is StreamReset for event in found):
            return found
        opened = {event.stream_id for event in found if type(event) is RequestReceived}
        gone = opened & {event.stream_id for event in found if type(event) is StreamReset}
        for event in found:
            if type(event) is DataReceived and event.stream_id in gone:
                self.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        return [event for event in found if getattr(event, "stream_id", None) not in gone] if gone else found

    def _receive_frame(self, frame: Frame) -> list[H2Event]:
        found: list[H2Event] = super()._receive_frame(frame)
        if self.resets is not None:
            # Resets that the client provokes count too, for instance by a window that is too large.
            is_reset = type(frame) is RstStreamFrame or any(type(event) is StreamReset for event in found)
            if is_reset and not self.resets.add(time.monotonic()):
                raise TooManyResets("too many streams were reset")
        if self.empty_frames is not None:
            if type(frame) is HeadersFrame:
                self.empty_frames.earn(ALLOWED_PER_REQUEST)
            elif is_empty(frame) and not self.empty_frames.spend(time.monotonic()):
                raise TooManyEmptyFrames("too many frames without content")
        return found

    def _prepare_for_sending(self, frames: list[Frame]) -> None:
        super()._prepare_for_sending(frames)
        if self.empty_frames is not None:
            self.empty_frames.earn_for(frames)


def joined_small_data(found: list[H2Event]) -> list[H2Event]:
    """Return the events, with small pieces of data of one stream that follow each other as one.

    A body in frames of one byte then costs little more for each than reading the frame.
    """
    events: list[H2Event] = []
    pieces: list[bytes] = []
    last: DataReceived | None = None
    for event in found:
        data = event if type(event) is DataReceived else None
        if last and data and data.stream_id == last.stream_id and len(data.data) < SMALL_DATA:
            pieces.append(data.data)
            last.flow_controlled_length += data.flow_controlled_length
            last.stream_ended = last.stream_ended or data.stream_ended
            continue
        if last and pieces:
            last.data = b"".join((last.data, *pieces))
            pieces.clear()
        last = data
        events.append(event)
    if last and pieces:
        last.data = b"".join((last.data, *pieces))
    return events


class RequestsRead(HttpEvent):
    """Sent to an HTTP/2 client connection when there may be room for more of its requests."""


class FramesWaiting(events.Event):
    """Sent to an HTTP/2 client connection in the next turn of the loop, to handle more of what it has received."""


class BoundedHttp2Server(Http2Server):
    """The client's side. `adopt` makes it from mitmproxy's class before the first data."""

    h2_conn: WireH2Connection
    frames: FramesOfTurn

    @classmethod
    def adopt(cls, server: Http2Server, must_withhold_window: Callable[[int], bool]) -> None:
        """Turn mitmproxy's protocol layer into this class, with limits on resets and buffered bytes."""
        server.__class__ = cls
        assert isinstance(server, BoundedHttp2Server)
        server.h2_conn.resets = ResetCount()
        server.h2_conn.empty_frames = EmptyFrameAllowance()
        server.frames = FramesOfTurn.adopt(server.h2_conn.incoming_buffer)
        server.h2_conn.must_withhold_window = must_withhold_window

    def is_buffer_full(self, stream_id: int) -> bool:
        """Return whether reading for a stream must pause until its client has read some of it."""
        waiting = self.h2_conn.stream_buffers.get(stream_id)
        if waiting is None or waiting.size <= STREAM_BUFFER_BYTES:
            return False
        return self.h2_conn.buffered > CLIENT_BUFFER_BYTES

    @property
    def has_waiting_frames(self) -> bool:
        """Return whether more of what was received is to be handled, in the next turn of the loop."""
        return self.frames.has_more and self.h2_conn.state_machine.state is not ConnectionState.CLOSED

    def _handle_event(self, event: Event) -> CommandGenerator[None]:
        if isinstance(event, FramesWaiting):
            yield from super()._handle_event(events.DataReceived(self.conn, b""))
        elif isinstance(event, RequestsRead):
            self.h2_conn.acknowledge_read()
            if data := self.h2_conn.data_to_send():
                yield SendData(self.conn, data)
        else:
            yield from super()._handle_event(event)

    def handle_h2_event(self, event: H2Event | ProtocolError) -> CommandGenerator[bool]:
        """Handle an event of the protocol. Returns whether the connection was closed."""
        if isinstance(event, (TooManyResets, TooManyEmptyFrames)):
            # h2 has prepared a GOAWAY. mitmproxy would send a second one with another error code.
            yield SendData(self.conn, self.h2_conn.data_to_send())
            yield from self.close_connection(str(event))
            return True
        return (yield from super().handle_h2_event(event))  # type: ignore[arg-type]  # it handles errors too

    def end_if_unused(self) -> CommandGenerator[None]:
        """End the connection with GOAWAY, unless a request is open: the client opens a new connection for the next.

        While a request is open, nothing is sent. Some clients, such as httpx, end all requests of a connection when
        they receive a GOAWAY.
        """
        if self.h2_conn.highest_inbound_stream_id and not self.h2_conn.open_inbound_streams and self.conn.connected:
            # It names the last request that was processed, so that the client sends a later one again.
            self.h2_conn.close_connection(ErrorCodes.NO_ERROR)
            yield SendData(self.conn, self.h2_conn.data_to_send())
            yield from self.close_connection("the proxy is about to end")


class ClientWindowChanged(HttpEvent):
    """Sent to each HTTP/2 upstream connection when the client may have opened its windows."""


class BoundedHttp2Client(Http2Client):
    """The provider's side. It receives only as much of a stream as the stream's client has room for."""

    h2_conn: WireH2Connection

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.is_client_buffer_full: Callable[[int], bool] = lambda _: False
        self.h2_conn.must_withhold_window = self.must_withhold_window

    def is_request_buffer_full(self, client_id: int) -> bool:
        """Return whether too much of a request waits for the provider's window. `client_id`: the client's stream id."""
        upstream_id = self.our_stream_id.get(client_id)
        waiting = self.h2_conn.stream_buffers.get(upstream_id) if upstream_id is not None else None
        return waiting is not None and waiting.size > STREAM_BUFFER_BYTES

    def must_withhold_window(self, upstream_id: int) -> bool:
        """Return whether the client of a stream has not read enough of it. `upstream_id`: the provider's stream id."""
        client_id = self.their_stream_id.get(upstream_id)
        return client_id is not None and not self.is_closed(upstream_id) and self.is_client_buffer_full(client_id)

    def _handle_event(self, event: Event) -> CommandGenerator[None]:
        if not isinstance(event, ClientWindowChanged):
            yield from super()._handle_event(event)
        elif self.h2_conn.unacknowledged:
            self.h2_conn.acknowledge_read()
            if data := self.h2_conn.data_to_send():
                yield SendData(self.conn, data)
