"""HTTP/2 on one connection, with h2."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from h2.config import H2Configuration
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

from wirekey.core.goaway import GoawayTolerantConnection
from wirekey_simulator.exchange import BodyCollector, SimulatedRequest
from wirekey_simulator.http1 import MAX_HEAD_BYTES
from wirekey_simulator.two_way import is_two_way

if TYPE_CHECKING:
    from wirekey_simulator.connection import SimulatorConnection
    from wirekey_simulator.delivery import StreamedRequest

LINGER = 1.0
"""Seconds to read the rest of a request that got an early response."""
WINDOW = 1 << 20
"""Bytes that a client may send ahead, per stream."""


class Http2:
    """The streams of one HTTP/2 connection."""

    def __init__(self, connection: SimulatorConnection) -> None:
        self.connection = connection
        self.state = GoawayTolerantConnection(H2Configuration(client_side=False, header_encoding=None))
        self.streams: dict[int, Http2Stream] = {}
        self.last_stream: int | None = None
        """The last stream that gets a response, once a GOAWAY has named it."""
        # Set one by one, they would apply only after the client acknowledged a second SETTINGS frame.
        self.state.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
                SettingCodes.MAX_CONCURRENT_STREAMS: 128,
                SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEAD_BYTES,
            },
        )
        self.state.initiate_connection()
        self.state.increment_flow_control_window(WINDOW * 16)
        self.flush()

    def receive(self, data: bytes) -> None:
        """Read bytes from the client."""
        try:
            for event in self.state.receive_data(data):
                self._handle(event)
        except ProtocolError:
            self.connection.simulator.note_malformed(self.connection)
            self.flush()
            self.connection.close()
            return
        self.flush()

    def lost(self) -> None:
        """Cancel all open responses: the client disconnected."""
        for stream in self.streams.values():
            stream.cancel()
        self.streams.clear()

    def flush(self) -> None:
        """Write what h2 has to send."""
        if self.connection.is_open and (data := self.state.data_to_send()):
            self.connection.write(data)

    def _handle(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            if self.last_stream is not None and event.stream_id > self.last_stream:
                return
            headers = [(bytes(name), bytes(value)) for name, value in event.headers]
            stream = self.streams[event.stream_id] = Http2Stream(self, event.stream_id, headers)
            if is_two_way(headers):
                stream.dispatch(streams=True)
        elif isinstance(event, DataReceived):
            receiving = self.streams.get(event.stream_id)
            if receiving:
                receiving.feed(event.data)
            if not (receiving and receiving.two_way and receiving.two_way.behaviour.unread):
                self.state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            received = self.streams.get(event.stream_id)
            if received:
                received.is_whole = True
                if received.two_way:
                    received.two_way.end()
                if not received.is_dispatched:
                    received.dispatch()
        elif isinstance(event, StreamReset):
            gone = self.streams.pop(event.stream_id, None)
            if gone:
                gone.cancel()
        elif isinstance(event, WindowUpdated | RemoteSettingsChanged):
            for stream in list(self.streams.values()):
                stream.pump()
        elif isinstance(event, ConnectionTerminated):
            self.connection.close()

    def say_last(self, last_stream: int) -> None:
        """Send a GOAWAY that names this stream as the last. Close when the streams up to it have ended."""
        self.flush()
        self.last_stream = last_stream
        frame = GoAwayFrame(stream_id=0, last_stream_id=last_stream, error_code=ErrorCodes.NO_ERROR)
        # By hand: h2 would treat it as the end of the connection and drop the open responses.
        self.connection.write(frame.serialize())
        for stream_id in [one for one in self.streams if one > last_stream]:
            self.streams.pop(stream_id).cancel()
        self.close_if_over()

    def close_if_over(self) -> None:
        """Close the connection if a GOAWAY was sent and its last stream has ended."""
        if self.last_stream is not None and not self.streams:
            self.flush()
            self.connection.close()


class Http2Stream:
    """One exchange. Bytes that the flow-control window does not allow yet wait in `pending`."""

    def __init__(self, owner: Http2, stream_id: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.owner = owner
        self.state = owner.state
        self.id = stream_id
        self.headers = headers
        self.collector = BodyCollector()
        self.task: asyncio.Task[None] | None = None
        self.two_way: StreamedRequest | None = None
        """The reader of a request that streams while its response does."""
        self.pending = bytearray()
        self.ending = False
        self.room = asyncio.Event()
        self.room.set()
        self.is_early = owner.connection.simulator.responds_early(headers)
        self.is_dispatched = False
        self.is_whole = False
        """Whether the request has ended."""

    def feed(self, data: bytes) -> None:
        """Add bytes of the request's body."""
        if self.two_way:
            self.two_way.feed(data)
            return
        self.collector.feed(data)
        if self.is_early and not self.is_dispatched and self.collector.pauses:
            self.dispatch()

    def dispatch(self, *, streams: bool = False) -> None:
        """Pass the request to the simulator. `streams`: before its body, which streams while the response does."""
        self.is_dispatched = True
        pseudo = {name: value.decode("latin-1") for name, value in self.headers if name.startswith(b":")}
        connection = self.owner.connection
        self.task = connection.exchange(
            SimulatedRequest(
                method=pseudo.get(b":method", ""),
                authority=pseudo.get(b":authority", ""),
                target=pseudo.get(b":path", ""),
                headers=tuple(pair for pair in self.headers if not pair[0].startswith(b":")),
                body=self.collector.body,
                size=self.collector.size,
                sha256=self.collector.sha256,
                protocol="h2",
                tls=connection.is_tls,
                sni=connection.sni,
                connection=connection.number,
                streams=streams,
            ),
            self,
        )

    def cancel(self) -> None:
        """Cancel the response: the client reset the stream or disconnected."""
        if self.task:
            self.task.cancel()

    def pump(self) -> None:
        """Send as much as the flow-control windows allow."""
        while self.pending:
            size = min(self.state.local_flow_control_window(self.id), self.state.max_outbound_frame_size)
            if size <= 0:
                return
            part = bytes(self.pending[:size])
            del self.pending[:size]
            self.state.send_data(self.id, part, end_stream=self.ending and not self.pending)
        self.room.set()
        if self.ending:
            self._done()

    def _done(self) -> None:
        self.owner.streams.pop(self.id, None)
        if not self.is_whole:
            # The rest of the request is not needed (RFC 9113, section 8.1).
            with contextlib.suppress(ProtocolError):
                self.state.reset_stream(self.id, ErrorCodes.NO_ERROR)
            asyncio.get_running_loop().call_later(LINGER, self.owner.close_if_over)
        else:
            self.owner.close_if_over()

    def head(self, status: int, headers: list[tuple[str, str]], length: int | None) -> None:
        """Send status and headers."""
        size = [] if length is None else [("content-length", str(length))]
        self.state.send_headers(self.id, [(":status", str(status)), *headers, *size])
        self.owner.flush()

    def interim(self, status: int, headers: list[tuple[str, str]]) -> None:
        """Send an interim response such as 103."""
        self.state.send_headers(self.id, [(":status", str(status)), *headers])
        self.owner.flush()

    def trickle(self) -> None:
        """Send the next bytes of the connection one by one."""
        self.owner.connection.trickle()

    def last(self, *, accepted: bool) -> None:
        """Send a GOAWAY that names this stream as the last, or the one before it if not `accepted`."""
        self.owner.say_last(self.id if accepted else max(0, self.id - 2))

    async def data_with_pauses(self, data: bytes, seconds: float) -> None:
        """Send an empty DATA frame, then one with the data."""
        for part in (b"", data):
            if self.id not in self.owner.streams:
                return
            if part:
                self.data(part)
            elif self.room.is_set():
                self.state.send_data(self.id, b"")
                self.owner.flush()
            await self.drained()
            await asyncio.sleep(seconds)

    def data(self, data: bytes) -> None:
        """Send a part of the body, or queue it."""
        if not data or self.id not in self.owner.streams:
            return
        self.pending += data
        self.room.clear()
        self.pump()
        self.owner.flush()

    def end(self) -> None:
        """End the body once it has been sent completely."""
        if self.id not in self.owner.streams:
            return
        self.ending = True
        if not self.pending:
            self.state.end_stream(self.id)
            self._done()
        self.owner.flush()

    def whole(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Send head and body in one write."""
        self.state.send_headers(
            self.id, [(":status", str(status)), *headers, ("content-length", str(len(body)))], end_stream=not body
        )
        if not body:
            self._done()
            return
        self.pending += body
        self.ending = True
        self.pump()

    async def drained(self) -> None:
        """Wait until the client has read enough to write more."""
        await self.room.wait()
        await self.owner.connection.drained()

    def reset(self) -> None:
        """Break off with RST_STREAM."""
        with contextlib.suppress(ProtocolError):  # the client closed it first
            self.state.reset_stream(self.id, ErrorCodes.INTERNAL_ERROR)
        self._done()
        self.owner.flush()

    def close(self) -> None:
        """Close the connection."""
        self.owner.connection.close()

    def raw(self, data: bytes) -> None:
        """Write bytes as they are."""
        self.owner.connection.write(data)
