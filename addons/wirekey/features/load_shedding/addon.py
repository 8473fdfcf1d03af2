"""Refuses requests on open connections while the event loop is late."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mitmproxy import ctx

from wirekey.core.addons.base import Addon
from wirekey.core.addons.gateway import Gateway
from wirekey.core.call import Call, Outcome
from wirekey.core.errors import Fault, Refusal
from wirekey.core.operation import Kind
from wirekey.features.load_shedding.accepting import Acceptors
from wirekey.features.load_shedding.monitor import LoadMonitor
from wirekey.features.load_shedding.stages import Stage
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from mitmproxy import http

    from wirekey.core.addons.order import AddonOrder
    from wirekey.core.calls.services import Services

OVERLOADED = Refusal(
    503,
    "overloaded",
    "Wirekey has more work than it can do at the moment. Nothing was sent. Send the request again later.",
    Fault.WIREKEY,
    retry_after=1,
)
WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class LoadShedding(Addon):
    """Refuses what the stage of the `LoadMonitor` says, before the agent is looked up, so that a refusal costs little.

    New connections are refused by `Acceptors` where a plain response can be written. A connection that begins with TLS
    gets its refusal here, as the response to its first request. Open streams and WebSockets continue.
    """

    def __init__(self, services: Services, order: AddonOrder) -> None:
        super().__init__(services)
        self.monitor = LoadMonitor(services)  # until the process has opened its own
        self.acceptors = Acceptors(self.note_connection, order.get(Gateway).endpoints)

    def running(self) -> None:
        """Refuse connections at the listeners, which are open now. Without the setting, they stay as they are."""
        if monitor := self.services.opened.find(LoadMonitor):
            self.monitor = self.acceptors.monitor = monitor
            monitor.prepare(lambda: self.acceptors.take_over(ctx.master.addons.get("proxyserver").servers))

    def done(self) -> None:
        """Close the connections that are being refused."""
        self.acceptors.close()

    def http_connect(self, flow: http.HTTPFlow) -> None:
        """Refuse the tunnel of a new connection."""
        if self.monitor.stage and self.is_new(flow):
            self.refuse(flow, Stage.CONNECTIONS)

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Refuse a request that the stage does not admit."""
        if self.monitor.stage and (stage := self.stage_that_refuses(flow)):
            self.refuse(flow, stage)

    def stage_that_refuses(self, flow: http.HTTPFlow) -> Stage | None:
        """Return the first stage that refuses a request, or None if it is admitted."""
        stage = self.monitor.stage
        if self.is_new(flow):
            return Stage.CONNECTIONS
        if stage >= Stage.LARGE_BODIES and self.is_large(flow.request):
            return Stage.LARGE_BODIES
        if stage >= Stage.MODEL_LISTS and self.is_model_list(flow):
            return Stage.MODEL_LISTS
        return Stage.CALLS if stage >= Stage.CALLS else None

    def is_new(self, flow: http.HTTPFlow) -> bool:
        """Return whether the client connected after the first stage had begun."""
        return flow.client_conn.timestamp_start >= self.monitor.since

    def is_large(self, request: http.Request) -> bool:
        """Return whether the body of a request is large, or may be."""
        length = request.headers.get("content-length")
        if length is None:
            return "transfer-encoding" in request.headers or (request.is_http2 and request.method in WITH_BODY)
        bounds = self.monitor.bounds
        return bounds is not None and length.isdecimal() and int(length) > bounds.large_body

    def is_model_list(self, flow: http.HTTPFlow) -> bool:
        """Return whether a request asks which models there are."""
        state, request = self.calls.find_or_open(flow), flow.request
        if state.own_models:
            return True
        if state.call.provider is None:
            return False
        path = request.path.partition("?")[0]
        found = PROVIDERS[state.call.provider].operations.match_operation(request.method, path, request.headers)
        return found is not None and found.kind is Kind.LISTING

    def refuse(self, flow: http.HTTPFlow, stage: Stage) -> None:
        """Refuse a request, and count it. Raises Refusal."""
        self.monitor.count(stage)
        raise OVERLOADED

    def note_connection(self, address: str) -> None:
        """Count a connection that was refused, and record it as a call without an agent, up to the usual number."""
        self.monitor.count(Stage.CONNECTIONS)
        if not self.calls.refusals.admits_line(address):
            return
        call = Call(client=address, method="ACCEPT", outcome=Outcome.DENIED, policy_result="deny")
        call.status, call.refusal_code = OVERLOADED.status, OVERLOADED.code
        call.policy_reason = f"{OVERLOADED.code}: {OVERLOADED.message}"
        self.services.store.record_final(call)
        self.services.events.ended(call)
