"""Implements `wirekey.core.wire.delegate.WireDelegate`, the wire layer's view of calls, with `Calls` and `Services`.

Each method that could raise is guarded, and its guard says what the layer does then. `wire_request`,
`reserve_memory` and `open_spool` may raise a Refusal, and the layer handles what they raise.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from msgspec import structs

from wirekey.core.body import WEBSOCKETS, Spool
from wirekey.core.call import Outcome
from wirekey.core.calls.agent_check import STOPPING, refusal_if_revoked
from wirekey.core.calls.attempt_rewrite import AT_ONCE
from wirekey.core.calls.conversations import is_two_way
from wirekey.core.calls.guard import guard
from wirekey.core.calls.message_copy import with_fields
from wirekey.core.calls.redaction import with_removed_values
from wirekey.core.calls.response_checks import refusal_of_response
from wirekey.core.calls.wire_request import wire_request
from wirekey.core.endpoints.local_request import BODY_BYTES
from wirekey.core.errors import INTERNAL_ERROR, Refusal
from wirekey.core.routing.plan import LIMITED, REFUSED_KEY, RETRIED_STATUSES, may_be_resent
from wirekey.core.tracebacks import safe_traceback
from wirekey.core.wire.delegate import RequestRefused
from wirekey.core.wire.stream import WireStream
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mitmproxy import http
    from mitmproxy.connection import Server
    from mitmproxy.proxy.commands import StartHook
    from mitmproxy.proxy.layers.http import HttpStream

    from wirekey.core.body import RequestBody
    from wirekey.core.calls.services import Services
    from wirekey.core.calls.state import CallState
    from wirekey.core.wire.connection_pool import ConnectionPool
    from wirekey.core.wire.delegate import WireLimits
    from wirekey.core.wire.takeover import StreamTakeover

logger = logging.getLogger(__name__)

FAILURES = RETRIED_STATUSES | REFUSED_KEY | LIMITED


class CallDelegate:
    """The wire layer's view of the calls. One per process; it keeps nothing of its own."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.calls = services.calls
        self.states = services.calls.states

    def refuse_internal_error(self, flow: http.HTTPFlow, *_: object) -> None:
        """Refuse a call that could not be prepared."""
        self.calls.refuse(flow, INTERNAL_ERROR)

    # Limits.

    @property
    def limits(self) -> WireLimits:
        """The limits of what belongs to no call yet."""
        return self.services.settings.limits

    @property
    def is_draining(self) -> bool:
        """Whether the process is about to end."""
        return self.services.drain.has_begun

    @property
    def connection_pool(self) -> ConnectionPool | None:
        """The idle upstream connections that all clients share; None if each client has its own."""
        return self.services.upstream_connections if self.services.settings.reuse_connections else None

    @guard(on_error=lambda self, _: self.limits)
    def limits_of(self, flow: http.HTTPFlow) -> WireLimits:
        """Return the limits of one call: its route's, if that sets any."""
        state = self.states.get(flow.id)
        attempt = state.attempt if state else None
        return (attempt and attempt.limits) or self.services.settings.limits

    # The request.

    @guard(on_error=refuse_internal_error)
    def refuse_malformed(self, flow: http.HTTPFlow, reason: str) -> None:
        """Refuse a request whose head breaks HTTP's rules. `reason`: which rule."""
        message = f"The request is malformed: {reason}. It was refused, as it could be read in two ways."
        self.calls.refuse(flow, Refusal(400, "malformed", message))
        if flow.response:
            flow.response.headers["connection"] = "close"

    @guard(on_error=lambda *_: None)
    def report_request_reset(self, flow: http.HTTPFlow) -> None:
        """Leave a call unrecorded if its client reset the stream before anything was decided."""
        state = self.states.get(flow.id)
        if state and state.call.policy_result is None and not state.call.intent_recorded:
            state.is_withdrawn = True

    def reserve_memory(self, flow: http.HTTPFlow, size: int) -> int:
        """Reserve bytes for the body of a call. Return how many are reserved. Raises Refusal."""
        return self.calls.reserve(flow, size)

    def open_spool(self, flow: http.HTTPFlow) -> Spool:
        """Open the file of a large body, hashed on the way if a signature of it will be verified or made."""
        state = self.states.get(flow.id)
        signs = state is not None and self.signs_for_aws(state)
        return Spool(self.services.spool_folder, hashing=signs, reserve=self.services.settings.disk_reserve)

    def signs_for_aws(self, state: CallState) -> bool:
        """Return whether a call to AWS came with a signature, or will go out with one."""
        if state.call.provider is None or not PROVIDERS[state.call.provider].credentials.uses_aws:
            return False
        supplied = state.client_credential.pair if state.client_credential else None
        return state.unverified or supplied is not None or self.services.settings.aws is not None

    @guard(on_error=refuse_internal_error)
    def store_body(self, flow: http.HTTPFlow, body: RequestBody) -> None:
        """Keep a request body that was read whole."""
        if state := self.states.get(flow.id):
            state.body = body
            state.call.request_bytes = len(body)
            if state.attempt and not state.call.reads_body:
                # The attempt was prepared at the head, for an operation without a body: this one is sent as it is.
                state.attempt = structs.replace(state.attempt, body=body)
        elif local_request := self.calls.local_requests.get(flow.id):
            # Over HTTP/2 a body may come without a length in its head.
            whole = body if isinstance(body, bytes) and len(body) <= BODY_BYTES else None
            self.calls.local_requests[flow.id] = replace(local_request, body=whole)

    @guard(on_error=lambda *_: None)
    def release_body(self, flow: http.HTTPFlow) -> None:
        """Release the request body, unless another attempt is planned."""
        if state := self.states.get(flow.id):
            state.release_body_unless_planned()

    def wire_request(self, flow: http.HTTPFlow, server: Server, *, keep: bool) -> tuple[http.Request, RequestBody]:
        """Return the request as it is sent, with its credential, and its whole body.

        Raises Refusal if the agent was revoked, or the connection is not verified.
        """
        state = self.states[flow.id]
        if refusal := refusal_if_revoked(self.services.agents, state):
            state.call.outcome = Outcome.INTERRUPTED
            raise refusal
        request = wire_request(self.services, state, server, keep=keep)
        state.was_sent = True
        self.services.usage_limits.note_sent(state)
        return request

    @guard(on_error=lambda *_: True)  # then nothing is sent that was not verified
    def is_two_way(self, flow: http.HTTPFlow) -> bool:
        """Return whether the request of a call streams while its response does."""
        state = self.states.get(flow.id)
        return state is not None and is_two_way(state.call.operation)

    def request_parts(self, flow: http.HTTPFlow, data: bytes) -> Iterator[bytes | StartHook]:
        """Yield the verified events of a part of a two-way request, and what to wait for. Raises RequestRefused."""
        state = self.states.get(flow.id)
        if state is None:
            return  # the call has ended
        try:
            yield from self.services.conversations.request_parts(flow, state, data)
        except RequestRefused:
            raise
        except Exception as error:
            named = {"call": state.call.id}
            logger.error("the events of a request failed: %s", safe_traceback(error), extra=named)  # noqa: TRY400  # without the message
            raise RequestRefused(INTERNAL_ERROR) from None

    # Attempts.

    @guard(on_error=lambda *_: None)
    def count_attempt(self, flow: http.HTTPFlow) -> None:
        """Count an attempt that is about to go to an upstream."""
        call = self.states[flow.id].call
        call.attempts += 1
        call.attempt_began = time.perf_counter()

    def is_retryable_status(self, status: int) -> bool:
        """Return whether another attempt may follow a response of this status."""
        return status in FAILURES

    @guard(on_error=lambda *_: False)
    def can_retry(self, flow: http.HTTPFlow) -> bool:
        """Return whether the plan of a call may have another attempt."""
        state = self.states.get(flow.id)
        plan = state.plan if state else None
        return plan is not None and plan.choice is not None and not plan.choice.is_last

    @guard(on_error=lambda *_: False)
    def may_be_resent(self, flow: http.HTTPFlow) -> bool:
        """Return whether a call may be sent again although the provider may have begun with it."""
        call = self.states[flow.id].call
        return call.operation is not None and may_be_resent(call.operation, call.method, kept=True)

    # Other protocols.

    @guard(on_error=refuse_internal_error)
    def takeover(self, flow: http.HTTPFlow, stream: HttpStream) -> StreamTakeover | None:
        """Return what opens the WebSocket that a call asks for; None for any other call."""
        state = self.states.get(flow.id)
        operation = state.call.operation if state else None
        if operation is None or operation.body not in WEBSOCKETS:
            return None
        assert isinstance(stream, WireStream)
        return self.services.conversations.takeover(stream)

    # The response.

    @guard(on_error=lambda *_: None)
    def refusal_if_revoked(self, flow: http.HTTPFlow) -> Refusal | None:
        """Return the refusal that ends a running call: of its agent or its last turn, or because the process ends."""
        state = self.states.get(flow.id)
        if state and self.services.drain.ends_calls:
            return STOPPING
        if state and is_two_way(state.call.operation) and (refusal := self.services.conversations.due(state)):
            return refusal
        return refusal_if_revoked(self.services.agents, state) if state else None

    @guard(on_error=lambda *_: INTERNAL_ERROR)
    def refusal_of_response(self, flow: http.HTTPFlow, response: http.Response) -> Refusal | None:
        """Return why a provider's response must not reach the client; None if it may."""
        state = self.states.get(flow.id)
        return refusal_of_response(self.services.settings.hosts, state, response) if state and state.attempt else None

    @guard(on_error=lambda *_: INTERNAL_ERROR)
    def refusal_of_hooks(self, flow: http.HTTPFlow) -> Refusal | None:
        """Return why an extension keeps a response from the client; None if none does."""
        state = self.states.get(flow.id)
        if state is None or state.refused_response is None:
            return None
        state.tap = None
        state.call.outcome = state.call.outcome or Outcome.INTERRUPTED
        return state.refused_response

    @guard(on_error=lambda _, __, response: response)
    def response_head(self, flow: http.HTTPFlow, response: http.Response) -> http.Response:
        """Return a response head with the header values that the flow does not show."""
        removed = self.calls.removed_values.pop(flow, None)
        if removed is None:
            return response
        return with_fields(response, with_removed_values(response.headers.fields, removed))

    @guard(on_error=lambda *_: False)
    def holds_response(self, flow: http.HTTPFlow) -> bool:
        """Return whether a response is read as a whole: a feature rewrites or changes it."""
        state = self.states.get(flow.id)
        tap = state.tap if state else None
        if tap is None:
            return False
        if tap.change is not None and tap.change.holds:
            return True
        return tap.rewrite is not None and tap.rewrite.holds

    @guard(on_error=lambda *_: False)
    def holds_large_response(self, flow: http.HTTPFlow) -> bool:
        """Return whether a response that is read as a whole is so large that a thread finishes it."""
        state = self.states.get(flow.id)
        tap = state.tap if state else None
        return tap is not None and (tap.rewrite or tap.change) is not None and tap.received > AT_ONCE

    @guard(on_error=lambda *_: b"")
    def local_response_body(self, flow: http.HTTPFlow) -> bytes:
        """Return the body of one of Wirekey's own responses, once; b"" if the flow has the whole body."""
        return self.calls.local_response_bodies.pop(flow, b"") if self.calls.local_response_bodies else b""

    def error_response(self, flow: http.HTTPFlow, refusal: Refusal) -> http.Response:
        """Return the response for a call that Wirekey ends before any byte went to the client."""
        return self.calls.error_response(flow, refusal)

    def stream_error(self, flow: http.HTTPFlow, refusal: Refusal) -> bytes | None:
        """Return the bytes that end a running stream with an error; None if its format has no such thing."""
        return self.calls.stream_error(flow, refusal)

    @guard(on_error=lambda *_: None)
    def report_end(self, flow: http.HTTPFlow, outcome: Outcome, reason: str | None = None) -> None:
        """Note why a call ends other than by a whole response."""
        if (state := self.states.get(flow.id)) and state.call.outcome is None:
            state.call.outcome = outcome
            state.call.policy_reason = state.call.policy_reason or reason
