"""The open calls: opened, refused and recorded here.

The state of a call is kept by flow id and never on the flow, which other addons, mitmweb and dumps can see. The same
holds for request bodies and for the key that a call is sent with.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

from mitmproxy import http
from mitmproxy.proxy.mode_specs import ReverseMode

from wirekey.core.body import WEBSOCKETS
from wirekey.core.call import Call, Outcome, current_call_id, elapsed_ms
from wirekey.core.calls.guard import guard
from wirekey.core.calls.held_bytes import Reservation, most_of_one_holder
from wirekey.core.calls.redaction import redact_head, redacted_headers, redacted_request, removed_values
from wirekey.core.calls.refusals import Refusals
from wirekey.core.calls.state import CallState
from wirekey.core.calls.tunnels import Tunnels
from wirekey.core.credentials.agent_tokens import text_without_tokens
from wirekey.core.errors import COMPANION_DECLINED, INTERNAL_ERROR, Refusal
from wirekey.core.identity.proof import proven_agent
from wirekey.core.identity.throttle import neighbourhood
from wirekey.core.metering.eventstream import EventStreamReader
from wirekey.core.metering.json_array import JsonArrayReader
from wirekey.core.proxy_protocol import forwarded_client
from wirekey.core.tracebacks import safe_traceback
from wirekey.providers.registry import DEFAULT_PROVIDER, PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wirekey.core.audit.store import AuditStore
    from wirekey.core.call_events import CallEvents
    from wirekey.core.calls.conversations import Conversations
    from wirekey.core.calls.held_bytes import HeldBytes
    from wirekey.core.calls.response_tap import ResponseTap
    from wirekey.core.calls.settings import Settings
    from wirekey.core.calls.usage_limits import UsageLimits
    from wirekey.core.endpoints.local_request import LocalRequest
    from wirekey.core.identity.agents import AgentStore

logger = logging.getLogger(__name__)

LONGEST_TRACE_PARENT = 128
"""Bytes. Version 00 has 55; later ones may add to it."""
UPGRADE_REQUIRED = 426
GATEWAY_TIMEOUT = 504
OWN_PROTOCOL = {"upgrade": "HTTP/1.1", "connection": "upgrade"}
"""Names the protocol to use, as RFC 9110 section 15.5.22 requires of a 426. HTTP/2 has no such headers."""


def ignore_flow(_: http.HTTPFlow, __: Call) -> None:
    """Do nothing with a flow whose call is recorded."""


class CallServices(Protocol):
    """The services of the process that calls use."""

    settings: Settings
    agents: AgentStore
    store: AuditStore
    events: CallEvents
    held_bytes: HeldBytes
    usage_limits: UsageLimits
    conversations: Conversations


class Calls:
    """The calls of one process, by flow id. Addons reach it as `self.calls`.

    A call is here from its request head until its end is recorded; the audit store has it then.
    """

    def __init__(self, services: CallServices) -> None:
        self.services = services
        self.states: dict[str, CallState] = {}
        self.refusals = Refusals(lambda call: services.store.record_final(call))  # noqa: PLW0108  # the store is opened later
        self.tunnels = Tunnels(
            lambda proof, now: proven_agent(proof, services.agents, now),
            lambda call: self.record(call),  # noqa: PLW0108  # tests replace it
        )
        self.on_recorded: Callable[[http.HTTPFlow, Call], None] = ignore_flow
        """Called with each flow whose call is recorded."""
        self.removed_values: WeakKeyDictionary[http.HTTPFlow, dict[bytes, list[bytes]]] = WeakKeyDictionary()
        """The header values of a response that its flow does not show."""
        self.local_requests: dict[str, LocalRequest] = {}
        """By flow id, requests to Wirekey's own endpoints whose body has not arrived."""
        self.local_response_bodies: WeakKeyDictionary[http.HTTPFlow, bytes] = WeakKeyDictionary()
        """The bodies of Wirekey's own responses, until they are sent."""

    # Looking up.

    def of(self, flow: http.HTTPFlow) -> Call:
        """Return the call of a flow. Raises KeyError if it has none."""
        return self.states[flow.id].call

    def state(self, flow: http.HTTPFlow) -> CallState:
        """Return the state of the call of a flow. Raises KeyError if it has none."""
        return self.states[flow.id]

    def find(self, flow: http.HTTPFlow) -> CallState | None:
        """Return the state of the call of a flow; None if it has ended, or never was a call."""
        return self.states.get(flow.id)

    def find_or_open(self, flow: http.HTTPFlow) -> CallState:
        """Return the state of the call of a flow, opened now if it is new."""
        if flow.id not in self.states:
            self.open(flow)
        return self.states[flow.id]

    def request(self, flow: http.HTTPFlow) -> http.Request:
        """Return the request head that is decided on and sent, of which the flow may show less."""
        return self.states[flow.id].request or flow.request

    def client_address(self, flow: http.HTTPFlow) -> str:
        """Return the address of the client, at the gateway by X-Forwarded-For of a trusted proxy."""
        peer: str = flow.client_conn.peername[0]
        trusted = self.services.settings.trusted_proxies
        if not trusted or not isinstance(flow.client_conn.proxy_mode, ReverseMode):
            return peer
        return forwarded_client(peer, flow.request.headers.get_all("x-forwarded-for"), trusted)

    # From the head of the request to the end.

    def open(self, flow: http.HTTPFlow) -> Call:
        """Open the call of a flow, and name it to the log."""
        settings = self.services.settings
        call = Call(simulated=settings.simulated)
        call.client = self.client_address(flow)
        call.method = flow.request.method
        call.provider = settings.hosts.get(flow.request.host)
        connects = call.method == "CONNECT"
        call.path = f"{flow.request.host}:{flow.request.port}" if connects else flow.request.path.partition("?")[0]
        if self.services.events.continues_traces:
            call.trace_parent = trace_parent(flow.request.headers.fields)
        self.states[flow.id] = CallState(call)
        current_call_id.set(call.id)
        return call

    def reserve(self, flow: http.HTTPFlow, size: int) -> int:
        """Reserve bytes for the body of a call, `size` in total. Return how many are reserved. Raises Refusal."""
        state = self.states.get(flow.id)
        if state is None:
            return size  # a request to one of our own endpoints, whose bodies are short
        services = self.services
        if state.reserved is None:
            agent, client = state.call.agent, state.call.client or ""
            state.reserved = Reservation(services.held_bytes, agent.id if agent else f"from {neighbourhood(client)}")
        most = services.settings.held_bytes
        state.reserved.grow(size, most, most_of_one_holder(most, services.settings.limits.body_bytes))
        return state.reserved.size

    def redact(self, flow: http.HTTPFlow) -> None:
        """Keep the request head that is decided on and sent, and leave on the flow what may be seen of it."""
        state = self.states[flow.id]
        state.request = state.request or redacted_request(flow.request)

    def redact_response(self, flow: http.HTTPFlow) -> None:
        """Leave on the flow what may be seen of a provider's response head; the wire delegate restores the rest."""
        assert flow.response
        headers = flow.response.headers
        if removed := removed_values(headers.fields):
            self.removed_values[flow] = removed
            headers.fields = redacted_headers(headers.fields)

    def record(self, call: Call) -> None:
        """Record the end of a call in the audit store, and announce it to the observers."""
        call.duration_ms = elapsed_ms(call)
        services = self.services
        if not self.refusals.admits(call):
            return
        if call.intent_recorded:
            services.store.record_outcome(call)
        else:
            services.store.record_final(call)
        services.events.ended(call)

    @property
    def open_count(self) -> int:
        """The number of calls and tunnels that have not ended."""
        return len(self.states) + len(self.tunnels)

    def interrupt_all(self) -> None:
        """Record the calls that are still open when the process ends, including those not sent yet."""
        for state in self.states.values():
            call = state.call
            if call.operation is None:
                continue  # a CONNECT, or a head that was just refused
            call.outcome = call.outcome or Outcome.INTERRUPTED
            self.services.usage_limits.settle(state)
            self.record(call)
        self.states.clear()
        self.tunnels.end_all()
        self.refusals.close()

    # Refusing.

    def refuse(self, flow: http.HTTPFlow, refusal: Refusal) -> None:
        """Refuse a call of which nothing went upstream. Never raises, and always leaves a response."""
        try:
            self.deny(flow, refusal)
            redact_head(flow.request)
        except Exception as error:
            logger.error("a refusal failed: %s", safe_traceback(error))  # noqa: TRY400  # without the message
            flow.request.headers.clear()
            flow.response = self.bare_response(flow)

    def deny(self, flow: http.HTTPFlow, refusal: Refusal) -> None:
        """Note a refusal in the call's event, and set its response."""
        state = self.states.get(flow.id)
        call = state.call if state else self.open(flow)
        if call.operation and call.operation.body in WEBSOCKETS:
            refusal = self.services.conversations.refusal_of(call.operation, refusal)
        call.outcome = call.outcome or (Outcome.DECLINED if refusal is COMPANION_DECLINED else Outcome.DENIED)
        call.policy_result = "deny"
        call.policy_reason = call.policy_reason or f"{refusal.code}: {refusal.message}"
        flow.request.headers.pop("expect", None)
        flow.request.stream = False
        flow.response = self.error_response(flow, refusal)
        if flow.request.method == "HEAD":
            flow.response.content = b""

    def refuse_internal_error(self, flow: http.HTTPFlow, *_: object) -> None:
        """Refuse a call that Wirekey could not decide on."""
        self.refuse(flow, INTERNAL_ERROR)

    def bare_response(self, flow: http.HTTPFlow, *_: object) -> http.Response:
        """Return an error response that needs nothing else to work, and note it in the call's event."""
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

    @guard(on_error=bare_response)
    def error_response(self, flow: http.HTTPFlow, refusal: Refusal) -> http.Response:
        """Return the response for a call that Wirekey ends, in its provider's error format, and note its status."""
        state = self.states.get(flow.id)
        call = state.call if state else self.open(flow)
        call.status, call.refusal_code = refusal.status, refusal.code
        if call.intent_recorded and call.outcome is None:
            call.outcome = Outcome.TIMEOUT if refusal.status == GATEWAY_TIMEOUT else Outcome.UPSTREAM_ERROR
            call.policy_reason = call.policy_reason or refusal.code
        provider = PROVIDERS.get(call.provider or "", DEFAULT_PROVIDER)
        body, headers = provider.operations.error_response(without_quoted_tokens(refusal), call.id)
        headers["x-wirekey-request-id"] = call.id
        if self.services.settings.simulated:
            headers["x-wirekey-simulated"] = "true"
        if refusal.status == UPGRADE_REQUIRED and not flow.request.is_http2:
            headers |= OWN_PROTOCOL
        if call.operation and call.operation.body in WEBSOCKETS:
            headers["connection"] = "close"  # what the client has sent already would be read as a request
        return http.Response.make(refusal.status, body, headers)

    @guard(on_error=lambda *_: None)
    def stream_error(self, flow: http.HTTPFlow, refusal: Refusal) -> bytes | None:
        """Return the bytes that end a running stream with an error; None if its format has no such thing."""
        state = self.states[flow.id]
        call, response = state.call, flow.response
        if not (call.operation and call.provider and response) or "content-encoding" in response.headers:
            return None
        content_type = response.headers.get("content-type", "")
        streams = ("text/event-stream", "application/vnd.amazon.eventstream", "application/json")
        if "content-length" in response.headers or not content_type.startswith(streams):
            return None
        if not content_type.startswith("text/") and not ends_with_frame(state.tap):
            return None
        return PROVIDERS[call.provider].operations.stream_error(
            without_quoted_tokens(refusal), call.operation, content_type
        )


def without_quoted_tokens(refusal: Refusal) -> Refusal:
    """Return a refusal whose message quotes no agent token of the request."""
    message = text_without_tokens(refusal.message)
    return refusal if message == refusal.message else replace(refusal, message=message)


def ends_with_frame(tap: ResponseTap | None) -> bool:
    """Return whether the bytes of a stream so far end with a whole frame: an error after half a frame is misread."""
    if tap is not None and tap.is_cut:
        return True
    reader = tap.tap.reader if tap else None
    if isinstance(reader, JsonArrayReader):
        return reader.is_between_elements
    return isinstance(reader, EventStreamReader) and reader.is_between_frames


def trace_parent(fields: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the `traceparent` of a request; None if it has none, or several, of which none can be trusted."""
    found = [value for name, value in fields if name.lower() == b"traceparent"]
    return found[0].decode("latin-1") if len(found) == 1 and len(found[0]) <= LONGEST_TRACE_PARENT else None
