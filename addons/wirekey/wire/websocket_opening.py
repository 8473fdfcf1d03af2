"""The opening of a WebSocket: steps of a stream, until its frames are relayed.

Usually the provider opens the WebSocket, and then Wirekey does so for the client:

    check_upgrade -> relay

If the client's first message is the request, Wirekey opens the WebSocket for the client, reads that message, and sends
it when the provider has opened a WebSocket too (see `first_message`):

    open_for_client -> receive -> check_upgrade -> relay
                               -> end_unopened, if the provider has not opened it
                    -> close_for_client, if Wirekey or the client ends it
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
    RequestEndOfMessage,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    SendHttp,
)
from mitmproxy.proxy.layers.http._events import ErrorCode

from wirekey.call import Outcome
from wirekey.errors import INTERNAL_ERROR, Refusal
from wirekey.header_fields import by_name
from wirekey.realtime.frames import Opcode, ProtocolError, control_frame
from wirekey.realtime.handshake import accepting_fields, deflate_of
from wirekey.tracebacks import forget_frames
from wirekey.wire.first_message import UNRESERVED, ClosingHandshake, FirstMessage
from wirekey.wire.refusals import ENDING, NO_FIRST_MESSAGE, SENT_TOO_EARLY, first_message_too_slow
from wirekey.wire.websocket import WebSocketRelay

if TYPE_CHECKING:
    from mitmproxy.proxy.layer import CommandGenerator

    from wirekey.wire.stream import WireStream

SWITCHING_PROTOCOLS = 101


def open_for_client(stream: WireStream, key: str) -> CommandGenerator[None]:
    """Accept a WebSocket, whose first message is read before anything is decided. `key`: the client's."""
    stream.first_message, stream.client_state = FirstMessage(), stream.state_read_first_message
    now = time.time()
    fields = http.Headers(accepting_fields(key))
    head = http.Response(b"HTTP/1.1", SWITCHING_PROTOCOLS, b"Switching Protocols", fields, b"", None, now, now)
    yield SendHttp(ResponseHeaders(stream.stream_id, head, end_stream=True), stream.context.client)
    # Last: frames that the client has sent already follow at once.
    yield SendHttp(ResponseEndOfMessage(stream.stream_id), stream.context.client)


def receive(stream: WireStream, first: FirstMessage, data: bytes) -> CommandGenerator[None]:
    """Read bytes of a client whose WebSocket is not relayed yet."""
    if first.is_complete:
        first.hold(data)
        return
    try:
        controls = first.feed(data)
    except ProtocolError as error:
        stream.delegate.report_end(stream.flow, Outcome.DENIED, f"{error.code}: {error.reason}")
        yield from close_for_client(stream, stream.delegate.error_response(stream.flow, NO_FIRST_MESSAGE), error)
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
    yield from keep(stream, first)


def keep(stream: WireStream, first: FirstMessage) -> CommandGenerator[None]:
    """Reserve memory for a message that is being read. Decide on the request when the message is complete."""
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


def check_time(stream: WireStream, now: float) -> CommandGenerator[None]:
    """Refuse a connection whose first message does not come, or that may not go on."""
    assert stream.first_message
    limit = stream.delegate.limits_of(stream.flow).first_byte
    refusal = stream.delegate.refusal_if_revoked(stream.flow)
    if refusal is None and stream.delegate.is_draining:
        refusal = ENDING
    elif refusal is None and now - stream.first_message.opened_at > limit:
        refusal = first_message_too_slow(limit)
    if refusal is not None:
        stream.delegate.report_end(stream.flow, Outcome.DENIED, refusal.code)
        yield from stream.refuse(refusal)


def close_for_client(
    stream: WireStream, response: http.Response, error: ProtocolError | None = None, *, is_own: bool = True
) -> CommandGenerator[None]:
    """Close a WebSocket that was never relayed, and record its call by the response that it would have had.

    `error`: what the client did wrong, if that says the code. `is_own`: Wirekey has made the response.
    """
    assert stream.first_message
    first, stream.first_message = stream.first_message, None
    code, reason = (error.code, error.reason) if error else stream.delegate.closing(stream.flow)
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


def end_unopened(stream: WireStream, response: http.Response) -> CommandGenerator[None]:
    """Close a client's WebSocket that the provider has not opened."""
    stream.flow.response = response
    yield HttpResponseHeadersHook(stream.flow)
    if (yield from stream.check_killed(True)):
        return
    yield from stream.cancel_upstream("the provider did not open the WebSocket")
    yield from close_for_client(stream, response, is_own=False)


def check_upgrade(stream: WireStream, response: http.Response) -> CommandGenerator[None]:
    """Check that the provider has opened the WebSocket that the client asked for."""
    assert stream.wire_head
    try:
        stream.deflate = deflate_of(by_name(stream.wire_head.headers.fields), by_name(response.headers.fields))
    except Refusal as refusal:
        forget_frames(refusal)
        yield from stream.cancel_upstream("the response was refused")
        yield from stream.refuse(refusal)
        return
    stream.flow.response = response
    stream.server_state = stream.state_upgrade


def relay(stream: WireStream) -> CommandGenerator[None]:
    """Relay frames between the client and the provider that has opened the WebSocket, unless that is refused."""
    assert stream.flow.response
    yield HttpResponseHeadersHook(stream.flow)
    if (yield from stream.check_killed(True)):
        return
    session = stream.delegate.websocket_session(stream.flow)
    refusal = stream.delegate.refusal_of_hooks(stream.flow) or (INTERNAL_ERROR if session is None else None)
    if stream.first_message is not None and stream.first_message.has_overflowed:
        refusal = SENT_TOO_EARLY
    if session is None or refusal:
        yield from stream.cancel_upstream("the response was refused")
        yield from stream.refuse(refusal or INTERNAL_ERROR)
        return
    first, stream.first_message = stream.first_message, None
    stream.server_state = stream.state_done
    if first is None:
        yield SendHttp(ResponseHeaders(stream.stream_id, stream.flow.response, end_stream=True), stream.context.client)
    frames = WebSocketRelay(stream.context, stream.flow, session, stream.deflate)
    stream.hand_over(frames)
    if first is not None:
        frames.received = first.received - len(first.held)
        yield SendHttp(RequestData(stream.stream_id, first.frames), stream.context.server)
    if early := stream.early_frames:
        stream.early_frames = b""
        yield from stream.passthrough(ResponseData(stream.stream_id, early))
    # Last: frames that the client has sent already follow at once.
    if first is None:
        yield SendHttp(ResponseEndOfMessage(stream.stream_id), stream.context.client)
    elif first.held:
        yield from stream.passthrough(RequestData(stream.stream_id, bytes(first.held)))


def as_disconnection(event: events.Event) -> events.Event:
    """Return the end of a client's WebSocket as what it is to a stream that waits for its provider."""
    if not isinstance(event, RequestEndOfMessage):
        return event
    return RequestProtocolError(event.stream_id, "Client disconnected.", ErrorCode.CLIENT_DISCONNECTED)
