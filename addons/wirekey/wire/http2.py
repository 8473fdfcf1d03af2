"""HTTP/2 on either side, with bounds: on what a client resets, and on what is kept for a client that does not read.

mitmproxy has no flow control: it takes 2 GiB of each stream at once, and keeps what the other side has no window for.
Here a provider's stream has a window, and its data is acknowledged once the client's stream has room for it. So a
client that does not read holds up its own streams only, at the provider.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from typing import TYPE_CHECKING

from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamReset
from h2.exceptions import ProtocolError
from hyperframe.frame import RstStreamFrame
from mitmproxy.proxy.commands import SendData
from mitmproxy.proxy.layers.http import Http2Client, Http2Server, _http2
from mitmproxy.proxy.layers.http._base import HttpEvent

from wirekey.goaway import GoawayTolerantConnection

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
"""The time over which resets are counted."""
STREAM_BUFFER_BYTES = 64 * 1024
"""Bytes that each stream may keep for its client, however much its neighbours on the connection keep."""
STREAM_WINDOW = 256 * 1024
"""Bytes that a provider may send on one stream before they are acknowledged."""


class TooManyResets(ProtocolError):  # noqa: N818  # named for what happened, as h2 does
    """The client reset more streams than limits.stream_resets allows."""

    error_code = ErrorCodes.ENHANCE_YOUR_CALM


class ResetCount:
    """Counts resets within `RESET_SECONDS`; times are of a clock that never goes back, in seconds."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.since = 0.0
        self.count = 0

    def add(self, now: float) -> bool:
        """Count one more. Returns whether it is still within the limit."""
        if now - self.since >= RESET_SECONDS:
            self.since, self.count = now, 0
        self.count += 1
        return self.count <= self.most


class SizedDeque(deque["SendH2Data"]):
    """Data that waits for the other side's window, with its size in bytes."""

    size = 0

    def append(self, data: SendH2Data) -> None:
        self.size += len(data.data)
        super().append(data)

    def appendleft(self, data: SendH2Data) -> None:
        self.size += len(data.data)
        super().appendleft(data)

    def popleft(self) -> SendH2Data:
        data = super().popleft()
        self.size -= len(data.data)
        return data


class WireH2Connection(GoawayTolerantConnection, _http2.BufferedH2Connection):
    """mitmproxy's, for clients that send GOAWAY early, with a count of resets and with windows for providers."""

    resets: ResetCount | None = None
    """None: they are not counted."""
    is_client_full: Callable[[int], bool] | None = None
    """Returns whether the client has no room for more of this stream."""

    def __init__(self, config: H2Configuration) -> None:
        super().__init__(config)
        self.stream_buffers: defaultdict[int, SizedDeque] = defaultdict(SizedDeque)  # type: ignore[assignment]
        self.unacknowledged: dict[int, int] = {}
        """Bytes by stream id that a provider sent, and that its window still lacks."""
        if config.client_side:
            self.local_settings.initial_window_size = STREAM_WINDOW
            self.local_settings.acknowledge()

    @property
    def buffered(self) -> int:
        """Bytes that wait for the other side's windows."""
        return sum(waiting.size for waiting in self.stream_buffers.values())

    def acknowledge_received_data(self, acknowledged_size: int, stream_id: int) -> None:
        if self.is_client_full is not None and self.is_client_full(stream_id):
            self.unacknowledged[stream_id] = self.unacknowledged.get(stream_id, 0) + acknowledged_size
        else:
            super().acknowledge_received_data(acknowledged_size, stream_id)

    def acknowledge_read(self) -> None:
        """Acknowledge what the client has room for again."""
        for stream_id in list(self.unacknowledged):
            self.acknowledge_received_data(self.unacknowledged.pop(stream_id), stream_id)

    def receive_data(self, data: bytes) -> list[H2Event]:
        """Return what happened, without the streams that were opened and reset at once."""
        found: list[H2Event] = super().receive_data(data)
        if self.resets is None or not any(type(event) is StreamReset for event in found):
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
            # Also those that the client makes us send, such as by a window that is too large.
            is_reset = type(frame) is RstStreamFrame or any(type(event) is StreamReset for event in found)
            if is_reset and not self.resets.add(time.monotonic()):
                raise TooManyResets("too many streams were reset (limits.stream_resets)")
        return found


class BoundedHttp2Server(Http2Server):
    """The client's side. Made from mitmproxy's by `adopt`, before its first data."""

    h2_conn: WireH2Connection
    buffer_bytes: int

    @classmethod
    def adopt(cls, server: Http2Server, resets: int, buffer_bytes: int) -> None:
        server.__class__ = cls
        assert isinstance(server, BoundedHttp2Server)
        server.h2_conn.resets = ResetCount(resets)
        server.buffer_bytes = buffer_bytes

    def is_client_buffer_full(self, stream_id: int) -> bool:
        """Return whether nothing more is to be read for this stream until its client has read some of it."""
        waiting = self.h2_conn.stream_buffers.get(stream_id)
        return waiting is not None and waiting.size > STREAM_BUFFER_BYTES and self.h2_conn.buffered > self.buffer_bytes

    def handle_h2_event(self, event: H2Event | TooManyResets) -> CommandGenerator[bool]:
        if isinstance(event, TooManyResets):
            # h2 has made the GOAWAY already; mitmproxy would send a second one with another reason.
            yield SendData(self.conn, self.h2_conn.data_to_send())
            yield from self.close_connection("the client reset too many streams")
            return True
        return (yield from super().handle_h2_event(event))


class ClientWindowChanged(HttpEvent):
    """The client has read something; sent to each HTTP/2 connection of a provider."""


class BoundedHttp2Client(Http2Client):
    """The provider's side: takes no more of a stream than its client has room for."""

    h2_conn: WireH2Connection

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.is_client_buffer_full: Callable[[int], bool] = lambda _: False
        self.h2_conn.is_client_full = self.is_client_full

    def is_client_full(self, ours: int) -> bool:
        theirs = self.their_stream_id.get(ours)
        return theirs is not None and not self.is_closed(ours) and self.is_client_buffer_full(theirs)

    def _handle_event(self, event: Event) -> CommandGenerator[None]:
        if not isinstance(event, ClientWindowChanged):
            yield from super()._handle_event(event)
        elif self.h2_conn.unacknowledged:
            self.h2_conn.acknowledge_read()
            if data := self.h2_conn.data_to_send():
                yield SendData(self.conn, data)
