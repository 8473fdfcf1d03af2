"""Plans the attempts of a call, by its routes or by the settings of its provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.addons.base import AdmittingAddon
from wirekey.core.body import Body
from wirekey.core.operation import Kind
from wirekey.core.routing.accounts import with_accounts
from wirekey.core.routing.plan import RetryPlan, may_be_resent, one_attempt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from mitmproxy import http

    from wirekey.config.operator_functions import ModelChooser
    from wirekey.core.call import Call
    from wirekey.core.model_name import ModelName
    from wirekey.core.routing.candidate import Candidate


class Routing(AdmittingAddon):
    """Decides which models and upstreams are tried for a call, in which order, and how often.

    It reads the routes, and the model that the policy wants. It leaves the plan in `state.plan`, for `Credentials` and
    `Retry`.
    """

    decides_own_calls = True

    def admit(self, flow: http.HTTPFlow, call: Call) -> Awaitable[None] | None:
        """Make the plan of a call. Raises Refusal if a route's provider does not serve the client's format."""
        call.model = call.facts.model if call.facts else None
        chooser = self.services.settings.model_chooser
        if chooser is not None and call.operation and call.operation.kind is Kind.INFERENCE:
            return self.choose_and_plan(flow, call, chooser)
        self.plan(flow, call)
        return self.learn_session(flow)

    def learn_session(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Ask other processes, if there are any, for the key of a planned call's session and for limited accounts."""
        plan = self.calls.state(flow).plan
        if plan is None or not self.services.sharing.is_needed:
            return None
        if any(each.accounts for each in plan.candidates):
            return self.learn_accounts(plan)
        if plan.session is None:
            return None
        pools = [each.pool for each in plan.candidates if each.pool]
        return self.services.sharing.learn_session(plan.session, pools)

    async def learn_accounts(self, plan: RetryPlan) -> None:
        """Ask other processes which accounts of a planned call are limited, and which one its session uses."""
        for each in plan.candidates:
            if each.accounts and each.pool:
                await each.accounts.learn(each.pool)
        if plan.session is not None:
            pools = [each.pool for each in plan.candidates if each.pool]
            await self.services.sharing.learn_session(plan.session, pools)

    async def choose_and_plan(self, flow: http.HTTPFlow, call: Call, chooser: ModelChooser) -> None:
        """Ask the operator's function for a model, and make the plan. Raises Refusal if the function fails."""
        request, host = self.calls.request(flow), self.calls.state(flow).host
        chosen = await chooser.model(call, request, host)
        self.plan(flow, call, chosen)
        if waiting := self.learn_session(flow):
            await waiting

    def plan(self, flow: http.HTTPFlow, call: Call, chosen: ModelName | None = None) -> None:
        """Make the plan of a call. `chosen`: the model by the operator's function. Raises Refusal."""
        assert call.provider
        assert call.operation
        state, settings, request = self.calls.state(flow), self.services.settings, self.calls.request(flow)
        state.original_target = request.data.path
        candidates = settings.routes.candidates(
            call.provider,
            call.operation,
            request.data.path,
            call.model,
            state.wanted_model,
            call.agent,
            chosen=chosen,
            named=state.named_destination,
            by_model=state.by_model,
        )
        candidates = with_accounts(candidates, call.model, fixed=state.wanted_model is not None)
        call.route = candidates[0].route
        failover = candidates[0].failover or settings.failover
        kept = call.reads_body or call.operation.body in (Body.NONE, Body.WEBSOCKET)
        if not may_be_resent(call.operation, request.method, kept=kept):
            failover = one_attempt(failover)
        state.plan = RetryPlan(candidates, failover, self.session(request, call, candidates))

    def session(self, request: http.Request, call: Call, candidates: Iterable[Candidate]) -> str | None:
        """Return what keeps calls to one key: the value of the header that the operator named, or the agent."""
        if not any(each.pool and each.pool.selection == "session-affinity" for each in candidates):
            return None
        name = self.services.settings.session_header
        agent = call.agent.id if call.agent else ""
        value = request.headers.get(name) if name else None
        # Two agents never share a session, even if their clients send the same value.
        return f"{agent}\n{value}" if value is not None else agent or None
