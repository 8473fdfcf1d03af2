"""The record: intent before the first byte goes upstream, outcome after the last came back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.addons.base import AdmittingAddon
from wirekey.audit.store import AuditUnavailable
from wirekey.call import Outcome
from wirekey.calls.agent_check import check_agent
from wirekey.calls.tunnels import TUNNEL, Tunnel
from wirekey.errors import Fault, Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mitmproxy import http
    from mitmproxy.connection import Client

    from wirekey.call import Call


class Audit(AdmittingAddon):
    async def admit(self, flow: http.HTTPFlow, call: Call) -> None:
        check_agent(self.services, self.calls.state(flow))
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
        state = self.calls.find(flow)
        if state and state.call.attempts:
            self.calls.redact_response(flow)

    def response(self, flow: http.HTTPFlow) -> None:
        call = self.leave(flow)
        if call is None:
            return
        if call.status is None and flow.response:
            call.status = flow.response.status_code
        if call.outcome is None:
            call.outcome = outcome_of(call)
        self.conclude(flow, call)

    def error(self, flow: http.HTTPFlow) -> None:
        call = self.leave(flow)
        if call is None:
            return
        if call.outcome in (None, Outcome.CLIENT_CANCELLED):
            # SDKs leave at the head of an error, without its body, when they are about to try again.
            call.outcome = Outcome.UPSTREAM_ERROR if (call.status or 0) >= 400 else Outcome.CLIENT_CANCELLED
        self.conclude(flow, call)

    def http_connected(self, flow: http.HTTPFlow) -> None:
        state = self.calls.states.pop(flow.id, None)
        if state is None or state.call.operation is not TUNNEL:
            return
        client = flow.client_conn
        self.calls.tunnels.begin(client.id, Tunnel(state.call, state.proof))
        if client.timestamp_end is not None:
            self.calls.tunnels.end(client.id)  # it left meanwhile

    def client_disconnected(self, client: Client) -> None:
        self.calls.tunnels.end(client.id)

    def http_connect_error(self, flow: http.HTTPFlow) -> None:
        state = self.calls.find(flow)
        call = self.leave(flow)
        if state and call and not state.unproven:
            self.conclude(flow, call)

    def conclude(self, flow: http.HTTPFlow, call: Call) -> None:
        self.calls.record(call)
        self.calls.on_recorded(flow, call)

    def leave(self, flow: http.HTTPFlow) -> Call | None:
        state = self.calls.states.pop(flow.id, None)
        if flow.response and state and flow.response.stream is state.tap:  # kept answers end by themselves
            flow.response.stream = True  # the tap refers to the flow: both would wait for the collector
        if state and state.reserved:
            state.reserved.release()
        if state and state.verified:
            self.services.signatures.settle(state.verified, state.call.status)
        return state.call if state and not state.is_withdrawn else None


def outcome_of(call: Call) -> Outcome:
    if call.status is None or call.status >= 400:
        return Outcome.UPSTREAM_ERROR
    return Outcome.COMPLETED
