"""Decides whether a call is allowed: by the agent's permissions, then by the policy."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wirekey.core.addons.base import AdmittingAddon
from wirekey.core.calls.conversations import is_two_way
from wirekey.core.calls.tunnels import TUNNEL
from wirekey.core.errors import COMPANION_DECLINED
from wirekey.core.header_fields import by_name
from wirekey.core.operation import Kind
from wirekey.core.policy.input import HEADER_FIELDS, build_input
from wirekey.core.policy.permissions import check_permission
from wirekey.providers.registry import PROVIDERS
from wirekey.providers.request_edits import RequestEdits, uncapped

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mitmproxy import http

    from wirekey.core.call import Call
    from wirekey.core.calls.services import Services
    from wirekey.core.policy.decision import Decision
    from wirekey.core.policy.input import Input


class Policy(AdmittingAddon):
    """Refuses a call that its agent's permissions or the policy do not allow.

    It also fulfils the policy's obligations: it lowers the token limit in the body, and leaves the model that the
    policy wants for `Routing`.
    """

    decides_own_calls = True

    async def http_connect(self, flow: http.HTTPFlow) -> None:
        """Decide on a tunnel to another host. Its content is not seen, so obligations do not apply."""
        call = self.calls.of(flow)
        if call.operation is TUNNEL:
            given = build_input(call, by_name(flow.request.headers.fields, HEADER_FIELDS))
            self.obeyed(call, await self.services.policy.decide(given))

    def admit(self, flow: http.HTTPFlow, call: Call) -> Awaitable[None] | None:
        """Decide on a call, and fulfil the obligations of the policy."""
        if call.agent is not None or self.services.settings.identity_required:
            check_permission(call)
        state = self.calls.state(flow)
        body = state.body
        if not isinstance(body, bytes):
            # It was read just now, and the decision may take a while.
            body.release_pages()
        given = build_input(call, by_name(self.calls.request(flow).headers.fields, HEADER_FIELDS))
        self.services.usage_limits.note_limits(state, given)
        decision = self.services.policy.decide_at_once(given)
        if decision is None:
            return self.decide_later(flow, call, given)
        self.fulfil(flow, call, self.obeyed(call, decision))
        return None

    async def decide_later(self, flow: http.HTTPFlow, call: Call, given: Input) -> None:
        """Decide on a call by a policy that takes a while."""
        self.fulfil(flow, call, self.obeyed(call, await self.services.policy.decide(given)))

    def obeyed(self, call: Call, decision: Decision) -> Decision:
        """Record a decision, and return it. Raises Refusal unless it allows the call."""
        call.policy_revision = decision.revision
        if not decision.allow:
            declined = call.operation and call.operation.kind is Kind.COMPANION and decision.failure is None
            raise COMPANION_DECLINED if declined else decision.refusal()
        return decision

    def fulfil(self, flow: http.HTTPFlow, call: Call, decision: Decision) -> None:
        """Fulfil the obligations of the policy: its token limit and its model."""
        state = self.calls.state(flow)
        if decision.max_tokens is not None and is_two_way(call.operation):
            raise uncapped("a stream in two directions, whose events it does not change")
        if decision.max_tokens is not None and call.reads_body:
            assert call.provider
            assert call.operation
            target, edits = self.calls.request(flow).data.path, RequestEdits(max_tokens=decision.max_tokens)
            state.body = (
                PROVIDERS[call.provider].operations.edit_request(call.operation, target, "", state.body, edits).body
            )
            state.cap = decision.max_tokens
        state.wanted_model = decision.model


async def may_fall_back(services: Services, flow: http.HTTPFlow, call: Call, model: str) -> bool:
    """Return whether the policy allows a call with another model, which is sent as all accounts are limited."""
    assert call.facts
    changed = replace(call, facts=replace(call.facts, model=model))
    headers = by_name(services.calls.request(flow).headers.fields, HEADER_FIELDS)
    decision = await services.policy.decide(build_input(changed, headers))
    return decision.allow and decision.model in (None, model)
