"""HTTP/1.1 on one connection, with h11."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import h11

from wirekey_simulator.exchange import BodyCollector, SimulatedRequest
from wirekey_simulator.websocket import SimulatedWebSocket, Upgrade

if TYPE_CHECKING:
    from wirekey_simulator.behaviour import Behaviour
    from wirekey_simulator.connection import SimulatorConnection
    from wirekey_simulator.delivery import StreamedRequest
    from wirekey_simulator.exchange import Seen

MAX_HEAD_BYTES = 256 * 1024
BODY_NOT_THERE = b"We could not read this request as HTTP/1.1: "


class Http1:
    """The exchanges of one HTTP/1.1 connection, one after the other. Also the `Wire` of the current one."""

    def __init__(self, connection: SimulatorConnection) -> None:
        self.connection = connection
        self.state = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self.request: h11.Request | None = None
        self.two_way: StreamedRequest | None = None
        self.collector = BodyCollector()
        self.task: asyncio.Task[None] | None = None
        self.is_early = False
        """Whether the request gets its response before its end."""
        self.is_last = False
        self.websocket: SimulatedWebSocket | None = None

    def receive(self, data: bytes) -> None:
        """Read bytes from the client."""
        if self.websocket:
            self.websocket.receive(data)
            return
        try:
            self.state.receive_data(data)
            self._advance()
        except h11.RemoteProtocolError as error:
            self._refuse(error)

    def lost(self) -> None:
        """Cancel the open response: the client disconnected."""
        if self.task:
            self.task.cancel()
        if self.websocket:
            self.websocket.lost()

    def upgrade(self, response: Upgrade, behaviour: Behaviour, seen: Seen) -> None:
        """Open a WebSocket. Frames follow."""
        if behaviour.bytewise:
            self.trickle()
        self._write(h11.InformationalResponse(status_code=101, headers=response.headers, reason=b"Switching Protocols"))
        self.websocket = SimulatedWebSocket(self.connection, response, behaviour, seen)
        early, _ = self.state.trailing_data
        self.websocket.open()
        self.websocket.receive(early)

    def _advance(self) -> None:
        while self.connection.is_open:
            event = self.state.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                if self.state.they_are_waiting_for_100_continue:
                    # h11 requires a list of headers. This response has none to send.
                    self._write(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))
                return
            if isinstance(event, h11.Request):
                self.request, self.collector = event, BodyCollector()
                self.is_early = self.connection.simulator.responds_early(event.headers.raw_items())
            elif isinstance(event, h11.Data):
                self.collector.feed(bytes(event.data))
                if self.is_early and self.collector.pauses:
                    self._dispatch()
            elif isinstance(event, h11.EndOfMessage):
                if self.request is not None:
                    self._dispatch()
                elif self.state.our_state is h11.DONE:
                    self.state.start_next_cycle()
                elif self.state.our_state is h11.MUST_CLOSE:
                    self.connection.close()
            elif isinstance(event, h11.ConnectionClosed):
                self.connection.close()
                return

    def _dispatch(self) -> None:
        head, collector = self.request, self.collector
        assert head is not None
        self.request, self.collector = None, BodyCollector()
        self.is_early = self.is_last = False
        headers = tuple(head.headers.raw_items())
        self.task = self.connection.exchange(
            SimulatedRequest(
                method=head.method.decode(),
                authority=next((v.decode("latin-1") for k, v in head.headers if k == b"host"), ""),
                target=head.target.decode("latin-1"),
                headers=headers,
                body=collector.body,
                size=collector.size,
                sha256=collector.sha256,
                protocol="h1",
                tls=self.connection.is_tls,
                sni=self.connection.sni,
                connection=self.connection.number,
            ),
            self,
        )

    def _refuse(self, error: h11.RemoteProtocolError) -> None:
        if self.state.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.connection.close()
            return
        body = BODY_NOT_THERE + str(error).encode("latin-1", "replace")
        self.connection.simulator.note_malformed(self.connection)
        headers = [("content-type", "text/plain"), ("content-length", str(len(body))), ("connection", "close")]
        self._write(h11.Response(status_code=error.error_status_hint, headers=headers), h11.Data(data=body))
        self.connection.close()

    def _write(self, *events: h11.Event) -> None:
        if self.connection.is_open:
            self.connection.write(b"".join([self.state.send(event) or b"" for event in events]))

    def head(self, status: int, headers: list[tuple[str, str]], length: int | None) -> None:
        """Send status and headers."""
        size = [] if length is None else [("content-length", str(length))]
        end = [("connection", "close")] if self.is_last else []
        self._write(h11.Response(status_code=status, headers=[*headers, *size, *end]))

    def interim(self, status: int, headers: list[tuple[str, str]]) -> None:
        """Send an interim response such as 103."""
        self._write(h11.InformationalResponse(status_code=status, headers=headers))

    def trickle(self) -> None:
        """Send the next bytes one by one."""
        self.connection.trickle()

    def last(self, *, accepted: bool) -> None:
        """Close after this response, or at once if not `accepted`."""
        self.is_last = True
        if not accepted:
            self.connection.close()

    async def data_with_pauses(self, data: bytes, seconds: float) -> None:
        """Send a chunk in two writes: its size, then its content."""
        if not self.connection.is_open:
            return
        size, line_end, content = (self.state.send(h11.Data(data=data)) or b"").partition(b"\r\n")
        for part in (size + line_end, content):
            self.connection.write(part)
            await self.drained()
            await asyncio.sleep(seconds)

    def data(self, data: bytes) -> None:
        """Send a part of the body."""
        self._write(h11.Data(data=data))

    def end(self) -> None:
        """End the body and continue with the next request."""
        self._write(h11.EndOfMessage())
        self._next()

    def whole(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Send head and body in one write."""
        self._write(
            h11.Response(status_code=status, headers=[*headers, ("content-length", str(len(body)))]),
            h11.Data(data=body),
            h11.EndOfMessage(),
        )
        if self.state.our_state is h11.MUST_CLOSE:
            self.connection.close()
        elif self.state.our_state is h11.DONE and self.state.their_state is h11.DONE:
            self.state.start_next_cycle()

    def _next(self) -> None:
        self.task = None
        if self.state.our_state is h11.MUST_CLOSE:
            if self.state.their_state is h11.SEND_BODY:
                self.connection.close_later()
            else:
                self.connection.close()
        elif self.state.our_state is h11.DONE:
            if self.state.their_state is h11.DONE:
                self.state.start_next_cycle()
            try:
                # Bytes that arrived before the response was complete.
                self._advance()
            except h11.RemoteProtocolError as error:
                self._refuse(error)

    async def drained(self) -> None:
        """Wait until the client has read enough to write more."""
        await self.connection.drained()

    def reset(self) -> None:
        """Break off with a TCP RST."""
        self.connection.reset()

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def raw(self, data: bytes) -> None:
        """Write bytes as they are."""
        self.connection.write(data)
