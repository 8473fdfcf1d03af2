"""Decides whether the quotas of a call allow it, and takes what the call may use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.addons.base import AdmittingAddon
from wirekey.calls.quota_holds import hold_first_attempt
from wirekey.operation import Kind

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mitmproxy import http

    from wirekey.call import Call


NOT_COUNTED = (Kind.COMPANION, Kind.LOGIN)


class Quotas(AdmittingAddon):
    """Refuses a call for which a quota is exhausted: 429, in the shape of its provider.

    It reads the quotas that `Policy` found to apply, and the model that `Routing` sends first, on which the price
    depends. It leaves what it took in `state.hold`. `Retry` exchanges that for each further attempt, and `Audit`
    settles it when the call ends. Logins, and requests of coding agents that call no model, are not counted.
    """

    decides_own_calls = True

    def admit(self, flow: http.HTTPFlow, call: Call) -> Awaitable[None] | None:
        """Hold the largest use of the first attempt. Raises Refusal if a quota is exhausted."""
        if not self.services.settings.quotas:
            return None
        state = self.calls.state(flow)
        if not state.quotas or (call.operation and call.operation.kind in NOT_COUNTED):
            return None
        assert state.plan
        return hold_first_attempt(self.services, state, state.plan.candidates[0])
