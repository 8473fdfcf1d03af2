"""Where a call may go: the plan of its attempts, by its routes or by the provider's own settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.addons.base import AdmittingAddon
from wirekey.providers.protocol import Body
from wirekey.routing.plan import RetryPlan, may_be_resent, one_attempt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mitmproxy import http

    from wirekey.call import Call
    from wirekey.routing.candidate import Candidate


class Routing(AdmittingAddon):
    def admit(self, flow: http.HTTPFlow, call: Call) -> None:
        assert call.provider
        assert call.operation
        state, settings, request = self.calls.state(flow), self.services.settings, self.calls.request(flow)
        call.model = call.facts.model if call.facts else None
        state.original_target = request.data.path
        candidates = settings.routes.candidates(
            call.provider, call.operation, request.data.path, call.model, state.wanted_model
        )
        call.route = candidates[0].route
        failover = candidates[0].failover or settings.failover
        kept = call.reads_body or call.operation.body is Body.NONE
        if not may_be_resent(call.operation, request.method, kept=kept):
            failover = one_attempt(failover)
        state.plan = RetryPlan(candidates, failover, self.session(request, call, candidates))

    def session(self, request: http.Request, call: Call, candidates: Iterable[Candidate]) -> str | None:
        """Give what keeps calls to one key: the header that the operator named, or else the agent."""
        if not any(each.pool and each.pool.selection == "session-affinity" for each in candidates):
            return None
        name = self.services.settings.session_header
        agent = call.agent.id if call.agent else ""
        said = request.headers.get(name) if name else None
        # Of two agents never one session, whatever their clients say.
        return f"{agent}\n{said}" if said is not None else agent or None
