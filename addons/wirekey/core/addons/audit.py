"""Records each call: the intent before the first byte is sent, the outcome after the last byte came back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.addons.base import AdmittingAddon
from wirekey.core.audit.audit_log import AuditUnavailable
from wirekey.core.call import Outcome
from wirekey.core.calls.agent_check import check_agent
from wirekey.core.calls.tunnels import TUNNEL, Tunnel
from wirekey.core.errors import Fault, Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mitmproxy import http
    from mitmproxy.connection import Client

    from wirekey.core.call import Call

FOREIGN_RESPONSE = "foreign_response: another addon of mitmproxy responded, and nothing was sent to the provider"


class Audit(AdmittingAddon):
    """Records calls and tunnels, and refuses a call that cannot be recorded.

    It is the last addon that decides. From here on other addons see the flow, so it redacts the flow first. It ends
    the call: its `CallState` is gone after the response or the error.
    """

    decides_own_calls = True

    async def admit(self, flow: http.HTTPFlow, call: Call) -> None:
        """Record the intent of a call. Raises Refusal if the agent was revoked, or the store cannot record."""
        check_agent(self.services.agents, self.calls.state(flow))
        call.policy_result = "allow"
        try:
            await self.services.store.record_intent(call)
        except AuditUnavailable as error:
            raise Refusal(
                503,
                "cannot_record",
                f"The call could not be recorded, so it was not sent: {error}.",
                Fault.OPERATOR,
            ) from error
        call.intent_recorded = True
        self.services.events.began(call)

    def requestheaders(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Redact the flow, and record the intent if only the head is read. After this addon, others see the flow."""
        self.calls.redact(flow)
        return super().requestheaders(flow)

    def http_connect(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Record a tunnel to another host before it is opened. A tunnel to a provider is not a call yet."""
        call = self.calls.of(flow)
        return self.admit(flow, call) if call.operation is TUNNEL else None

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Redact the head of a provider's response."""
        state = self.calls.find(flow)
        if state and state.call.attempts:
            self.calls.redact_response(flow)

    def response(self, flow: http.HTTPFlow) -> None:
        """Record the outcome of a call whose response is complete."""
        state, call = self.calls.find(flow), self.remove(flow)
        if state is None or call is None:
            return
        if call.status is None and flow.response:
            call.status = flow.response.status_code
        if call.outcome is None:
            call.outcome = outcome_of(call)
        if call.outcome is Outcome.COMPLETED and not (state.was_sent or state.responds_here):
            call.outcome, call.policy_reason = Outcome.INTERRUPTED, FOREIGN_RESPONSE
        self.conclude(flow, call)

    def error(self, flow: http.HTTPFlow) -> None:
        """Record the outcome of a call that broke off."""
        call = self.remove(flow)
        if call is None:
            return
        if call.outcome in (None, Outcome.CLIENT_CANCELLED):
            # SDKs disconnect after the head of an error response when they are about to retry.
            call.outcome = Outcome.UPSTREAM_ERROR if (call.status or 0) >= 400 else Outcome.CLIENT_CANCELLED
        self.conclude(flow, call)

    def http_connected(self, flow: http.HTTPFlow) -> None:
        """Keep the event of a tunnel until the tunnel ends."""
        state = self.calls.states.pop(flow.id, None)
        if state is None or state.call.operation is not TUNNEL:
            return
        client = flow.client_conn
        self.calls.tunnels.begin(client.id, Tunnel(state.call, state.proof))
        if client.timestamp_end is not None:
            self.calls.tunnels.end(client.id)  # the client has disconnected already

    def client_disconnected(self, client: Client) -> None:
        """Record the end of a tunnel."""
        self.calls.tunnels.end(client.id)

    def http_connect_error(self, flow: http.HTTPFlow) -> None:
        """Record a refused CONNECT, but not the 407 to a client that waits to be asked for credentials."""
        state = self.calls.find(flow)
        call = self.remove(flow)
        if state and call and not state.unproven:
            self.conclude(flow, call)

    def conclude(self, flow: http.HTTPFlow, call: Call) -> None:
        """Record a call that has ended, and announce that its flow is complete."""
        self.calls.record(call)
        self.calls.on_recorded(flow, call)

    def remove(self, flow: http.HTTPFlow) -> Call | None:
        """Remove the state of a call and release what it holds. Return the call; None if it is not recorded."""
        state = self.calls.states.pop(flow.id, None)
        if flow.response and state and flow.response.stream is state.tap:  # FlowComments ends a kept response
            flow.response.stream = (
                True  # the tap refers to the flow: a cycle that only the garbage collector would free
            )
        if state and state.reserved:
            state.reserved.release()
        if state:
            self.services.usage_limits.settle(state)
            self.services.agent_signatures.settle(state)
        return state.call if state and not state.is_withdrawn else None


def outcome_of(call: Call) -> Outcome:
    """Return the outcome of a call whose response is complete, by its status."""
    if call.status is None or call.status >= 400:
        return Outcome.UPSTREAM_ERROR
    return Outcome.COMPLETED
