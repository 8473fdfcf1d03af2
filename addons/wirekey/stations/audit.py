"""The record: intent before the first byte goes upstream, outcome after the last came back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.audit.store import AuditUnavailable
from wirekey.call import Outcome
from wirekey.refusal import Fault, Refusal
from wirekey.stations.agent_check import check_agent
from wirekey.stations.station import AsyncAdmittingStation, fail_closed, keep_going
from wirekey.stations.tunnels import TUNNEL, Tunnel

if TYPE_CHECKING:
    from mitmproxy import http
    from mitmproxy.connection import Client

    from wirekey.call import Call


class Audit(AsyncAdmittingStation):
    async def admit(self, flow: http.HTTPFlow, call: Call) -> None:
        check_agent(self.house, self.house.passage(flow))
        call.policy_result = "allow"
        try:
            await self.house.store.record_intent(call)
        except AuditUnavailable as error:
            raise Refusal(
                503,
                "cannot_record",
                f"The call could not be recorded, so it was not sent: {error}.",
                Fault.OPERATOR,
            ) from error
        call.intent_recorded = True
        self.house.activity.began(call)

    @fail_closed
    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        # Last of the stations: from here on others see the flow.
        self.house.seal(flow)
        call = self.house.call(flow)
        if not call.reads_body:
            await self.admit(flow, call)

    @fail_closed
    async def http_connect(self, flow: http.HTTPFlow) -> None:
        """Record a tunnel to another host before it is opened; a tunnel to a provider is no call yet."""
        call = self.house.call(flow)
        if call.operation is TUNNEL:
            await self.admit(flow, call)

    @keep_going
    def responseheaders(self, flow: http.HTTPFlow) -> None:
        passage = self.house.passages.get(flow.id)
        if passage and passage.call.attempts:
            self.house.seal_answer(flow)

    @keep_going
    def response(self, flow: http.HTTPFlow) -> None:
        call = self.leave(flow)
        if call is None:
            return
        if call.status is None and flow.response:
            call.status = flow.response.status_code
        if call.outcome is None:
            call.outcome = outcome_of(call)
        self.conclude(flow, call)

    @keep_going
    def error(self, flow: http.HTTPFlow) -> None:
        call = self.leave(flow)
        if call is None:
            return
        if call.outcome in (None, Outcome.CLIENT_CANCELLED):
            # SDKs leave at the head of an error, without its body, when they are about to try again.
            call.outcome = Outcome.UPSTREAM_ERROR if (call.status or 0) >= 400 else Outcome.CLIENT_CANCELLED
        self.conclude(flow, call)

    @keep_going
    def http_connected(self, flow: http.HTTPFlow) -> None:
        passage = self.house.passages.pop(flow.id, None)
        if passage is None or passage.call.operation is not TUNNEL:
            return
        client = flow.client_conn
        self.house.tunnels.begin(client.id, Tunnel(passage.call, passage.proof))
        if client.timestamp_end is not None:
            self.house.tunnels.end(client.id)  # it left meanwhile

    @keep_going
    def client_disconnected(self, client: Client) -> None:
        self.house.tunnels.end(client.id)

    @keep_going
    def http_connect_error(self, flow: http.HTTPFlow) -> None:
        passage = self.house.passages.get(flow.id)
        call = self.leave(flow)
        if passage and call and not passage.unproven:
            self.conclude(flow, call)

    def conclude(self, flow: http.HTTPFlow, call: Call) -> None:
        self.house.record(call)
        self.house.show(flow, call)

    def leave(self, flow: http.HTTPFlow) -> Call | None:
        passage = self.house.passages.pop(flow.id, None)
        if flow.response and passage and flow.response.stream is passage.tap:  # kept answers end by themselves
            flow.response.stream = True  # the tap refers to the flow: both would wait for the collector
        if passage and passage.reserved:
            passage.reserved.release()
        if passage and passage.verified:
            self.house.signatures.settle(passage.verified, passage.call.status)
        return passage.call if passage and not passage.is_withdrawn else None


def outcome_of(call: Call) -> Outcome:
    if call.status is None or call.status >= 400:
        return Outcome.UPSTREAM_ERROR
    return Outcome.COMPLETED
