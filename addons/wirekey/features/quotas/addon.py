"""Decides whether the quotas of a call allow it, and takes what the call may use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.addons.base import AdmittingAddon
from wirekey.core.operation import Kind
from wirekey.features.quotas.hold import CallQuotas
from wirekey.features.quotas.usage_limits import QuotaLimits

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mitmproxy import http

    from wirekey.core.call import Call
    from wirekey.core.calls.services import Services


NOT_COUNTED = (Kind.COMPANION, Kind.LOGIN)


class Quotas(AdmittingAddon):
    """Refuses a call for which a quota is exhausted: 429, in the shape of its provider.

    It reads the quotas that were found to apply before the policy decided, and the model that `Routing` sends first, on
    which the price depends. It leaves what it took in the call's `CallQuotas`. `Retry` exchanges that for each further
    attempt, and `Audit` settles it when the call ends. Logins, and requests of coding agents that call no model, are
    not counted.
    """

    decides_own_calls = True

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        assert isinstance(services.usage_limits, QuotaLimits)
        self.limits = services.usage_limits

    def admit(self, flow: http.HTTPFlow, call: Call) -> Awaitable[None] | None:
        """Hold the largest use of the first attempt. Raises Refusal if a quota is exhausted."""
        state = self.calls.state(flow)
        found = state.features.find(CallQuotas)
        if found is None or (call.operation and call.operation.kind in NOT_COUNTED):
            return None
        assert state.plan
        return self.limits.reserve_first_attempt(state, found, state.plan.candidates[0])
