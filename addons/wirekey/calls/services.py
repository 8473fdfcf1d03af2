"""The house: what the stations share, and the wire layer's view of them.

Calls are kept here by flow id and never on the flow, which other addons, mitmweb and dumps can see. The same
holds for request bodies and for the key that a call goes out with.
"""

from __future__ import annotations

import copy
import functools
import json
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from mitmproxy import http

from wirekey.call import Call, Outcome, under_way
from wirekey.call_events import CallEvents
from wirekey.calls.agent_check import withdrawn
from wirekey.calls.client_connections import ClientConnections
from wirekey.calls.held_bytes import HeldBytes, Reservation
from wirekey.calls.redaction import redact_head, redacted_headers, redacted_request, removed_values, with_removed_values
from wirekey.calls.refusals import Refusals
from wirekey.calls.settings import Settings
from wirekey.calls.signatures import Signatures
from wirekey.calls.state import CallState
from wirekey.calls.tunnels import Tunnels
from wirekey.console.local_request import BODY_BYTES
from wirekey.credentials.agent_tokens import text_without_tokens
from wirekey.credentials.uploads import Uploads
from wirekey.errors import INTERNAL_ERROR, Refusal
from wirekey.identity.proof import proven_agent
from wirekey.identity.throttle import neighbourhood
from wirekey.metering.eventstream import EventStreamReader
from wirekey.metering.json_array import JsonArrayReader
from wirekey.providers import PROVIDERS
from wirekey.routing.plan import REFUSED_KEY, RETRIED_STATUSES, may_be_resent
from wirekey.tracebacks import safe_traceback
from wirekey.wire.connection_pool import ConnectionPool
from wirekey.wire.request_body import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from mitmproxy.connection import Client, Server

    from wirekey.addons.metering import ResponseTap
    from wirekey.audit.store import AuditStore
    from wirekey.call import Agent
    from wirekey.console.local_request import Request as LocalRequest
    from wirekey.identity.agents import AgentStore
    from wirekey.identity.jwt_tokens import Held, JwtTokens
    from wirekey.identity.proof import Proof
    from wirekey.identity.token_endpoint import TokenEndpoint
    from wirekey.policy.engine import PolicyEngine
    from wirekey.server.gateway_certificate import Certificate, IssuedCertificate
    from wirekey.wire.delegate import WireLimits
    from wirekey.wire.request_body import RequestBody

logger = logging.getLogger(__name__)

FAILURES = RETRIED_STATUSES | REFUSED_KEY
LONGEST_TRACE_PARENT = 128
"""Bytes. Version 00 has 55; later ones may add to it."""


def guard[Method: Callable[..., Any]](otherwise: Callable[..., Any]) -> Callable[[Method], Method]:
    """Make a method for the wire layer do `otherwise` (with its arguments) when it raises.

    An exception in the layer would end the client's connection without an answer and without a record.
    """

    def guard(method: Method) -> Method:
        @functools.wraps(method)
        def guarded(self: Services, *arguments: Any) -> Any:
            try:
                return method(self, *arguments)
            except Exception as error:
                state = self.states.get(getattr(arguments[0], "id", ""))
                named = {"call": state.call.id if state else None}
                logger.error("%s failed: %s", method.__name__, safe_traceback(error), extra=named)  # noqa: TRY400  # see described
                return otherwise(self, *arguments)

        guarded.guard = guard  # type: ignore[attr-defined]  # for the tests, that make it fail
        return guarded  # type: ignore[return-value]  # the same signature, by wraps

    return guard


def ignore_flow(_: http.HTTPFlow, __: Call) -> None:
    pass


class Services:
    """One per process. `settings` is replaced whole when the configuration changes.

    Until the entrance has opened it, there are no hosts, no agents and no store, and every call is refused.
    """

    settings: Settings
    agents: AgentStore
    store: AuditStore
    spool_folder: Path
    """Where large bodies lie while their calls last, in files without names."""
    policy: PolicyEngine
    jwts: JwtTokens
    gateway_certificate: Certificate | IssuedCertificate | None = None
    token_endpoint: TokenEndpoint | None = None
    """None: no tokens are issued here."""

    def __init__(self) -> None:
        self.settings = Settings(hosts={}, pools={}, other_hosts="deny")
        self.states: dict[str, CallState] = {}
        self.upstream_connections = ConnectionPool()
        self.connections = ClientConnections()
        self.held_bytes = HeldBytes()
        self.refusals = Refusals(lambda call: self.store.record_final(call))  # noqa: PLW0108  # the store comes later
        self.tunnel_agents: WeakKeyDictionary[Client, Held] = WeakKeyDictionary()
        """What is kept of the token that a client connection presented at CONNECT."""
        self.activity = CallEvents()
        self.show: Callable[[http.HTTPFlow, Call], None] = ignore_flow
        """Told of each flow whose call is recorded, where somebody sees flows."""
        self.continues_traces = False
        """Whether somebody wants to know which trace of the client's a call belongs to."""
        self.tunnels = Tunnels(lambda proof, now: self.agent_of(proof, now), lambda call: self.record(call))  # noqa: PLW0108  # tests replace them
        self.uploads = Uploads()
        self.signatures = Signatures(lambda key: self.agents.find_pair(key))  # noqa: PLW0108  # the book comes later
        self.removed_values: WeakKeyDictionary[http.HTTPFlow, dict[bytes, list[bytes]]] = WeakKeyDictionary()
        """What the flow does not show of the head of an answer."""
        self.local_requests: dict[str, LocalRequest] = {}
        """By flow id, requests for our own endpoints whose body is still to come."""
        self.own_bodies: WeakKeyDictionary[http.HTTPFlow, bytes] = WeakKeyDictionary()
        """What our own endpoints answer, until it is sent."""

    @property
    def limits(self) -> WireLimits:
        return self.settings.limits

    @property
    def connection_pool(self) -> ConnectionPool | None:
        return self.upstream_connections if self.settings.pool else None

    # For the stations.

    def open(self, flow: http.HTTPFlow) -> Call:
        call = Call(simulated=self.settings.simulated)
        call.client = flow.client_conn.peername[0]
        call.action = flow.request.method
        call.provider = self.settings.hosts.get(flow.request.host)
        connects = call.action == "CONNECT"
        call.target = f"{flow.request.host}:{flow.request.port}" if connects else flow.request.path.partition("?")[0]
        if self.continues_traces:
            call.trace_parent = trace_parent(flow.request.headers.fields)
        self.states[flow.id] = CallState(call)
        under_way.set(call.id)
        return call

    def decides(self, flow: http.HTTPFlow) -> bool:
        """Tell whether a flow is a call that has not been refused yet."""
        return flow.response is None and flow.error is None and flow.id not in self.local_requests

    def state_of(self, flow: http.HTTPFlow) -> CallState:
        """Give the state of a call, begun now if it is a new one."""
        if flow.id not in self.states:
            self.open(flow)
        return self.states[flow.id]

    def state(self, flow: http.HTTPFlow) -> CallState:
        return self.states[flow.id]

    def call(self, flow: http.HTTPFlow) -> Call:
        return self.states[flow.id].call

    def agent_of(self, proof: Proof, now: float) -> Agent | None:
        """Return the agent that a proof identifies; None if any part of it is not valid at `now` (Unix seconds)."""
        return proven_agent(proof, self.agents, self.jwts, now)

    def redact(self, flow: http.HTTPFlow) -> None:
        """Keep what is judged and sent, and leave of it on the flow what may be seen."""
        state = self.states[flow.id]
        state.judged = state.judged or redacted_request(flow.request)

    def judged(self, flow: http.HTTPFlow) -> http.Request:
        return self.states[flow.id].judged or flow.request

    def redact_response(self, flow: http.HTTPFlow) -> None:
        """Leave of a provider's answer on the flow what may be seen; `response_head` has the rest."""
        assert flow.response
        headers = flow.response.headers
        if kept := removed_values(headers.fields):
            self.removed_values[flow] = kept
            headers.fields = redacted_headers(headers.fields)

    def refuse(self, flow: http.HTTPFlow, refusal: Refusal) -> None:
        """Answer a call ourselves, before anything went upstream. Raises nothing, and leaves an answer always."""
        try:
            self.deny(flow, refusal)
            redact_head(flow.request)
        except Exception as error:
            logger.error("a refusal failed: %s", safe_traceback(error))  # noqa: TRY400  # see described
            flow.request.headers.clear()
            flow.response = self.bare_response(flow)

    def deny(self, flow: http.HTTPFlow, refusal: Refusal) -> None:
        state = self.states.get(flow.id)
        call = state.call if state else self.open(flow)
        call.outcome = call.outcome or Outcome.DENIED
        call.policy_result = "deny"
        call.policy_reason = call.policy_reason or f"{refusal.code}: {refusal.message}"
        flow.request.headers.pop("expect", None)
        flow.request.stream = False
        flow.response = self.error_response(flow, refusal)

    def interrupt_all(self) -> None:
        """Record the calls that are still in flight when the process ends, also those that are not sent yet."""
        for state in self.states.values():
            call = state.call
            if call.operation is None:
                continue  # a CONNECT, or a head that was just refused
            call.outcome = call.outcome or Outcome.INTERRUPTED
            self.record(call)
        self.states.clear()
        self.tunnels.end_all()
        self.refusals.close()

    def record(self, call: Call) -> None:
        """Hand a call that has ended to the audit store, and tell those who watch."""
        call.duration_ms = self.elapsed_ms(call)
        if not self.refusals.admits(call, self.settings.refusals_per_minute):
            return
        if call.intent_recorded:
            self.store.record_outcome(call)
        else:
            self.store.record_final(call)
        self.activity.ended(call)

    def refuse_internal_error(self, flow: http.HTTPFlow, *_: object) -> None:
        self.refuse(flow, INTERNAL_ERROR)

    def bare_response(self, flow: http.HTTPFlow, *_: object) -> http.Response:
        """Give an answer that nothing can hinder, and see that it is recorded."""
        call = self.states.setdefault(flow.id, CallState(Call())).call
        call.status, call.refusal_code = INTERNAL_ERROR.status, INTERNAL_ERROR.code
        if not call.intent_recorded:
            call.outcome, call.policy_result = Outcome.DENIED, "deny"
        call.outcome = call.outcome or Outcome.UPSTREAM_ERROR
        call.policy_reason = call.policy_reason or INTERNAL_ERROR.code
        error = {
            "message": INTERNAL_ERROR.message,
            "type": "api_error",
            "code": INTERNAL_ERROR.code,
            "status": "UNAVAILABLE",
        }
        body = json.dumps({"type": "error", "error": error, "message": INTERNAL_ERROR.message})
        return http.Response.make(INTERNAL_ERROR.status, body, {"content-type": "application/json"})

    # For the wire layer.

    @guard(refuse_internal_error)
    def report_invalid(self, flow: http.HTTPFlow, reason: str) -> None:
        message = f"The request is malformed: {reason}. It was refused, as it could be read in two ways."
        self.refuse(flow, Refusal(400, "malformed", message))
        if flow.response:
            flow.response.headers["connection"] = "close"

    @guard(lambda *_: None)
    def withdraw(self, flow: http.HTTPFlow) -> None:
        """Leave a call unrecorded about which nothing was decided: its client reset the stream of it."""
        state = self.states.get(flow.id)
        if state and state.call.policy_result is None and not state.call.intent_recorded:
            state.is_withdrawn = True

    def spool(self, flow: http.HTTPFlow) -> Spool:
        """Begin the file of a large body, hashed on the way where a signature is to be verified or made."""
        state = self.states.get(flow.id)
        signs = state is not None and state.call.provider == "bedrock" and self.signs_for_bedrock(state)
        return Spool(self.spool_folder, hashing=signs, reserve=self.settings.disk_reserve)

    def reserve(self, flow: http.HTTPFlow, size: int) -> int:
        """Reserve so many bytes for the body of a call. Gives how many are reserved. Raises Refusal."""
        state = self.states.get(flow.id)
        if state is None:
            return size  # a request for one of our own endpoints, whose bodies are short
        if state.reserved is None:
            agent, client = state.call.agent, state.call.client or ""
            state.reserved = Reservation(self.held_bytes, agent.id if agent else f"from {neighbourhood(client)}")
        state.reserved.grow(size, self.settings.held_bytes, self.settings.held_bytes_per_agent)
        return state.reserved.size

    def signs_for_bedrock(self, state: CallState) -> bool:
        brought = state.client_credential.pair if state.client_credential else None
        return state.signed is not None or brought is not None or self.settings.aws is not None

    @guard(refuse_internal_error)
    def keep_body(self, flow: http.HTTPFlow, body: RequestBody) -> None:
        if state := self.states.get(flow.id):
            state.body = body
            state.call.request_bytes = len(body)
        elif local_request := self.local_requests.get(flow.id):
            # Over HTTP/2 a body may come without its length being said before.
            whole = body if isinstance(body, bytes) and len(body) <= BODY_BYTES else None
            self.local_requests[flow.id] = replace(local_request, body=whole)

    @guard(lambda *_: b"")
    def own_body(self, flow: http.HTTPFlow) -> bytes:
        return self.own_bodies.pop(flow, b"") if self.own_bodies else b""

    @guard(lambda services, _: services.limits)
    def limits_of(self, flow: http.HTTPFlow) -> WireLimits:
        state = self.states.get(flow.id)
        return (state and state.limits) or self.settings.limits

    @guard(lambda *_: None)
    def count_attempt(self, flow: http.HTTPFlow) -> None:
        call = self.states[flow.id].call
        call.attempts += 1
        call.attempt_began = time.perf_counter()

    def is_failure(self, status: int) -> bool:
        return status in FAILURES

    @guard(lambda *_: False)
    def can_retry(self, flow: http.HTTPFlow) -> bool:
        state = self.states.get(flow.id)
        plan = state.plan if state else None
        return plan is not None and plan.choice is not None and not plan.choice.is_last

    @guard(lambda *_: False)
    def may_be_resent(self, flow: http.HTTPFlow) -> bool:
        call = self.states[flow.id].call
        return call.operation is not None and may_be_resent(call.operation, call.action, kept=True)

    @guard(lambda *_: None)
    def release_body(self, flow: http.HTTPFlow) -> None:
        if state := self.states.get(flow.id):
            state.release_body_unless_planned()

    def wire_request(self, flow: http.HTTPFlow, server: Server, *, keep: bool) -> tuple[http.Request, RequestBody]:
        from wirekey.addons.credentials import wire_request

        state = self.states[flow.id]
        if refusal := withdrawn(self, state):
            state.call.outcome = Outcome.INTERRUPTED
            raise refusal
        return wire_request(self.states[flow.id], server, self.signatures, keep=keep)

    @guard(lambda *_: None)
    def withdrawn(self, flow: http.HTTPFlow) -> Refusal | None:
        state = self.states.get(flow.id)
        return withdrawn(self, state) if state else None

    @guard(lambda *_: INTERNAL_ERROR)
    def refusal_of_response(self, flow: http.HTTPFlow, response: http.Response) -> Refusal | None:
        from wirekey.calls.response_checks import refusal_of_response

        state = self.states.get(flow.id)
        return refusal_of_response(self, state, response) if state and state.upstream else None

    @guard(lambda _, __, response: response)
    def response_head(self, flow: http.HTTPFlow, response: http.Response) -> http.Response:
        kept = self.removed_values.pop(flow, None)
        if kept is None:
            return response
        head: http.Response = copy.copy(response)
        head.data = copy.copy(response.data)
        head.data.headers = http.Headers(with_removed_values(response.headers.fields, kept))
        return head

    @guard(bare_response)
    def error_response(self, flow: http.HTTPFlow, refusal: Refusal) -> http.Response:
        state = self.states.get(flow.id)
        call = state.call if state else self.open(flow)
        call.status, call.refusal_code = refusal.status, refusal.code
        if call.intent_recorded and call.outcome is None:
            call.outcome = Outcome.TIMEOUT if refusal.status == 504 else Outcome.UPSTREAM_ERROR
            call.policy_reason = call.policy_reason or refusal.code
        provider = PROVIDERS.get(call.provider or "openai", PROVIDERS["openai"])
        body, headers = provider.error_response(without_quoted_tokens(refusal), call.id)
        headers["x-wirekey-request-id"] = call.id
        if self.settings.simulated:
            headers["x-wirekey-simulated"] = "true"
        return http.Response.make(refusal.status, body, headers)

    @guard(lambda *_: None)
    def stream_error(self, flow: http.HTTPFlow, refusal: Refusal) -> bytes | None:
        call = self.states[flow.id].call
        response = flow.response
        if not (call.operation and call.provider and response) or "content-encoding" in response.headers:
            return None
        content_type = response.headers.get("content-type", "")
        streams = ("text/event-stream", "application/vnd.amazon.eventstream", "application/json")
        if "content-length" in response.headers or not content_type.startswith(streams):
            return None
        if not content_type.startswith("text/") and not ends_with_frame(self.states[flow.id].tap):
            return None
        return PROVIDERS[call.provider].stream_error(without_quoted_tokens(refusal), call.operation, content_type)

    @guard(lambda *_: None)
    def report_end(self, flow: http.HTTPFlow, outcome: Outcome, reason: str | None = None) -> None:
        if (state := self.states.get(flow.id)) and state.call.outcome is None:
            state.call.outcome = outcome
            state.call.policy_reason = state.call.policy_reason or reason

    def elapsed_ms(self, call: Call) -> float:
        return round((time.perf_counter() - call.started) * 1000, 3)


def without_quoted_tokens(refusal: Refusal) -> Refusal:
    """Return a refusal whose message quotes no token of the request."""
    message = text_without_tokens(refusal.message)
    return refusal if message == refusal.message else replace(refusal, message=message)


def ends_with_frame(tap: ResponseTap | None) -> bool:
    """Tell whether what passed of a stream ends with a frame: what comes after a half would be taken for it."""
    reader = tap.tap.reader if tap else None
    if isinstance(reader, JsonArrayReader):
        return reader.is_between_elements
    return isinstance(reader, EventStreamReader) and reader.is_between_frames


def trace_parent(fields: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Give the `traceparent` of a request; None where there is none, or more than one (then none is to be believed)."""
    found = [value for name, value in fields if name.lower() == b"traceparent"]
    return found[0].decode("latin-1") if len(found) == 1 and len(found[0]) <= LONGEST_TRACE_PARENT else None
