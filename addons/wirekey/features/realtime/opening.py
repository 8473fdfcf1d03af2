"""The opening of a WebSocket: it takes a stream over, and relays its frames.

Usually the provider opens the WebSocket, and then Wirekey does so for the client:

    accept -> relay

If the client's first message is the request, Wirekey opens the WebSocket for the client, reads that message, and sends
it when the provider has opened a WebSocket too (see `first_message`):

    begin -> receive -> accept -> relay
                     -> end_unopened, if the provider has not opened it
          -> close, if Wirekey or the client ends it
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mitmproxy import http
from mitmproxy.proxy import events
from mitmproxy.proxy.layers.http import (
    HttpResponseHeadersHook,
    HttpResponseHook,
    RequestData,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    SendHttp,
)

from wirekey.core.call import Outcome
from wirekey.core.errors import INTERNAL_ERROR, Refusal
from wirekey.core.header_fields import by_name
from wirekey.core.tracebacks import forget_frames
from wirekey.core.wire.takeover import SWITCHING_PROTOCOLS
from wirekey.features.realtime.first_message import UNRESERVED, ClosingHandshake, FirstMessage
from wirekey.features.realtime.frames import Opcode, ProtocolError, control_frame
from wirekey.features.realtime.handshake import accepting_fields, deflate_of
from wirekey.features.realtime.refusals import (
    ENDING,
    NO_FIRST_MESSAGE,
    NOTHING_ASKED,
    SENT_TOO_EARLY,
    first_message_too_slow,
)
from wirekey.features.realtime.relay import WebSocketRelay

if TYPE_CHECKING:
    from mitmproxy.proxy.layer import CommandGenerator

    from wirekey.core.body import RequestBody
    from wirekey.core.wire.stream import WireStream
    from wirekey.features.realtime.decisions import WebSocketCall
    from wirekey.features.realtime.handshake import Compression


class WebSocketOpening:
    """Implements the wire layer's `StreamTakeover` for one stream. `call` answers its questions about the call."""

    def __init__(self, stream: WireStream, call: WebSocketCall) -> None:
        self.stream, self.call = stream, call
        self.first: FirstMessage | None = None
        """The reader of a WebSocket that is open for the client, until frames are relayed."""
        self.deflate: Compression | None = None
        self.early = b""
        """Frames that came with the head of the response."""

    @property
    def is_open(self) -> bool:
        """Return whether the WebSocket is open for the client, and its frames are not relayed yet."""
        return self.first is not None

    @property
    def awaits_client(self) -> bool:
        """Return whether the WebSocket is open for the client, and its first message is not complete."""
        return self.first is not None and not self.first.is_complete

    @property
    def reason_if_left(self) -> str | None:
        """Return what to record if the client disconnects before its first message."""
        return NOTHING_ASKED if self.awaits_client else None

    def begin(self) -> CommandGenerator[bool]:
        """Accept the WebSocket if its first message is read before anything is decided. Return whether it is."""
        stream = self.stream
        key = self.call.key_to_accept(stream.flow)
        if key is None:
            return False
        self.first, stream.client_state = FirstMessage(), ignore
        now = time.time()
        fields = http.Headers(accepting_fields(key))
        head = http.Response(b"HTTP/1.1", SWITCHING_PROTOCOLS, b"Switching Protocols", fields, b"", None, now, now)
        yield SendHttp(ResponseHeaders(stream.stream_id, head, end_stream=True), stream.context.client)
        # Last: frames that the client has sent already follow at once.
        yield SendHttp(ResponseEndOfMessage(stream.stream_id), stream.context.client)
        return True

    def hold(self, data: bytes) -> None:
        """Keep what follows the first message."""
        assert self.first
        self.first.hold(data)

    def receive(self, data: bytes) -> CommandGenerator[None]:
        """Read bytes of a client whose WebSocket is not relayed yet."""
        first, stream = self.first, self.stream
        assert first
        if first.is_complete:
            first.hold(data)
            return
        try:
            controls = first.feed(data)
        except ProtocolError as error:
            stream.delegate.report_end(stream.flow, Outcome.DENIED, f"{error.code}: {error.reason}")
            yield from self.close(stream.delegate.error_response(stream.flow, NO_FIRST_MESSAGE), error)
            return
        for control in controls:
            if control.opcode is Opcode.PING:
                yield SendHttp(
                    ResponseData(stream.stream_id, control_frame(Opcode.PONG, control.payload)), stream.context.client
                )
            elif control.opcode is Opcode.CLOSE:
                confirmed = control_frame(Opcode.CLOSE, control.payload)
                yield SendHttp(ResponseData(stream.stream_id, confirmed), stream.context.client)
                yield from stream.end_by_client()
                return
        yield from self.keep(first)

    def keep(self, first: FirstMessage) -> CommandGenerator[None]:
        """Reserve memory for a message that is being read. Decide on the request when the message is complete."""
        stream = self.stream
        try:
            if first.is_complete:
                stream.buffer.append(stream.flow, first.payload)
            elif first.received > UNRESERVED:
                stream.delegate.reserve_memory(stream.flow, first.received)
        except Exception as error:
            yield from stream.refuse_body(error)
            return
        if first.is_complete:
            yield from stream.complete_request()

    def on_tick(self, now: float) -> CommandGenerator[None]:
        """Refuse a connection whose first message does not come, or that may not continue."""
        stream = self.stream
        assert self.first
        limit = stream.delegate.limits_of(stream.flow).first_byte
        refusal = stream.delegate.refusal_if_revoked(stream.flow)
        if refusal is None and stream.delegate.is_draining:
            refusal = ENDING
        elif refusal is None and now - self.first.opened_at > limit:
            refusal = first_message_too_slow(limit)
        if refusal is not None:
            stream.delegate.report_end(stream.flow, Outcome.DENIED, refusal.code)
            yield from stream.refuse(refusal)

    def prepare(self, body: RequestBody) -> RequestBody:
        """Return what is sent as the body: nothing if it is the first message, which follows the head of a response."""
        if self.first is None:
            return body
        self.first.prepare(body)
        return b""

    def close(
        self, response: http.Response, error: ProtocolError | None = None, *, is_own: bool = True
    ) -> CommandGenerator[None]:
        """Close a WebSocket that was never relayed, and record its call by the response that it would have had.

        `error`: what the client did wrong, if that says the code. `is_own`: Wirekey has made the response.
        """
        stream = self.stream
        assert self.first
        first, self.first = self.first, None
        code, reason = (error.code, error.reason) if error else self.call.closing(stream.flow)
        stream.flow.response = response
        if is_own:
            yield HttpResponseHeadersHook(stream.flow)
        response.timestamp_end = time.time()
        yield HttpResponseHook(stream.flow)
        stream.flow.live = False
        stream.server_state = stream.state_done
        stream.sent_at = time.monotonic()  # so that the layer's timer runs
        stream.hand_over(ClosingHandshake(stream.context, first, code, reason))
        yield from stream.passthrough(events.Start())

    def end_unopened(self, response: http.Response) -> CommandGenerator[None]:
        """Close a client's WebSocket that the provider has not opened."""
        stream = self.stream
        stream.flow.response = response
        yield HttpResponseHeadersHook(stream.flow)
        if (yield from stream.check_killed(True)):
            return
        yield from stream.cancel_upstream("the provider did not open the WebSocket")
        yield from self.close(response, is_own=False)

    def accept(self, response: http.Response) -> CommandGenerator[None]:
        """Check that the provider has opened the WebSocket that the client asked for."""
        stream = self.stream
        assert stream.wire_head
        try:
            self.deflate = deflate_of(by_name(stream.wire_head.headers.fields), by_name(response.headers.fields))
        except Refusal as refusal:
            forget_frames(refusal)
            yield from stream.cancel_upstream("the response was refused")
            yield from stream.refuse(refusal)
            return
        stream.flow.response = response
        stream.server_state = self.state_upgrade

    def state_upgrade(self, event: events.Event) -> CommandGenerator[None]:
        """Relay frames from now on. The response hook runs when the connection ends."""
        if isinstance(event, ResponseData):
            self.early += event.data  # they came with the head, and `BoundedHttp1Client` reports its end last
        elif isinstance(event, ResponseEndOfMessage):
            yield from self.relay()

    def relay(self) -> CommandGenerator[None]:
        """Relay frames between the client and the provider that has opened the WebSocket, unless that is refused."""
        stream = self.stream
        assert stream.flow.response
        yield HttpResponseHeadersHook(stream.flow)
        if (yield from stream.check_killed(True)):
            return
        session = self.call.session(stream.flow)
        refusal = stream.delegate.refusal_of_hooks(stream.flow) or (INTERNAL_ERROR if session is None else None)
        if self.first is not None and self.first.has_overflowed:
            refusal = SENT_TOO_EARLY
        if session is None or refusal:
            yield from stream.cancel_upstream("the response was refused")
            yield from stream.refuse(refusal or INTERNAL_ERROR)
            return
        first, self.first = self.first, None
        stream.server_state = stream.state_done
        client, server = stream.context.client, stream.context.server
        if first is None:
            yield SendHttp(ResponseHeaders(stream.stream_id, stream.flow.response, end_stream=True), client)
        frames = WebSocketRelay(stream.context, stream.flow, session, self.deflate)
        stream.hand_over(frames)
        if first is not None:
            frames.received = first.received - len(first.held)
            yield SendHttp(RequestData(stream.stream_id, first.frames), server)
        if early := self.early:
            self.early = b""
            yield from stream.passthrough(ResponseData(stream.stream_id, early))
        # Last: frames that the client has sent already follow at once.
        if first is None:
            yield SendHttp(ResponseEndOfMessage(stream.stream_id), client)
        elif first.held:
            yield from stream.passthrough(RequestData(stream.stream_id, bytes(first.held)))


def ignore(_: events.Event) -> CommandGenerator[None]:
    """Ignore events of the request while its first message is read. `receive` gets the bytes of the client."""
    yield from ()
