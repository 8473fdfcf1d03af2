"""The request to the provider, once or again, and the answers that we give ourselves."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.http import (
    Http2Client,
    HttpResponseHeadersHook,
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
)
from mitmproxy.proxy.layers.http._events import ErrorCode

from wirekey.errors import Fault, Refusal
from wirekey.routing.plan import FailureKind
from wirekey.tracebacks import safe_traceback
from wirekey.wire.attempts import AttemptFailedHook, AttemptRepeatedHook, FailedAttempt, detach
from wirekey.wire.body_stream import BodyStream
from wirekey.wire.dialling import UpstreamConnection, refusal_of
from wirekey.wire.pooled_connection import links

if TYPE_CHECKING:
    from mitmproxy import http
    from mitmproxy.proxy.layer import CommandGenerator

    from wirekey.wire.request_body import RequestBody

logger = logging.getLogger(__name__)

DISCARDED_BODY_CAP = 256 * 1024 * 1024
"""Bytes of a refused request's body that are read and dropped, so that the client can read the refusal."""
DRAINED_ANSWER_CAP = 64 * 1024
"""Bytes of an error answer that are read and dropped, so that its connection can be used again."""
DRAINING_SECONDS = 2.0
"""After them the connection is closed, so that the next attempt need not wait."""

MOST_TIMES_ANEW = 3

ANSWERING = (ResponseHeaders, ResponseData, ResponseTrailers, ResponseEndOfMessage, ResponseProtocolError)

CANNOT_SEND = Refusal(503, "wirekey_error", "Wirekey could not prepare the request for the provider.", Fault.WIREKEY)


class SendingStream(BodyStream):
    wire_head: http.Request | None = None
    wire_body: RequestBody = b""
    is_whole = False
    """Whether the request went out as one that can be sent again."""
    failed: FailedAttempt | None = None
    """The attempt about which the addons are being asked."""
    begun_at = 0.0
    """When the present attempt began."""
    was_used = False
    """Whether an earlier request went over this connection, so that its end may have crossed with ours."""
    went_fresh = False
    times_anew = 0
    """How often the provider did not begin with the request."""
    discarded = 0
    drained = 0
    drain_began = 0.0
    heard_at = 0.0

    # The request, to the provider.

    def send_request(self, *, fresh: bool = False) -> CommandGenerator[None]:
        """Send a request that is there as a whole."""
        self.is_whole = True
        if not (yield from self.make_server_connection(fresh=fresh)):
            return
        assert self.wire_head
        body, self.wire_body = self.wire_body, b""
        yield SendHttp(RequestHeaders(self.stream_id, self.wire_head, not body), self.context.server)
        yield from self.send_body(body)

    def make_server_connection(self, *, fresh: bool = False) -> CommandGenerator[bool]:
        """Connect to the upstream, or to the next that the plan of the call has. False: the call has its answer."""
        while True:
            self.delegate.count_attempt(self.flow)
            self.begun_at = time.monotonic()
            request = self.flow.request
            command = UpstreamConnection(
                (request.host, request.port),
                request.scheme == "https",
                self.flow.server_conn.via,
                self.flow.server_conn.transport_protocol,
            )
            command.fresh = fresh
            command.limit = self.delegate.limits_of(self.flow).connect
            connection, error = yield command
            if (yield from self.check_killed(True)):
                return False  # the client has left meanwhile: nothing is sent, and nobody has failed
            if not error:
                break
            refusal = refusal_of(error, command)
            retried = refusal.fault is Fault.PROVIDER and (yield from self.retry(FailureKind.CONNECT))
            if not retried:
                yield from self.refuse(refusal)
                return False
        self.context.server = self.flow.server_conn = connection
        detach(self.layer.connections[connection], self.stream_id)
        link = links.get(connection)
        self.was_used = link.use() if link else False
        # On these connections the provider may not have begun with a request that it does not answer.
        over_http2 = isinstance(self.layer.innermost(connection), Http2Client)
        keep = self.is_whole and (self.was_used or over_http2)
        try:
            self.wire_head, self.wire_body = self.delegate.wire_request(self.flow, connection, keep=keep)
        except Refusal as refusal:
            yield from self.refuse(refusal)
            return False
        except Exception as error:
            logger.error("the request could not be put on the wire: %s", safe_traceback(error))  # noqa: TRY400  # see there
            yield from self.refuse(CANNOT_SEND)
            return False
        self.sent_at = self.heard_at = time.monotonic()
        self.server_state = self.state_wait_for_response_headers
        return True

    # Once more.

    def handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if self.failed is not None and isinstance(event, RequestProtocolError):
            # It waits in a queue until the hook is over, which need not wait any longer.
            self.failed.client_left.set()
        return super().handle_event(event)

    def retry(self, kind: FailureKind, answer: http.Response | None = None) -> CommandGenerator[bool]:
        """Ask whether the call goes out once more. Only what is there as a whole can be sent again."""
        if not self.is_whole or self.client_state != self.state_done or not self.delegate.can_retry(self.flow):
            return False
        return (yield from self.asked(AttemptFailedHook(FailedAttempt(self.flow, kind, answer))))

    def asked(self, hook: AttemptFailedHook | AttemptRepeatedHook) -> CommandGenerator[bool]:
        """Ask the addons about another attempt; meanwhile nothing of the last one is wanted."""
        self.failed = hook.attempt
        self.server_state = self.state_ignore
        yield hook
        self.failed = None
        if (yield from self.check_killed(True)):
            return False
        return hook.attempt.again

    def retry_on_new_connection(self) -> CommandGenerator[bool]:
        """Tell whether a request that met the end of a used connection goes out once on a new one.

        No provider answers so; it had closed the connection before the request came.
        """
        whole = self.is_whole and self.client_state == self.state_done
        if not (whole and self.was_used and not self.went_fresh and self.delegate.may_be_resent(self.flow)):
            return False
        self.went_fresh = True
        return (yield from self.asked(AttemptRepeatedHook(FailedAttempt(self.flow, FailureKind.STALE))))

    def resend(self) -> CommandGenerator[bool]:
        """Tell whether a request goes out anew with which the provider did not begin, whatever it asks for."""
        if not self.is_whole or self.client_state != self.state_done or self.times_anew >= MOST_TIMES_ANEW:
            return False
        self.times_anew += 1
        return (yield from self.asked(AttemptRepeatedHook(FailedAttempt(self.flow, FailureKind.UNPROCESSED))))

    def state_wait_for_response_headers(self, event: ResponseHeaders) -> CommandGenerator[None]:
        answer = event.response
        if self.delegate.is_failure(answer.status_code):
            if (yield from self.retry(FailureKind.STATUS, answer)):
                self.server_state, self.drained, self.drain_began = self.state_drain, 0, time.monotonic()
                if not self.layer.is_sent(self):
                    # Answered early: on a connection with half of a request no other can follow.
                    yield from self.abandon_drain()
                return
            if self.client_state == self.state_errored:
                return
            self.server_state = self.state_wait_for_response_headers
        yield from super().state_wait_for_response_headers(event)

    def state_drain(self, event: events.Event) -> CommandGenerator[None]:
        """Read and drop the answer of a failed attempt, then send the request again."""
        if isinstance(event, ResponseData):
            self.drained += len(event.data)
            if self.drained > DRAINED_ANSWER_CAP:
                yield from self.abandon_drain()
        elif isinstance(event, ResponseEndOfMessage):
            yield from self.send_request()

    def abandon_drain(self) -> CommandGenerator[None]:
        yield from self.cancel_upstream("the rest of this error is not wanted")
        yield from self.send_request()

    def state_ignore(self, event: events.Event) -> CommandGenerator[None]:
        """Take nothing in: of the attempt that failed, nothing more is wanted."""
        yield from ()

    def cancel_upstream(self, reason: str) -> CommandGenerator[None]:
        """Drop the running attempt; what its connection still says reaches no one."""
        self.drop_body()
        yield SendHttp(RequestProtocolError(self.stream_id, reason, ErrorCode.CANCEL), self.context.server)
        if connection := self.layer.connections.get(self.context.server):
            detach(connection, self.stream_id)
        # What came while a hook was waited for is not of the next attempt either.
        kept = [event for event in self._paused_event_queue if not isinstance(event, ANSWERING)]
        self._paused_event_queue.clear()
        self._paused_event_queue.extend(kept)
        self.server_state = self.state_errored

    # Answers of our own.

    def refuse(self, refusal: Refusal) -> CommandGenerator[None]:
        if self.client_state == self.state_errored:
            return  # the client has gone
        self.server_state = self.state_errored
        yield from self.answer(self.delegate.error_response(self.flow, refusal))

    def answer(self, response: http.Response) -> CommandGenerator[None]:
        """Send an answer made here; what still arrives of the request is read and dropped."""
        self.flow.response = response
        response.timestamp_start = response.timestamp_start or time.time()
        if self.client_state not in (self.state_done, self.state_errored):
            self.client_state = self.state_discard_request
        yield HttpResponseHeadersHook(self.flow)
        if (yield from self.check_killed(True)):
            return
        body = self.delegate.own_body(self.flow)
        if body:
            yield SendHttp(ResponseHeaders(self.stream_id, response), self.context.client)
            yield SendHttp(ResponseData(self.stream_id, body), self.context.client)
        yield from self.send_response(already_streamed=bool(body))

    def state_discard_request(self, event: events.Event) -> CommandGenerator[None]:
        """Read the rest of a request that has its answer already, so that the connection can go on."""
        if isinstance(event, RequestData):
            self.discarded += len(event.data)
            if self.discarded > DISCARDED_BODY_CAP:
                self.client_state = self.state_errored
                yield commands.CloseConnection(self.context.client)
        elif isinstance(event, RequestEndOfMessage):
            self.client_state = self.state_done
            if self.server_state == self.state_done:
                yield from self.flow_done()
