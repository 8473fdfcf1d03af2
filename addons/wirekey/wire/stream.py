"""One request and its answer: the body off the flow, the credential on the wire, time limits, JSON errors."""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING

from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.http import (
    DropStream,
    HTTPMode,
    HttpRequestHook,
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

from wirekey.call import Outcome
from wirekey.errors import INTERNAL_ERROR, Fault, Refusal
from wirekey.routing.plan import FailureKind
from wirekey.tracebacks import safe_traceback
from wirekey.wire.body_stream import RoomAgain
from wirekey.wire.connection import unwritten
from wirekey.wire.delegate import ResponseRefused
from wirekey.wire.going_away import UNPROCESSED
from wirekey.wire.sending import DRAINING_SECONDS, SendingStream

if TYPE_CHECKING:
    from mitmproxy.proxy.layer import CommandGenerator

logger = logging.getLogger(__name__)

CROSSING_SECONDS = 5.0
"""After them the end of a used connection did not cross with the request: the provider had it, and hung up."""


class Tick(HttpEvent):
    """Time passes; sent to each stream of a client connection by its layer."""


class WireStream(SendingStream):
    is_answered = False
    """Whether the client has the end of its answer before that of its request."""

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, Tick):
            yield from self.on_tick()
            return
        if isinstance(event, (events.Wakeup, RoomAgain)):
            yield from self.has_room(event.command) if isinstance(event, events.Wakeup) else self.send_on()
            return
        if isinstance(event, ResponseTrailers):
            return  # nobody here has a use for them, and they could say what no head may
        if isinstance(event, RequestData):
            self.arrived += len(event.data)
        elif isinstance(event, RequestHeaders):
            self.arriving_since = time.monotonic()
        elif isinstance(event, (ResponseHeaders, ResponseData)):
            self.heard_at = time.monotonic()
            if isinstance(event, ResponseData) and not event.data:
                return  # an empty frame; to the tap it would be the end
            if isinstance(event, ResponseHeaders):
                # Whatever becomes of the hooks: an answer is never read whole, nor kept on the flow.
                event.response.stream = True
        try:
            yield from super()._handle_event(event)
        except ResponseRefused as ended:
            yield from self.end_answer(ended.refusal, Outcome.UPSTREAM_ERROR)
        if (
            isinstance(event, RequestHeaders)
            and self.flow.response is not None
            and self.client_state == self.state_consume_request_body
        ):
            yield from self.answer(self.flow.response)

    # The request, from the client.

    arriving_since = 0.0
    """Since when the body's rate is measured."""
    arrived = 0
    """Bytes of the body that came since."""

    @property
    def receives_body(self) -> bool:
        receiving = (self.state_consume_request_body, self.state_discard_request, self.state_stream_request_body)
        return self.client_state in receiving

    def watch_rate(self, now: float) -> CommandGenerator[None]:
        """End a request whose body comes too slowly, unless it is the provider who is slow."""
        limits = self.delegate.limits
        if not self.receives_body or now - self.arriving_since < limits.body:
            return
        is_slow = self.arrived < limits.body_rate * limits.body
        self.arriving_since, self.arrived = now, 0
        if not is_slow or unwritten(self.context.client, self.context.server):
            return
        was_read = self.client_state == self.state_consume_request_body
        if was_read:
            yield from self.refuse_body(too_slow_body(limits.body_rate, limits.body))
        if not (was_read and self.flow.request.is_http2):  # whose other streams go on
            yield commands.CloseConnection(self.context.client)

    def handle_connect(self) -> CommandGenerator[None]:
        if self.mode is HTTPMode.regular:
            yield from super().handle_connect()
        else:
            self.client_state = self.state_done
            yield from self.refuse(Refusal(405, "method_not_allowed", "CONNECT inside a tunnel is not allowed."))
            yield commands.CloseConnection(self.context.client)

    def check_invalid(self, request: bool) -> CommandGenerator[bool]:
        if request:
            reason = validate_request(self.mode, self.flow.request, True)
            if reason:
                self.delegate.report_invalid(self.flow, without_quotes(reason))
            return False
        return (yield from super().check_invalid(request))

    def state_consume_request_body(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, RequestData):
            try:
                self.add_to_body(event.data)
            except Exception as error:
                yield from self.refuse_body(error)
        elif isinstance(event, RequestEndOfMessage):
            self.flow.request.timestamp_end = time.time()
            self.client_state = self.state_done
            try:
                self.delegate.keep_body(self.flow, self.take_body())
            except Exception as error:
                yield from self.refuse_body(error)
                return
            yield HttpRequestHook(self.flow)
            if (yield from self.check_killed(True)):
                return
            if self.flow.response:
                yield from self.answer(self.flow.response)
            else:
                yield from self.send_request()

    def refuse_body(self, error: Exception) -> CommandGenerator[None]:
        """Answer a request whose body is too long, or could not be kept."""
        self.drop_body()
        self.delegate.report_end(self.flow, Outcome.DENIED)
        if not isinstance(error, Refusal):
            logger.error("a request body could not be kept: %s", safe_traceback(error))
        yield from self.refuse(error if isinstance(error, Refusal) else INTERNAL_ERROR)

    def start_request_stream(self) -> CommandGenerator[None]:
        if self.flow.response:
            yield from self.answer(self.flow.response)
        elif (yield from self.make_server_connection()):
            assert self.wire_head
            yield SendHttp(RequestHeaders(self.stream_id, self.wire_head, end_stream=False), self.context.server)
            self.client_state = self.state_stream_request_body

    # The provider's answer, and its failures.

    def state_wait_for_response_headers(self, event: ResponseHeaders) -> CommandGenerator[None]:
        refusal = self.delegate.refusal_of_response(self.flow, event.response)
        if refusal is None:
            yield from super().state_wait_for_response_headers(event)
            return
        yield from self.cancel_upstream("this answer is not passed on")
        yield from self.refuse(refusal)

    def send_response(self, already_streamed: bool = False) -> CommandGenerator[None]:  # mitmproxy's
        yield from super().send_response(already_streamed)
        if self.server_state == self.state_done and self.client_state == self.state_stream_request_body:
            # Answered early. The client learns that this was all; what it still sends goes nowhere.
            yield from self.cancel_upstream("answered before all was sent")
            self.server_state, self.client_state = self.state_done, self.state_discard_request
            self.is_answered = True
            yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)

    def flow_done(self) -> CommandGenerator[None]:
        if self.is_answered:
            self.flow.live = False
            yield DropStream(self.stream_id)
            return
        if self.unsent is not None:
            # Answered early. A request that breaks off leaves a connection on which no other can follow.
            yield from self.cancel_upstream("answered before all was sent")
            self.server_state = self.state_done
        yield from super().flow_done()

    def check_killed(self, emit_error_hook: bool) -> CommandGenerator[bool]:
        for event in self._paused_event_queue:
            if isinstance(event, RequestProtocolError):
                redact_message(event)
        return (yield from super().check_killed(emit_error_hook))

    def handle_protocol_error(self, event: RequestProtocolError | ResponseProtocolError) -> CommandGenerator[None]:
        over = self.server_state in (self.state_done, self.state_errored)
        unheard = UNHEARD in event.message.lower()
        unprocessed = event.message == UNPROCESSED
        hung_up = unprocessed or any(word in event.message.lower() for word in HANGING_UP)
        if CLIENT_RESET in event.message and self.client_state == self.state_consume_request_body:
            self.delegate.withdraw(self.flow)
        redact_message(event)
        self.drop_body()
        if isinstance(event, RequestProtocolError):
            if not over:
                self.delegate.report_end(self.flow, Outcome.CLIENT_CANCELLED)
        elif not over and self.client_state != self.state_errored and not self.flow.error:
            if self.server_state == self.state_drain:
                yield from self.send_request()
                return
            early = self.server_state == self.state_wait_for_response_headers
            if early and unheard and (yield from self.retry_on_new_connection()):
                yield from self.send_request(fresh=True)
                return
            if early and unprocessed and (yield from self.resend()):
                yield from self.send_request()
                return
            if self.client_state == self.state_errored:
                return
            if early and (yield from self.retry(FailureKind.RESET)):
                yield from self.send_request()
                return
            if self.client_state == self.state_errored:
                return
            self.delegate.report_end(
                self.flow, Outcome.UPSTREAM_RESET if hung_up or not early else Outcome.UPSTREAM_ERROR
            )
            if early:
                yield from self.refuse(UPSTREAM_HUNG_UP if hung_up else UPSTREAM_UNREADABLE)
                return
        yield from super().handle_protocol_error(event)

    def on_tick(self) -> CommandGenerator[None]:
        now = time.monotonic()
        yield from self.watch_rate(now)
        if not self.sent_at:
            return
        limits = self.delegate.limits_of(self.flow)
        if revoked := self.delegate.withdrawn(self.flow):
            yield from self.end_revoked(revoked)
            return
        if self.unsent is not None:
            yield from self.send_on()
        if self.server_state == self.state_drain:
            if now - self.drain_began > DRAINING_SECONDS:
                yield from self.abandon_drain()
        elif self.server_state == self.state_wait_for_response_headers:
            if self.was_used and now - self.sent_at > CROSSING_SECONDS:
                self.was_used = False
                self.delegate.release_body(self.flow)
            if limits.total and now - self.begun_at > limits.total:
                yield from self.give_up_waiting(too_slow_in_all(limits.total))
            elif self.client_state == self.state_done and now - self.sent_at > limits.first_byte:
                yield from self.give_up_waiting(too_slow("timeouts.first_byte", limits.first_byte))
        elif self.server_state in (self.state_stream_response_body, self.state_consume_response_body):
            if now - self.heard_at > limits.idle:
                yield from self.end_answer(too_slow("timeouts.idle", limits.idle))
            elif limits.total and now - self.begun_at > limits.total:
                yield from self.end_answer(too_slow_in_all(limits.total))

    def give_up_waiting(self, refusal: Refusal) -> CommandGenerator[None]:
        yield from self.cancel_upstream("no answer in time")
        if (yield from self.retry(FailureKind.FIRST_BYTE)):
            yield from self.send_request()
            return
        self.delegate.report_end(self.flow, Outcome.TIMEOUT)
        yield from self.refuse(refusal)

    def end_revoked(self, refusal: Refusal) -> CommandGenerator[None]:
        """End a call whose agent was revoked, wherever it is."""
        if self.server_state in (self.state_stream_response_body, self.state_consume_response_body):
            yield from self.end_answer(refusal, Outcome.INTERRUPTED)
        elif self.server_state in (self.state_wait_for_response_headers, self.state_drain):
            self.delegate.report_end(self.flow, Outcome.INTERRUPTED, refusal.code)
            yield from self.cancel_upstream("the agent was revoked")
            yield from self.refuse(refusal)

    def end_answer(self, refusal: Refusal, outcome: Outcome = Outcome.TIMEOUT) -> CommandGenerator[None]:
        self.delegate.report_end(self.flow, outcome, refusal.code)
        yield from self.cancel_upstream("no more of this in time")
        last_words = self.delegate.stream_error(self.flow, refusal)
        if last_words is None:
            # The error hook, and with it the record, is left out for an answer that has failed already.
            self.server_state = self.state_stream_response_body
            yield from super().handle_protocol_error(
                ResponseProtocolError(self.stream_id, refusal.message, ErrorCode.GENERIC_SERVER_ERROR)
            )
            return
        yield SendHttp(ResponseData(self.stream_id, last_words), self.context.client)
        yield from self.send_response(already_streamed=True)


def without_quotes(reason: str) -> str:
    """Give what mitmproxy found wrong with a head, without the bytes that it quotes and without its advice."""
    return re.split(r":| from client,", reason, maxsplit=1)[0].removeprefix("Received ")


def redact_message(event: RequestProtocolError | ResponseProtocolError) -> None:
    """Take out what quotes the bytes that broke the protocol: it would be seen on the flow."""
    event.message = "the client broke off" if isinstance(event, RequestProtocolError) else "the provider broke off"


def too_slow_body(rate: int, seconds: float) -> Refusal:
    return Refusal(
        408,
        "request_too_slow",
        f"The request body came more slowly than {rate} bytes a second over {seconds:g} s (limits.body_rate, "
        "timeouts.client_body).",
    )


def too_slow_in_all(seconds: float) -> Refusal:
    return Refusal(
        504,
        "upstream_timeout",
        f"The call took longer than its route allows in all ({seconds:g} s). Raise timeouts.total of the route.",
        Fault.PROVIDER,
    )


def too_slow(setting: str, seconds: float) -> Refusal:
    return Refusal(
        504,
        "upstream_timeout",
        f"The provider sent nothing for {seconds:g} s ({setting}). Try again, or raise {setting}.",
        Fault.PROVIDER,
    )


UNHEARD = "server closed connection"
"""How mitmproxy says that a connection ended before the first byte of an answer."""
CLIENT_RESET = "reset"
"""How it is said that an HTTP/2 client reset a stream, or so many that its connection was closed."""
HANGING_UP = ("closed connection", "connection closed", "stream reset", "unexpected server response")
"""How mitmproxy says that a connection or stream was ended, the last within a head; else it could not be read."""
UPSTREAM_UNREADABLE = Refusal(
    502,
    "upstream_unreadable",
    "What the provider sent is no HTTP answer that can be read in one way only. If it is dialled at a place of your "
    "own, check providers.NAME.upstream.",
    Fault.PROVIDER,
)
UPSTREAM_HUNG_UP = Refusal(
    502, "upstream_reset", "The provider closed the connection before it answered. Try again.", Fault.PROVIDER
)
