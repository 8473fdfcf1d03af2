"""The state machine of one request and its response.

mitmproxy's `HttpStream` has two states: `client_state` follows the request, `server_state` the response. This module
adds states to both, and replaces most of the transitions between them:

    client_state   wait_for_request_headers -> consume_request_body | stream_request_body -> done
                   A `StreamTakeover` may open the client's side in between, and read the rest of the request there.
                   stream_request_body of a two-way call: each part passes the delegate while the response streams.
                   discard_request: the response was sent before the request had ended; the rest is read and dropped.
    server_state   wait_for_response_headers -> stream_response_body -> done
                   ignore: a hook decides whether a further attempt follows a failed one.
                   drain:  the response of a failed attempt is read and dropped, and then the request is sent again.

A request is buffered and sent when it is complete, unless an addon streams it. Only a buffered request can be sent
again, and only before any byte of a response went to the client. A response is always streamed.
"""

from __future__ import annotations

import logging
import time
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.http import (
    DropStream,
    Http2Client,
    HTTPMode,
    HttpRequestHook,
    HttpResponseHeadersHook,
    HttpStream,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
    ResponseTrailers,
    SendHttp,
    validate_request,
)
from mitmproxy.proxy.layers.http._base import HttpEvent
from mitmproxy.proxy.layers.http._events import ErrorCode

from wirekey.core.call import FailureKind, Outcome
from wirekey.core.errors import INTERNAL_ERROR, Fault, Refusal
from wirekey.core.tracebacks import forget_frames, safe_traceback
from wirekey.core.wire import protocol_errors
from wirekey.core.wire.connection_handler import unwritten_bytes
from wirekey.core.wire.delegate import RequestRefused, ResponseRefused
from wirekey.core.wire.held_response import HeldResponseHook
from wirekey.core.wire.http2_goaway import UNPROCESSED
from wirekey.core.wire.pooled_connection import pooled_connections
from wirekey.core.wire.refusals import (
    BODY_RATE,
    CANNOT_SEND,
    UPSTREAM_RESET,
    UPSTREAM_UNREADABLE,
    body_too_slow,
    call_too_slow,
    provider_too_slow,
)
from wirekey.core.wire.request_buffer import RequestBuffer
from wirekey.core.wire.retry_hooks import AttemptFailedHook, AttemptRepeatedHook, FailedAttempt
from wirekey.core.wire.takeover import SWITCHING_PROTOCOLS, as_disconnection
from wirekey.core.wire.upstream_connection import GetUpstreamConnection, connect_refusal, detach_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mitmproxy import http
    from mitmproxy.connection import Connection
    from mitmproxy.proxy.context import Context
    from mitmproxy.proxy.layer import CommandGenerator, Layer

    from wirekey.core.body import RequestBody
    from wirekey.core.wire.delegate import WireDelegate
    from wirekey.core.wire.takeover import StreamTakeover

logger = logging.getLogger(__name__)

CROSSING_SECONDS = 5.0
"""A reused connection that ends later than this after the request was sent did not end before the request arrived."""
MAX_DISCARDED_BYTES = 256 * 1024 * 1024
"""Bytes of a request that are read and dropped after its response was sent, so that the client reads the response."""
MAX_DRAINED_BYTES = 64 * 1024
"""Bytes of a failed attempt's response that are read and dropped, so that its connection can be reused."""
DRAINING_SECONDS = 2.0
"""The connection of a failed attempt is closed after this time, so that the next attempt need not wait."""
MAX_UNPROCESSED = 3
"""A request is sent again this often when the provider did not process it."""

OF_REQUEST = frozenset({RequestHeaders, RequestData, RequestEndOfMessage})
OF_RESPONSE = frozenset({ResponseHeaders, ResponseData, ResponseEndOfMessage})
"""Events that go to the state of one side, and to no other handler."""
RESPONSE_EVENTS = (ResponseHeaders, ResponseData, ResponseTrailers, ResponseEndOfMessage, ResponseProtocolError)


class Tick(HttpEvent):
    """Sent to a stream at regular intervals, so that it can check its time limits."""


class UpstreamWindowChanged(HttpEvent):
    """Sent to a stream that has more to send, because an HTTP/2 provider may have opened its window."""


class LayerOfStreams(Protocol):
    """The HTTP layer of the client connection, as its streams see it."""

    connections: Mapping[Connection, Layer]
    sending_streams: set[WireStream]
    """The streams that have more of a spooled body to send."""

    def http_layer_of(self, connection: Connection) -> Layer | None:
        """Return the protocol layer of an upstream connection, or None if the connection is not known."""

    def is_window_closed(self, stream: WireStream) -> bool:
        """Return whether an HTTP/2 provider's window is closed to a stream."""

    def is_request_sent(self, stream: WireStream) -> bool:
        """Return whether the whole request of a stream was written to its connection."""


class WireStream(HttpStream):
    """One request and its response, from a client to a provider.

    It adds to mitmproxy's stream the credential (only the request on the wire carries it), retries, time and size
    limits, and errors in the provider's format. Its `WireDelegate` makes the decisions about the call.
    """

    is_buffered = False
    """Whether the request was complete when it was sent, so that it can be sent again."""
    wire_head: http.Request | None = None
    """The request as it is sent, with the credential."""
    wire_body: RequestBody = b""
    is_two_way = False
    """Whether the request streams while the response does, so that neither waits for the end of the other."""
    ended_early = False
    """Whether the client has the whole response, but has not sent the whole request."""
    rate_checked_at = 0.0
    rate_bytes = 0
    """Bytes of the body received since `rate_checked_at`."""
    attempt_started_at = 0.0
    sent_at = 0.0
    """When a part of the request was last sent; 0 if nothing was."""
    received_at = 0.0
    """When a part of the response was last received; of a two-way call, a part of either."""
    failed_attempt: FailedAttempt | None = None
    """The attempt about which a hook is running."""
    read_drained: Callable[[bytes], None] | None = None
    """Gets the body of the response of a failed attempt."""
    reuses_connection = False
    """Whether the connection may have been closed by the provider before the request arrived there."""
    retried_on_new_connection = False
    unprocessed_count = 0
    """How often the provider did not process the request."""
    takeover: StreamTakeover | None = None
    """The object that takes the stream over once the provider has switched protocols, if the request asks for that."""
    discarded_bytes = 0
    drained_bytes = 0
    drain_started_at = 0.0

    def __init__(self, context: Context, stream_id: int, delegate: WireDelegate) -> None:
        super().__init__(context, stream_id)
        self.delegate = delegate
        self.buffer = RequestBuffer(stream_id, delegate)

    @cached_property
    def layer(self) -> LayerOfStreams:
        """Return the layer of the client connection."""
        return self.context.layers[self.context.layers.index(self) - 1]  # type: ignore[return-value]  # made by it

    # Events.

    def handle_event(self, event: events.Event) -> CommandGenerator[None]:
        """Handle an event, or queue it while a hook or a connection is waited for."""
        if self.takeover is not None and self.takeover.is_open and self._paused is not None:
            # Its bytes come although the request is complete. Other clients of HTTP/1.1 are not read by then.
            if isinstance(event, RequestData):
                self.takeover.hold(event.data)
                return iter(())  # type: ignore[return-value]  # nothing is to be done
            event = as_disconnection(event)
        if self.failed_attempt is not None and isinstance(event, RequestProtocolError):
            # The error is queued until the hook has ended. The hook learns at once that it need not wait.
            self.failed_attempt.client_left.set()
        return super().handle_event(event)

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, (Tick, UpstreamWindowChanged, events.Wakeup)):
            yield from self.handle_signal(event)
            return
        if type(event) is ResponseTrailers:
            return  # no addon uses them, and they could carry what a head may not
        if self.takeover is not None and self.takeover.is_open:
            event = as_disconnection(event)
            if isinstance(event, RequestData):
                yield from self.takeover.receive(event.data)
                return
        if type(event) is RequestData:
            self.rate_bytes += len(event.data)
        elif type(event) is RequestHeaders:
            self.rate_checked_at = time.monotonic()
        elif type(event) is ResponseHeaders:
            self.received_at = time.monotonic()
            # Even if a hook fails: a response is never buffered, nor kept on the flow.
            event.response.stream = True
        elif type(event) is ResponseData:
            self.received_at = time.monotonic()
            if not event.data:
                return  # an empty frame, which the stream's reader would take for the end
        try:
            # As HttpStream does, which asks for the kind of the event again.
            if type(event) in OF_REQUEST:
                yield from self.client_state(event)
            elif type(event) in OF_RESPONSE:
                yield from self.server_state(event)
            else:
                yield from super()._handle_event(event)
        except ResponseRefused as refused:
            yield from self.end_refused(refused)
        except RequestRefused as refused:
            yield from self.end_interrupted(refused.refusal)
        if (
            type(event) is RequestHeaders
            and self.flow.response is not None
            and self.client_state == self.state_consume_request_body
        ):
            yield from self.respond(self.flow.response)

    def handle_signal(self, event: Tick | UpstreamWindowChanged | events.Wakeup) -> CommandGenerator[None]:
        """Check limits, or send more of the request, whatever the state of the stream."""
        if isinstance(event, Tick):
            yield from self.on_tick()
        elif isinstance(event, UpstreamWindowChanged) or self.buffer.is_woken_by(event.command):
            yield from self.send_more()

    def on_tick(self) -> CommandGenerator[None]:
        """Check the time limits, and whether the agent was revoked."""
        now = time.monotonic()
        yield from self.check_body_rate(now)
        if self.takeover is not None and self.takeover.awaits_client:
            yield from self.takeover.on_tick(now)
            return
        if not self.sent_at:
            return
        limits = self.delegate.limits_of(self.flow)
        if revoked := self.delegate.refusal_if_revoked(self.flow):
            yield from self.end_interrupted(revoked)
            return
        if self.buffer.is_sending:
            yield from self.send_more()
        if self.server_state == self.state_drain:
            if now - self.drain_started_at > DRAINING_SECONDS:
                yield from self.abandon_drain()
        elif self.server_state == self.state_wait_for_response_headers:
            if self.reuses_connection and now - self.sent_at > CROSSING_SECONDS:
                self.reuses_connection = False
                self.delegate.release_body(self.flow)
            if limits.total and now - self.attempt_started_at > limits.total:
                yield from self.time_out_attempt(call_too_slow(limits.total))
            elif (self.client_state == self.state_done or self.is_two_way) and now - self.sent_at > limits.first_byte:
                yield from self.time_out_attempt(provider_too_slow("timeouts.first_byte", limits.first_byte))
        elif self.server_state == self.state_hold_response:
            if now - self.received_at > limits.idle:
                yield from self.refuse_held(provider_too_slow("timeouts.idle", limits.idle), Outcome.TIMEOUT)
            elif limits.total and now - self.attempt_started_at > limits.total:
                yield from self.refuse_held(call_too_slow(limits.total), Outcome.TIMEOUT)
        elif self.is_response_streaming:
            if now - self.received_at > limits.idle:
                yield from self.end_response(provider_too_slow("timeouts.idle", limits.idle))
            elif limits.total and now - self.attempt_started_at > limits.total:
                yield from self.end_response(call_too_slow(limits.total))

    @property
    def is_receiving_body(self) -> bool:
        """Return whether the client has not sent the whole request."""
        receiving = (self.state_consume_request_body, self.state_discard_request, self.state_stream_request_body)
        return self.client_state in receiving

    @property
    def awaits_client(self) -> bool:
        """Return whether the client's side is taken over, and the request waits for more of it."""
        return self.takeover is not None and self.takeover.awaits_client

    @property
    def is_streaming_request(self) -> bool:
        """Return whether the request is sent as it arrives."""
        return bool(self.client_state == self.state_stream_request_body)

    @property
    def is_response_streaming(self) -> bool:
        """Return whether the client has the head of a response, but not all of its body."""
        return self.server_state in (self.state_stream_response_body, self.state_consume_response_body)

    def end_by_client(self) -> CommandGenerator[None]:
        """End the call, as the client has closed its side before the provider's was opened."""
        yield from self._handle_event(RequestEndOfMessage(self.stream_id))

    # The request, from the client.

    def handle_connect(self) -> CommandGenerator[None]:
        """Open a tunnel, or refuse to open one inside another."""
        if self.mode is HTTPMode.regular:
            yield from super().handle_connect()
        else:
            self.client_state = self.state_done
            yield from self.refuse(Refusal(405, "method_not_allowed", "CONNECT inside a tunnel is not allowed."))
            yield commands.CloseConnection(self.context.client)

    def check_invalid(self, request: bool) -> CommandGenerator[bool]:
        """Report a malformed request to the delegate, which refuses it in the requestheaders hook."""
        if request:
            reason = validate_request(self.mode, self.flow.request, True)
            if reason:
                self.delegate.refuse_malformed(self.flow, protocol_errors.without_quotes(reason))
            return False
        return (yield from super().check_invalid(request))

    def state_consume_request_body(self, event: events.Event) -> CommandGenerator[None]:
        """Buffer the request. Send it when it is complete, unless an addon has responded."""
        if isinstance(event, RequestData):
            try:
                self.buffer.append(self.flow, event.data)
            except Exception as error:
                yield from self.refuse_body(error)
        elif isinstance(event, RequestEndOfMessage):
            if self.flow.response is None:
                self.takeover = self.delegate.takeover(self.flow, self)
            if self.takeover is None or not (yield from self.takeover.begin()):
                yield from self.complete_request()

    def complete_request(self) -> CommandGenerator[None]:
        """Send a request that was read whole, unless an addon responds."""
        self.client_state = self.state_done
        self.flow.request.timestamp_end = time.time()
        try:
            self.delegate.store_body(self.flow, self.buffer.finish())
        except Exception as error:
            yield from self.refuse_body(error)
            return
        yield HttpRequestHook(self.flow)
        if (yield from self.check_killed(True)):
            return
        if self.flow.response:
            yield from self.respond(self.flow.response)
        else:
            yield from self.send_request()

    def start_request_stream(self) -> CommandGenerator[None]:
        """Send the head of a request whose body is streamed."""
        if self.flow.response:
            yield from self.respond(self.flow.response)
        elif (yield from self.make_server_connection()):
            assert self.wire_head
            self.is_two_way = self.delegate.is_two_way(self.flow)
            yield SendHttp(RequestHeaders(self.stream_id, self.wire_head, end_stream=False), self.context.server)
            self.client_state = self.state_stream_request_body

    def state_stream_request_body(self, event: events.Event) -> CommandGenerator[None]:
        """Send a part of a request whose body is streamed. Raises RequestRefused if it may not be sent."""
        if self.is_two_way and isinstance(event, (RequestData, RequestEndOfMessage)):
            self.received_at = time.monotonic()
            data = event.data if isinstance(event, RequestData) else b""
            if data or isinstance(event, RequestEndOfMessage):
                for part in self.delegate.request_parts(self.flow, data):
                    if isinstance(part, bytes):
                        yield SendHttp(RequestData(self.stream_id, part), self.context.server)
                    else:
                        yield part
            if isinstance(event, RequestData):
                return
        yield from super().state_stream_request_body(event)

    def state_discard_request(self, event: events.Event) -> CommandGenerator[None]:
        """Read and drop the rest of a request whose response was sent, so that the connection can be reused."""
        if isinstance(event, RequestData):
            self.discarded_bytes += len(event.data)
            if self.discarded_bytes > MAX_DISCARDED_BYTES:
                self.client_state = self.state_errored
                yield commands.CloseConnection(self.context.client)
        elif isinstance(event, RequestEndOfMessage):
            self.client_state = self.state_done
            if self.server_state == self.state_done:
                yield from self.flow_done()

    def refuse_body(self, error: Exception) -> CommandGenerator[None]:
        """Refuse a request whose body is too long, or could not be kept."""
        self.discard_body()
        self.delegate.report_end(self.flow, Outcome.DENIED)
        if not isinstance(error, Refusal):
            logger.error("a request body could not be kept: %s", safe_traceback(error))
        forget_frames(error)
        yield from self.refuse(error if isinstance(error, Refusal) else INTERNAL_ERROR)

    def check_body_rate(self, now: float) -> CommandGenerator[None]:
        """End a request whose body comes too slowly, unless it waits for the provider."""
        limits = self.delegate.limits
        if self.is_two_way or not self.is_receiving_body or now - self.rate_checked_at < limits.body:
            return
        is_slow = self.rate_bytes < BODY_RATE * limits.body
        self.rate_checked_at, self.rate_bytes = now, 0
        if not is_slow or unwritten_bytes(self.context.client, self.context.server):
            return
        was_read = self.client_state == self.state_consume_request_body
        if was_read:
            yield from self.refuse_body(body_too_slow(limits.body))
        if not (was_read and self.flow.request.is_http2):  # other streams of an HTTP/2 connection continue
            yield commands.CloseConnection(self.context.client)

    def discard_body(self) -> None:
        """Release the request body, whether it is being received or sent."""
        if self.buffer.is_sending:
            self.layer.sending_streams.discard(self)
        self.buffer.discard()

    # The request, to the provider.

    def send_request(self, *, force_new: bool = False) -> CommandGenerator[None]:
        """Send a buffered request. `force_new`: on a new connection."""
        self.is_buffered = True
        if not (yield from self.make_server_connection(force_new=force_new)):
            return
        assert self.wire_head
        body, self.wire_body = self.wire_body, b""
        if self.takeover is not None:
            body = self.takeover.prepare(body)
        yield SendHttp(RequestHeaders(self.stream_id, self.wire_head, not body), self.context.server)
        if isinstance(body, bytes):
            yield from self.buffer.send_all(body, self.context.server)
        else:
            self.buffer.start_sending(body)
            self.layer.sending_streams.add(self)
            yield from self.send_more()

    def send_more(self) -> CommandGenerator[None]:
        """Send the next part of a spooled body if the connection and the provider's window have room for it."""
        if not self.buffer.can_send_more or self.layer.is_window_closed(self):
            return
        self.sent_at = time.monotonic()
        yield from self.buffer.send_more(self.context.server)
        if not self.buffer.is_sending:
            self.layer.sending_streams.discard(self)

    def make_server_connection(self, *, force_new: bool = False) -> CommandGenerator[bool]:
        """Connect to the upstream, or to the next one in the call's plan, and prepare the request for it.

        Returns False if that failed and the client has its response.
        """
        while True:
            self.delegate.count_attempt(self.flow)
            self.attempt_started_at = time.monotonic()
            request = self.flow.request
            command = GetUpstreamConnection(
                (request.host, request.port),
                request.scheme == "https",
                self.flow.server_conn.via,
                self.flow.server_conn.transport_protocol,
            )
            command.force_new = force_new
            command.limit = self.delegate.limits_of(self.flow).connect
            connection, error = yield command
            if (yield from self.check_killed(True)):
                return False  # the client has disconnected
            if not error:
                break
            refusal = connect_refusal(error, command)
            retried = refusal.fault is Fault.PROVIDER and (yield from self.retry(FailureKind.CONNECT))
            if not retried:
                yield from self.refuse(refusal)
                return False
        self.context.server = self.flow.server_conn = connection
        detach_stream(self.layer.connections[connection], self.stream_id)
        pooled = pooled_connections.get(connection)
        self.reuses_connection = pooled.start_request() if pooled else False
        # On these connections a request may end without a response because the provider did not process it.
        over_http2 = isinstance(self.layer.http_layer_of(connection), Http2Client)
        keep = self.is_buffered and (self.reuses_connection or over_http2)
        try:
            self.wire_head, self.wire_body = self.delegate.wire_request(self.flow, connection, keep=keep)
        except Refusal as refusal:
            forget_frames(refusal)
            yield from self.refuse(refusal)
            return False
        except Exception as error:
            logger.error("the request could not be put on the wire: %s", safe_traceback(error))  # noqa: TRY400  # see there
            yield from self.refuse(CANNOT_SEND)
            return False
        self.sent_at = self.received_at = time.monotonic()
        self.server_state = self.state_wait_for_response_headers
        return True

    def cancel_upstream(self, reason: str) -> CommandGenerator[None]:
        """Cancel the running attempt. Bytes that its connection still receives are dropped."""
        self.discard_body()
        yield SendHttp(RequestProtocolError(self.stream_id, reason, ErrorCode.CANCEL), self.context.server)
        if connection := self.layer.connections.get(self.context.server):
            detach_stream(connection, self.stream_id)
        # Events that were queued while a hook was running belong to the cancelled attempt, too.
        kept = [event for event in self._paused_event_queue if not isinstance(event, RESPONSE_EVENTS)]
        self._paused_event_queue.clear()
        self._paused_event_queue.extend(kept)
        self.server_state = self.state_errored

    # Retries.

    @property
    def is_resendable(self) -> bool:
        """Return whether the request was buffered, and is complete."""
        return self.is_buffered and self.client_state == self.state_done

    def retry(self, kind: FailureKind, response: http.Response | None = None) -> CommandGenerator[bool]:
        """Return whether the call is retried after a failure, by the plan of the call."""
        if not self.is_resendable or not self.delegate.can_retry(self.flow):
            return False
        return (yield from self.run_hook(AttemptFailedHook(FailedAttempt(self.flow, kind, response))))

    def retry_on_new_connection(self) -> CommandGenerator[bool]:
        """Return whether a request is sent again, once, because the reused connection ended without a response.

        The provider had most likely closed the connection before the request arrived.
        """
        if not (self.is_resendable and self.reuses_connection and not self.retried_on_new_connection):
            return False
        if not self.delegate.may_be_resent(self.flow):
            return False
        self.retried_on_new_connection = True
        return (yield from self.run_hook(AttemptRepeatedHook(FailedAttempt(self.flow, FailureKind.STALE))))

    def resend_unprocessed(self) -> CommandGenerator[bool]:
        """Return whether a request that the provider did not process is sent again, whatever its method."""
        if not self.is_resendable or self.unprocessed_count >= MAX_UNPROCESSED:
            return False
        self.unprocessed_count += 1
        return (yield from self.run_hook(AttemptRepeatedHook(FailedAttempt(self.flow, FailureKind.UNPROCESSED))))

    def run_hook(self, hook: AttemptFailedHook | AttemptRepeatedHook) -> CommandGenerator[bool]:
        """Return whether the addons allow another attempt. Events of the last attempt are ignored from now on."""
        self.failed_attempt = hook.attempt
        self.server_state = self.state_ignore
        yield hook
        self.failed_attempt = None
        if (yield from self.check_killed(True)):
            return False
        self.read_drained = hook.attempt.read_body
        return hook.attempt.retry

    def state_ignore(self, event: events.Event) -> CommandGenerator[None]:
        """Drop what is received of a failed attempt."""
        yield from ()

    def state_drain(self, event: events.Event) -> CommandGenerator[None]:
        """Read and drop the response of a failed attempt, then send the request again."""
        if isinstance(event, ResponseData):
            self.drained_bytes += len(event.data)
            self.show_drained(event.data)
            if self.drained_bytes > MAX_DRAINED_BYTES:
                yield from self.abandon_drain()
        elif isinstance(event, ResponseEndOfMessage):
            self.show_drained(b"")
            yield from self.send_request()

    def show_drained(self, data: bytes) -> None:
        """Show an addon a part of the response that is dropped, or its end: b""."""
        if self.read_drained is None:
            return
        try:
            self.read_drained(data)
        except Exception as error:
            logger.error("the response of a failed attempt passes unread: %s", safe_traceback(error))  # noqa: TRY400  # see there
            self.read_drained = None

    def abandon_drain(self) -> CommandGenerator[None]:
        """Close the connection of a failed attempt, and send the request again."""
        yield from self.cancel_upstream("the request is sent again")
        yield from self.send_request()

    # The provider's response.

    def state_wait_for_response_headers(self, event: ResponseHeaders) -> CommandGenerator[None]:
        """Begin to stream a response, or retry if it reports a failure."""
        response = event.response
        if refusal := self.delegate.refusal_of_response(self.flow, response):
            yield from self.cancel_upstream("the response was refused")
            yield from self.refuse(refusal)
            return
        if self.takeover is not None:
            if response.status_code == SWITCHING_PROTOCOLS:
                yield from self.takeover.accept(response)
                return
            response.headers["connection"] = "close"  # what the client has sent already would be read as a request
        if self.delegate.is_retryable_status(response.status_code):
            if (yield from self.retry(FailureKind.STATUS, response)):
                self.server_state, self.drained_bytes = self.state_drain, 0
                self.drain_started_at = time.monotonic()
                if not self.layer.is_request_sent(self):
                    # No other request can follow half of one on the same connection.
                    yield from self.abandon_drain()
                return
            if self.client_state == self.state_errored:
                return
            self.server_state = self.state_wait_for_response_headers
        if self.takeover is not None and self.takeover.is_open:
            yield from self.takeover.end_unopened(response)
            return
        yield from super().state_wait_for_response_headers(event)

    def hand_over(self, layer: Layer) -> None:
        """Pass the events of this stream to a layer from now on."""
        self.child_layer = layer
        self._handle_event = self.passthrough  # type: ignore[method-assign]  # as mitmproxy does

    def start_response_stream(self) -> CommandGenerator[None]:
        """Send the head of a response, unless it waits for the body, or an addon keeps it from the client."""
        refusal = self.delegate.refusal_of_hooks(self.flow)
        if refusal is not None:
            yield from self.cancel_upstream("the response was refused")
            yield from self.refuse(refusal)
            return
        if self.delegate.holds_response(self.flow):
            self.server_state = self.state_hold_response
            return
        yield from super().start_response_stream()

    def state_consume_response_body(self, event: events.Event) -> CommandGenerator[None]:
        """End a response without a body."""
        if self.delegate.holds_response(self.flow):
            yield from self.state_hold_response(event)
            return
        yield from super().state_consume_response_body(event)

    def state_hold_response(self, event: events.Event) -> CommandGenerator[None]:
        """Read a whole response, which then sets its own head, and send it."""
        assert self.flow.response
        if isinstance(event, ResponseData):
            self.tapped(event.data)
        elif isinstance(event, ResponseEndOfMessage):
            if self.delegate.holds_large_response(self.flow):
                yield HeldResponseHook(self.flow)
                if (yield from self.check_killed(True)):
                    return
            body = b"".join(self.tapped(b""))
            yield SendHttp(ResponseHeaders(self.stream_id, self.flow.response), self.context.client)
            yield SendHttp(ResponseData(self.stream_id, body), self.context.client)
            yield from self.send_response(already_streamed=True)

    def state_stream_response_body(self, event: events.Event) -> CommandGenerator[None]:
        """Pass a part of a response through its tap to the client."""
        if isinstance(event, ResponseData):
            for piece in self.tapped(event.data):
                yield SendHttp(ResponseData(self.stream_id, piece), self.context.client)
        elif isinstance(event, ResponseEndOfMessage):
            for piece in self.tapped(b""):
                yield SendHttp(ResponseData(self.stream_id, piece), self.context.client)
            yield from self.send_response(already_streamed=True)

    def tapped(self, data: bytes) -> list[bytes]:
        """Return what the client gets of a part of a response, or of its end: b"". Raises ResponseRefused."""
        assert self.flow.response
        tap = self.flow.response.stream
        if not callable(tap):
            return [data] if data else []
        pieces = tap(data)
        if isinstance(pieces, bytes):
            # mitmproxy allows bytes. At the end, b"" stands for nothing.
            return [pieces] if pieces or data else []
        return list(pieces)

    def end_refused(self, refused: ResponseRefused) -> CommandGenerator[None]:
        """End a response whose tap has refused the rest."""
        if self.server_state == self.state_hold_response:
            yield from self.refuse_held(refused.refusal, refused.outcome)
            return
        for piece in refused.passed:
            yield SendHttp(ResponseData(self.stream_id, piece), self.context.client)
        yield from self.end_response(refused.refusal, refused.outcome)

    def check_body_size(self, request: bool) -> CommandGenerator[bool]:  # mitmproxy's
        """Return False: mitmproxy's limits are not used, and looking them up takes longer than the rest."""
        yield from ()
        return False

    def send_response(self, already_streamed: bool = False) -> CommandGenerator[None]:
        """Send a response that was not streamed, and end it."""
        yield from super().send_response(already_streamed)
        if self.server_state == self.state_done and self.client_state == self.state_stream_request_body:
            # The provider responded before it had the whole request. Bytes that the client still sends are dropped.
            yield from self.cancel_upstream("the provider responded early")
            self.server_state, self.client_state = self.state_done, self.state_discard_request
            yield from self.end_early()
        elif (
            self.server_state == self.state_done
            and self.client_state == self.state_discard_request
            and self.flow.request.is_http2
            and not self.ended_early
        ):
            # Wirekey responded itself. A client that streams in both directions reads to the end before it stops.
            yield from self.end_early()

    def end_early(self) -> CommandGenerator[None]:
        """End a response before the request has ended."""
        self.ended_early = True
        yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)

    def flow_done(self) -> CommandGenerator[None]:
        """End the stream, once both the request and the response have ended."""
        if self.ended_early:
            self.flow.live = False
            yield DropStream(self.stream_id)
            return
        if self.buffer.is_sending:
            # The provider responded early. No other request can follow half of one on the same connection.
            yield from self.cancel_upstream("the provider responded early")
            self.server_state = self.state_done
        yield from super().flow_done()

    # Failures.

    def check_killed(self, emit_error_hook: bool) -> CommandGenerator[bool]:
        """Return whether the client has disconnected or an addon has killed the flow."""
        for event in self._paused_event_queue:
            if isinstance(event, RequestProtocolError):
                protocol_errors.redact(event)
        return (yield from super().check_killed(emit_error_hook))

    def handle_protocol_error(self, event: RequestProtocolError | ResponseProtocolError) -> CommandGenerator[None]:
        """Handle the end of a connection, or what is not HTTP: retry, or end the call with an error."""
        is_over = self.server_state in (self.state_done, self.state_errored)
        message = event.message
        if protocol_errors.CLIENT_RESET in message and self.client_state == self.state_consume_request_body:
            self.delegate.report_request_reset(self.flow)
        protocol_errors.redact(event)
        self.discard_body()
        if isinstance(event, RequestProtocolError):
            if not is_over:
                reason = self.takeover.reason_if_left if self.takeover is not None else None
                self.delegate.report_end(self.flow, Outcome.CLIENT_CANCELLED, reason)
        elif not is_over and self.client_state != self.state_errored and not self.flow.error:
            if self.server_state == self.state_drain:
                yield from self.send_request()
                return
            if self.server_state == self.state_wait_for_response_headers:
                yield from self.handle_missing_response(message)
                return
            if self.server_state == self.state_hold_response:
                yield from self.refuse_held(UPSTREAM_RESET, Outcome.UPSTREAM_RESET)
                return
            self.delegate.report_end(self.flow, Outcome.UPSTREAM_RESET)
        yield from super().handle_protocol_error(event)
        if self.takeover is not None and self.takeover.is_open and isinstance(event, RequestProtocolError):
            # The client's side is not closed by its HTTP layer.
            yield SendHttp(
                ResponseProtocolError(self.stream_id, "EOF", ErrorCode.PASSTHROUGH_CLOSE), self.context.client
            )

    def handle_missing_response(self, message: str) -> CommandGenerator[None]:
        """Retry after a connection failed before the head of a response, or refuse. `message`: mitmproxy's."""
        is_unprocessed = message == UNPROCESSED
        if protocol_errors.CLOSED_BEFORE_RESPONSE in message.lower() and (yield from self.retry_on_new_connection()):
            yield from self.send_request(force_new=True)
            return
        if is_unprocessed and (yield from self.resend_unprocessed()):
            yield from self.send_request()
            return
        if self.client_state == self.state_errored:
            return
        if (yield from self.retry(FailureKind.RESET)):
            yield from self.send_request()
            return
        if self.client_state == self.state_errored:
            return
        was_reset = is_unprocessed or any(words in message.lower() for words in protocol_errors.CONNECTION_ENDED)
        self.delegate.report_end(self.flow, Outcome.UPSTREAM_RESET if was_reset else Outcome.UPSTREAM_ERROR)
        yield from self.refuse(UPSTREAM_RESET if was_reset else UPSTREAM_UNREADABLE)

    def time_out_attempt(self, refusal: Refusal) -> CommandGenerator[None]:
        """Cancel an attempt that has no response in time, and retry or refuse."""
        yield from self.cancel_upstream("the response timed out")
        if (yield from self.retry(FailureKind.FIRST_BYTE)):
            yield from self.send_request()
            return
        self.delegate.report_end(self.flow, Outcome.TIMEOUT)
        yield from self.refuse(refusal)

    def end_interrupted(self, refusal: Refusal) -> CommandGenerator[None]:
        """End a call that may not continue, whatever its state: its agent was revoked, or an event does not verify."""
        if self.server_state == self.state_hold_response:
            yield from self.refuse_held(refusal, Outcome.INTERRUPTED)
        elif self.is_response_streaming:
            yield from self.end_response(refusal, Outcome.INTERRUPTED)
        elif self.server_state in (self.state_wait_for_response_headers, self.state_drain):
            self.delegate.report_end(self.flow, Outcome.INTERRUPTED, refusal.code)
            yield from self.cancel_upstream("the call may not continue")
            yield from self.refuse(refusal)

    # Responses of our own.

    def refuse(self, refusal: Refusal) -> CommandGenerator[None]:
        """Respond with an error in the provider's format, unless the client has disconnected."""
        if self.client_state == self.state_errored:
            return
        self.server_state = self.state_errored
        yield from self.respond(self.delegate.error_response(self.flow, refusal))

    def refuse_held(self, refusal: Refusal, outcome: Outcome) -> CommandGenerator[None]:
        """Refuse a call whose response began at the provider, and has not reached the client."""
        self.delegate.report_end(self.flow, outcome, refusal.code)
        yield from self.cancel_upstream("the response was refused")
        yield from self.refuse(refusal)

    def respond(self, response: http.Response) -> CommandGenerator[None]:
        """Send a response that Wirekey made. The rest of the request is dropped as it arrives."""
        if self.takeover is not None and self.takeover.is_open:
            yield from self.takeover.close(response)
            return
        self.flow.response = response
        response.timestamp_start = response.timestamp_start or time.time()
        if self.client_state not in (self.state_done, self.state_errored):
            self.client_state = self.state_discard_request
        yield HttpResponseHeadersHook(self.flow)
        if (yield from self.check_killed(True)):
            return
        body = self.delegate.local_response_body(self.flow)
        if body:
            head = self.delegate.response_head(self.flow, response)
            yield SendHttp(ResponseHeaders(self.stream_id, head), self.context.client)
            yield SendHttp(ResponseData(self.stream_id, body), self.context.client)
        yield from self.send_response(already_streamed=bool(body))

    def end_response(self, refusal: Refusal, outcome: Outcome = Outcome.TIMEOUT) -> CommandGenerator[None]:
        """End a response that has begun, with an error in its format if that has one."""
        self.delegate.report_end(self.flow, outcome, refusal.code)
        yield from self.cancel_upstream("the response was ended")
        error = self.delegate.stream_error(self.flow, refusal)
        if error is None:
            # mitmproxy runs the error hook, and with it the audit, only in this state.
            self.server_state = self.state_stream_response_body
            yield from super().handle_protocol_error(
                ResponseProtocolError(self.stream_id, refusal.message, ErrorCode.GENERIC_SERVER_ERROR)
            )
            return
        yield SendHttp(ResponseData(self.stream_id, error), self.context.client)
        yield from self.send_response(already_streamed=True)
