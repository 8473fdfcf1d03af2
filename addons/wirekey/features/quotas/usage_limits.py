"""Holds the use of each attempt of a call in its quotas, and settles it when the attempt ends."""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from typing import TYPE_CHECKING, Any, cast

from wirekey.core.audit.audit_log import AuditDatabaseError
from wirekey.core.call import FailureKind, Outcome
from wirekey.core.calls.usage_limits import NO_HEADERS, UsageLimits
from wirekey.core.policy.input import QUOTA_FIELDS
from wirekey.features.quotas.account_defaults import note_defaults
from wirekey.features.quotas.configured import NO_QUOTAS, ConfiguredQuotas, quotas_of
from wirekey.features.quotas.enforcement import QuotaEnforcer
from wirekey.features.quotas.estimate import NOTHING, Use, nanodollars, real_use
from wirekey.features.quotas.expected_output import OutputEstimates
from wirekey.features.quotas.headers import limit_headers
from wirekey.features.quotas.hold import CallQuotas, Hold
from wirekey.features.quotas.holds import hold_of_attempt, hold_of_response
from wirekey.features.quotas.ledger import FILE, Ledger
from wirekey.features.quotas.notifying import Notifier
from wirekey.features.quotas.raises.following import FollowedRaises
from wirekey.features.quotas.recorded_output import recorded_output
from wirekey.features.quotas.runs.quota import RunQuotas
from wirekey.features.quotas.stream_meter import StreamMeter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from wirekey.config import Config
    from wirekey.core.calls.services import Services
    from wirekey.core.calls.state import CallState
    from wirekey.core.egress.upstream_proxy import UpstreamProxy
    from wirekey.core.metering.deltas import CountedStream, ResponseMeter
    from wirekey.core.operation import Facts, ResponseReader, Usage
    from wirekey.core.policy.input import Input
    from wirekey.core.routing.candidate import Candidate
    from wirekey.core.routing.plan import Failure
    from wirekey.features.quotas.definition import Applied
    from wirekey.features.quotas.webhook import Webhook

logger = logging.getLogger(__name__)

NOT_PROCESSED = frozenset({FailureKind.STATUS, FailureKind.STALE, FailureKind.UNPROCESSED})
"""Failures after which a provider charges nothing."""
MOST_ROWS = 50


class QuotaLimits(UsageLimits):
    """The quotas as the `UsageLimits` of the core. Its `QuotaEnforcer` reserves and settles the use of calls."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.enforcer = QuotaEnforcer(lambda: services.shared_state)
        self.raises = FollowedRaises(services, self._use_raises)
        self.notifier = Notifier(self._webhook_of, lambda: services.shared_state, self._proxy_for)
        self.enforcer.warnings.notify = self.notifier.notify
        self.runs = RunQuotas()
        self.enforcer.latest = self._latest
        self.estimates = OutputEstimates()
        self._restoring: asyncio.Task[None] | None = None
        """Reads the output of the calls before the start, once a quota needs it."""

    @property
    def configured(self) -> ConfiguredQuotas:
        """The quotas that are configured now."""
        return self.services.settings.features.find(ConfiguredQuotas) or NO_QUOTAS

    def _use_raises(self) -> None:
        self.enforcer.use_limits(self.raises.limits)

    def _latest(self, applied: Applied) -> Applied:
        return self.runs.latest(applied, self.services.agents.runs) if applied.quota.per == "run" else applied

    def _webhook_of(self, quota: str) -> Webhook | None:
        return self.configured.webhooks.get(quota)

    def _proxy_for(self, host: str, port: int) -> UpstreamProxy | None:
        return self.services.settings.proxies.proxy_for(host, port)

    # Of each call.

    def note_limits(self, state: CallState, given: Input) -> None:
        """Note which quotas apply to a call, with that of its run, and show the policy what is left of them."""
        applied = self.enforcer.applied(self.configured.quotas, given)
        agent = state.call.agent
        if agent is not None and agent.run is not None:
            applied = (*applied, self.runs.applied(agent.run, self.services.agents.runs))
        if not applied:
            return
        state.features.put(CallQuotas(applied))
        if self.services.policy.reads(*QUOTA_FIELDS):
            given["spend"], given["remaining"] = self.enforcer.view.for_policy(applied)

    def reserve_first_attempt(
        self, state: CallState, found: CallQuotas, candidate: Candidate
    ) -> Awaitable[None] | None:
        """Hold the largest use of the first attempt of a call in its quotas.

        Return None, or what remains to be awaited if other processes share the state. Raises Refusal if one is
        exhausted.
        """
        found.hold = self._hold(state, found, candidate, 1)
        return self.enforcer.acquire(found.hold)

    def _hold(self, state: CallState, found: CallQuotas, candidate: Candidate, number: int) -> Hold:
        hold = hold_of_attempt(state, found.applied, candidate, number, self.estimates)
        if hold.growth:
            self._restore_estimates()
        return hold

    def reserve_next_attempt(self, state: CallState, candidate: Candidate, failure: Failure) -> Awaitable[None] | None:
        """Settle the attempt of a call that failed, and hold the largest use of the next one in its quotas."""
        found = state.features.find(CallQuotas)
        if found is None or found.hold is None:
            return None
        failed = found.hold
        found.hold = self._hold(state, found, candidate, failed.number + 1)
        used = NOTHING if failure.kind in NOT_PROCESSED else failed.use
        return self.enforcer.exchange(failed, used if failed.sent else None, found.hold)

    def reserve_response(
        self, state: CallState, known: int, cap: int | None, context: int = 0
    ) -> Awaitable[None] | None:
        """Hold the largest use of a response of an open connection in its quotas."""
        found = state.features.find(CallQuotas)
        return None if found is None else self._reserve_response(state, found, known, cap, context)

    async def _reserve_response(
        self, state: CallState, found: CallQuotas, known: int, cap: int | None, context: int
    ) -> None:
        hold = hold_of_response(state, found.applied, known, cap, context)
        if waiting := self.enforcer.acquire(hold):
            await waiting
        hold.sent = True
        found.hold = hold

    def note_sent(self, state: CallState) -> None:
        """Note that the attempt of a call is sent, so that its use counts."""
        found = state.features.find(CallQuotas)
        if found and found.hold:
            found.hold.sent = True

    def meter(self, state: CallState, reader: ResponseReader) -> ResponseMeter | None:
        """Return what ends the stream of a call if it uses too much; None unless a quota reserves what is expected."""
        found = state.features.find(CallQuotas)
        if found is None or found.hold is None or found.hold.growth is None:
            return None
        facts = state.call.facts
        if facts is None or not facts.stream or getattr(reader, "texts", None) is None:
            return None
        return StreamMeter(self.enforcer, found.hold, found.hold.growth, cast("CountedStream", reader))

    def note_usage(self, state: CallState, usage: Usage, asked: Facts | None) -> None:
        """Note what a response shows of its account, whose defaults decide what later calls reserve."""
        note_defaults(state, usage, asked)

    def settle(self, state: CallState) -> None:
        """Settle the last attempt of a call that has ended, once."""
        found = state.features.find(CallQuotas)
        if found is None or found.hold is None:
            return
        hold, found.hold = found.hold, None
        if not hold.sent:
            self.enforcer.settle(hold, None)
            return
        call = state.call
        assert call.operation
        status = None if call.refusal_code else call.status
        used = real_use(hold.use, call.operation, status, call.usage, call.cost_usd, is_final=state.has_all_counts)
        if hold.growth and call.usage and state.has_all_counts and call.outcome is Outcome.COMPLETED:
            self.estimates.note_usage(hold.growth.kind, call.usage)
        self.enforcer.settle(hold, used, self._metered(state, hold))

    def _metered(self, state: CallState, hold: Hold) -> Use | None:
        """Return what quotas with `reserve: expected` charge for a stream without the last token counts."""
        growth, call = hold.growth, state.call
        if growth is None or growth.written is None:
            return None
        assert call.operation
        reserved = growth.use_of(growth.written)
        status = None if call.refusal_code else call.status
        return real_use(reserved, call.operation, status, call.usage, call.cost_usd, is_final=state.has_all_counts)

    def charge(self, state: CallState, charge: str, tokens: int, cost: float) -> Awaitable[None] | None:
        """Charge what was used without a reservation in the totals of the quotas that apply, also beyond a limit."""
        found = state.features.find(CallQuotas)
        if found is None:
            return None
        use = Use(0, nanodollars(cost), tokens)
        return self.enforcer.charge(Hold(charge, found.applied, state.call.model, use))

    def release(self, state: CallState) -> None:
        """Release all that a call holds, because it was not sent."""
        found = state.features.find(CallQuotas)
        if found and found.hold:
            found.hold.sent = False
            self.settle(state)

    def response_headers(self, state: CallState, sent: Mapping[str, str]) -> Mapping[str, str]:
        """Return the headers that say what is left of limits per minute, by the names of the client's format."""
        found = state.features.find(CallQuotas)
        if found is None or found.hold is None:
            return NO_HEADERS
        assert state.call.provider
        return limit_headers(found.hold, state.call.provider, sent, time.time())

    # For operators.

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """Return the limits of which the least is left. Money is in US dollars."""
        seen = self.enforcer.view.rows(self.configured.quotas)
        return [
            {
                "quota": row.quota,
                "subject": row.subject,
                "limit": row.limit,
                "allowed": row.allowed / row.unit,
                "used": row.used / row.unit,
                "ratio": row.ratio,
                "ends": row.ends,
            }
            for row in heapq.nsmallest(MOST_ROWS, seen, key=lambda row: row.ratio)
        ]

    def run_rows(self, config: Config) -> Sequence[Mapping[str, Any]]:
        """Return the runs that have not ended, and those of the last day. Blocks. Raises UserError."""
        from wirekey.features.quotas.runs.shown import recent_runs

        return recent_runs(config, self.services.agents.copied_agents())

    def ratios(self) -> Mapping[str, float]:
        """Return quota → the share that is left of it."""
        return self.enforcer.view.ratios(self.configured.quotas)

    # Of the process.

    def open(self, config: Config) -> None:
        """Open the ledger. Raises LedgerError."""
        self.enforcer.on_failure = config.shared_state_failure
        self.enforcer.ledger = Ledger(config.state / FILE)
        self.notifier.extra_ca = config.upstream_ca_file
        self.raises.open(config.state)
        self.enforcer.restore(quotas_of(config))

    async def maintain(self) -> None:
        """Watch the budgets and renew the reservations of open calls, again and again, until it is cancelled."""
        if any(quota.reserves_expected for quota in self.configured.quotas):
            self._restore_estimates()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.enforcer.maintain())
            group.create_task(self.raises.follow())

    def _restore_estimates(self) -> None:
        """Begin to read the output of the calls before the start, once."""
        if self._restoring is None:
            self._restoring = asyncio.ensure_future(self._read_estimates())

    async def _read_estimates(self) -> None:
        try:
            found = await asyncio.to_thread(recorded_output, self.services.store.database, time.time())
        except AuditDatabaseError as error:
            logger.warning("the output of earlier calls is not known: %s", error)
            return
        for kind, output in found:
            self.estimates.note(kind, output)

    async def finish(self) -> None:
        """Wait until all calls that have ended are settled."""
        await self.enforcer.finish()
        await self.notifier.finish()

    def close(self) -> None:
        """Write what was spent. Blocks for a moment."""
        self.enforcer.close()
