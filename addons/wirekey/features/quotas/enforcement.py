"""Enforces quotas: takes and reserves before a call is sent, and settles when it has ended."""

from __future__ import annotations

import asyncio
import logging
import time
from itertools import count
from typing import TYPE_CHECKING

from wirekey.core.shared_state import MemoryState, SharedStateUnavailableError
from wirekey.features.quotas.limits import amount_of, budget_limits, rate_limits, unbounded_totals
from wirekey.features.quotas.refusals import (
    over_budget,
    over_rate,
    over_time,
    reached_in_stream,
    unavailable,
    unavailable_in_stream,
    unpriced,
)
from wirekey.features.quotas.restoring import LEASE, PERIOD_MARGIN
from wirekey.features.quotas.subjects import QuotaSubjects
from wirekey.features.quotas.thresholds import BudgetWarnings
from wirekey.features.quotas.totals import SharedTotals
from wirekey.features.quotas.usage import UsageView

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
    from typing import Any

    from wirekey.core.shared_state import Rate, Reserved, SharedState
    from wirekey.features.quotas.definition import Applied, Quota, SubjectLimits
    from wirekey.features.quotas.estimate import Use
    from wirekey.features.quotas.hold import Hold
    from wirekey.features.quotas.ledger import Ledger
    from wirekey.features.quotas.limits import BudgetLimit

logger = logging.getLogger(__name__)

WATCHED_EVERY = 0.25
"""Seconds after which it is checked again that the shared state has lost no budgets."""
SETTLED_EVERY = 4
"""The number of checks after which processes are counted, and amounts that the shared state did not take are sent."""
RENEWED_EVERY = 80
"""The number of checks after which reservations are renewed."""
COUNTED_FOR = 10.0
"""Seconds for which a process is counted that no longer responds."""


class QuotaEnforcer:
    """The quotas of one process. `state` returns the shared state, `ledger` what was spent.

    Without a ledger, budgets begin with nothing spent. `clock` is in Unix seconds, and tells the day and the month.
    `monotonic` is in seconds that never jump: all that lasts for a while is measured with it.
    """

    def __init__(
        self,
        state: Callable[[], SharedState],
        ledger: Ledger | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self.on_failure: str | None = None
        """`refuse` or `local`: what happens to calls while the shared state does not respond. None: calls with a budget
        are refused, and each process enforces its share of the other limits."""
        self._totals = SharedTotals()
        self._totals.ledger = ledger
        self._clock = clock
        self.view = UsageView(clock, monotonic)
        self._open: dict[str, Hold] = {}
        """The holds with reservations, which have to be renewed if other processes share the state."""
        self._local = MemoryState(monotonic)
        """Enforces this process's share of the limits while the shared state does not respond."""
        self._totals.restoring.held = self._held
        self._tasks: set[asyncio.Task[None]] = set()
        self._subjects = QuotaSubjects()
        self.warnings = BudgetWarnings(self.view.spent, self._limit_now, clock)
        self.latest: Callable[[Applied], Applied] = lambda applied: applied
        """Returns a quota as it is now: a run may have been extended since a call began."""

    @property
    def ledger(self) -> Ledger | None:
        """The ledger, once it is open."""
        return self._totals.ledger

    @ledger.setter
    def ledger(self, ledger: Ledger) -> None:
        self._totals.ledger = ledger

    # Before a call is sent.

    def applied(self, quotas: Iterable[Quota], given: Mapping[str, Any]) -> tuple[Applied, ...]:
        """Return the quotas that apply to a call, in their order. `given`: the policy's input for the call."""
        return self._subjects.applied(quotas, given)

    def use_limits(self, limits: Callable[[Quota, str], SubjectLimits]) -> None:
        """Use the limits that a function returns for a subject of a quota. Call it again when they change."""
        self.view.limits_in_force = limits
        self._subjects.use(limits)

    def acquire(self, hold: Hold) -> Awaitable[None] | None:
        """Reserve the use of an attempt in all its quotas, or in none of them if one is exhausted.

        Return None, or what remains to be awaited if other processes share the state. Raises Refusal.
        """
        return self._run(self._acquire(hold))

    async def _acquire(self, hold: Hold) -> None:
        now = self._clock()
        for applied in hold.quotas:
            quota = applied.quota
            if hold.use.cost is None and applied.limits.has_budget and quota.refuses_unknown_price:
                raise unpriced(applied, hold.model)
            if quota.ends is not None and now >= quota.ends:
                raise over_time(quota)
        await self._reserve(hold)
        try:
            await self._take(hold)
        except BaseException:
            await self._return_reservation(hold)
            raise

    async def _reserve(self, hold: Hold) -> None:
        now = self._clock()
        limits = tuple(budget_limits(hold.quotas, hold.use, now, expected=hold.expected))
        if not limits:
            return
        state = self._state()
        try:
            found = await self._reserve_in(state, hold.id, limits, now)
        except SharedStateUnavailableError as error:
            if self._refuses(is_budget=any(limit.period for limit in limits)):
                raise unavailable() from error
            state = self._local
            processes = self._totals.processes.known
            limits = tuple(budget_limits(hold.quotas, hold.use, now, expected=hold.expected, processes=processes))
            found = await self._reserve_in(state, hold.id, limits, now)
        self.view.note_budgets(limits, found.levels)
        if found.exhausted:
            self.warnings.check(limits)  # other processes may have spent the rest
            first = found.exhausted[0]
            raise over_budget(limits[first], found.levels[first])
        hold.budgets, hold.reserved_in = limits, state
        self._open[hold.id] = hold

    async def _reserve_in(
        self, state: SharedState, reservation: str, limits: Sequence[BudgetLimit], now: float
    ) -> Reserved:
        budgets = [limit.budget for limit in limits]
        ttls = [kept_for(limit, now) for limit in limits]
        return await self._totals.reserve(state, reservation, budgets, LEASE, ttls)

    def _refuses(self, *, is_budget: bool) -> bool:
        """Return whether calls are refused while the shared state does not respond."""
        return is_budget if self.on_failure is None else self.on_failure == "refuse"

    async def _take(self, hold: Hold) -> None:
        limits = tuple(rate_limits(hold.quotas, hold.use.tokens, int(hold.number == 1)))
        if not limits:
            return
        rates = [limit.rate for limit in limits]
        state = self._state()
        try:
            taken = await state.take(rates)
        except SharedStateUnavailableError as error:
            if self._refuses(is_budget=False):
                raise unavailable() from error
            state = self._local
            requests = int(hold.number == 1)
            limits = tuple(rate_limits(hold.quotas, hold.use.tokens, requests, processes=self._totals.processes.known))
            taken = await state.take([limit.rate for limit in limits])
        self.view.note_rates(limits, taken.levels)
        if not taken.allowed:
            refused, level = next(
                (limit, level) for limit, level in zip(limits, taken.levels, strict=True) if level.retry_after > 0
            )
            raise over_rate(refused, level.retry_after)
        hold.rates, hold.levels, hold.taken_from = limits, taken.levels, state

    # While a response streams.

    def extend(self, hold: Hold, tokens: int) -> Awaitable[None] | None:
        """Reserve more output of an attempt: `tokens` in total, in its quotas with `reserve: expected`.

        Return None, or what remains to be awaited if other processes share the state. Raises Refusal.
        """
        return self._run(self._extend(hold, tokens))

    async def _extend(self, hold: Hold, tokens: int) -> None:
        growth = hold.growth
        assert growth
        use = growth.use_of(tokens)
        limits = growth.extended_limits(hold.budgets, use, self._limit_now)
        if limits and hold.reserved_in:
            growth.requested += 1
            reservation = f"{hold.id}+{growth.requested}"
            try:
                found = await self._reserve_in(hold.reserved_in, reservation, limits, self._clock())
            except SharedStateUnavailableError as error:
                if self._refuses(is_budget=True):
                    raise unavailable_in_stream() from error
            else:
                self.view.note_budgets(limits, found.levels)
                if found.exhausted:
                    raise reached_in_stream(limits[found.exhausted[0]])
                growth.extensions[reservation] = limits
        growth.tokens, growth.use = tokens, use

    def _limit_now(self, limit: BudgetLimit) -> int:
        """Return the limit that is in force of a budget in which a call has a reservation."""
        applied = self.latest(limit.applied)
        limits = self.view.limits_in_force(applied.quota, applied.subject)
        found = applied.quota.period_limits(limits, self._clock())
        return next((most for name, most, _ in found if name == limit.name), limit.limit)

    # At the end of an attempt.

    def settle(self, hold: Hold, used: Use | None, metered: Use | None = None) -> None:
        """Settle an attempt. `used`: what it used; None if it was never sent, so that it gives back everything.

        `metered`: what is charged in quotas with `reserve: expected`, if that differs.
        """
        waiting = self._run(self._settle_growing(hold, used, metered))
        if waiting:
            self._later(waiting)

    async def _settle_growing(self, hold: Hold, used: Use | None, metered: Use | None) -> None:
        growth = hold.growth
        if growth and growth.extending and not growth.extending.done():
            await asyncio.wait([growth.extending])
        await self._settle(hold, *self._end(hold, used, metered))

    def charge(self, hold: Hold) -> Awaitable[None] | None:
        """Add the use of a hold to the totals of its quotas, also beyond their limits. It is no request of its own.

        Return None, or what remains to be awaited if other processes share the state.
        """
        return self._run(self._charge(hold))

    async def _charge(self, hold: Hold) -> None:
        now = self._clock()
        limits = unbounded_totals(hold.quotas, hold.use, now)
        if not limits:
            return
        hold.budgets, hold.reserved_in = limits, self._state()
        try:
            reserved = await self._reserve_in(hold.reserved_in, hold.id, limits, now)  # sets totals that are not there
            self.view.note_budgets(limits, reserved.levels)
        except SharedStateUnavailableError as error:
            logger.warning("what a batch has spent is added later to the shared state: %s", error)
        await self._settle(hold, *self._end(hold, hold.use, calls=0))

    def exchange(self, failed: Hold, used: Use | None, following: Hold) -> Awaitable[None] | None:
        """Settle an attempt that failed, and take and reserve the use of the next one, as `acquire` does."""
        return self._run(self._exchange(failed, used, following))

    async def _exchange(self, failed: Hold, used: Use | None, following: Hold) -> None:
        await self._settle(failed, *self._end(failed, used, calls=0))
        await self._acquire(following)

    def _end(
        self, hold: Hold, used: Use | None, metered: Use | None = None, calls: int = 1
    ) -> tuple[dict[str, int], list[Rate]]:
        """Note the end of an attempt. Return what it spent, by key, and what its rates get or give back.

        `metered` as in `settle`. `calls`: 0 if another attempt of the call follows, which counts it.
        """
        amounts: dict[str, int] = {}
        for limit in hold.budgets:
            charged = metered if metered is not None and limit.applied.quota.reserves_expected else used
            if limit.period and charged is not None and (amount := amount_of(limit.name, charged, calls)):
                key = limit.budget.key
                amounts[key] = amount
                if self.ledger:
                    self.ledger.add(key, amount, limit.period.end)
        if hold.reserved_in and not self._state().is_local:
            self._totals.note_unsettled(hold.id, amounts)
        self.view.note_settled(hold.budgets, amounts)
        for limits in hold.growth.extensions.values() if hold.growth else ():
            self.view.note_settled(limits, {})
        self.warnings.check(hold.budgets)
        self._open.pop(hold.id, None)
        tokens = (used.tokens if used else 0) - hold.use.tokens
        requests = 0 if used else -1
        changed = [
            limit.rate._replace(amount=amount)
            for limit in hold.rates
            if (amount := requests if limit.name == "requests_per_minute" else tokens)
        ]
        self.view.note_charged(changed)
        return amounts, changed

    async def _settle(self, hold: Hold, amounts: dict[str, int], changed: Sequence[Rate]) -> None:
        state, reserved_in, hold.reserved_in = self._state(), hold.reserved_in, None
        if reserved_in is self._local:
            await self._local.settle(hold.id, amounts)
        if reserved_in is not None and (amounts or reserved_in is not self._local):
            await self._totals.settle(state, hold.id, amounts)
        if hold.growth and reserved_in is not None:
            await hold.growth.release(reserved_in)
        if changed and hold.taken_from:
            try:
                await hold.taken_from.charge(changed)
            except SharedStateUnavailableError as error:
                logger.debug("unused tokens are not given back: %s", error)

    async def _return_reservation(self, hold: Hold) -> None:
        if hold.reserved_in:
            self._open.pop(hold.id, None)
            self.view.note_settled(hold.budgets, {})
            await self._settle(hold, {}, ())

    # Between calls.

    async def maintain(self) -> None:
        """Watch the budgets and renew the reservations of open calls, again and again, until it is cancelled."""
        for tick in count():
            await self._totals.restoring.watch(self._state())
            if tick % SETTLED_EVERY == 0:
                await self._totals.settle_rest(self._state())
                await self.count_processes()
            if tick % RENEWED_EVERY == RENEWED_EVERY - 1:
                await self.renew()
                if self.ledger:
                    self.ledger.forget_ended()
            await asyncio.sleep(WATCHED_EVERY)

    def _held(self) -> dict[str, dict[str, int]]:
        """Return the amounts of each reservation of an open call that other processes have to know of."""
        return {
            reservation: {limit.budget.key: limit.budget.amount for limit in limits}
            for hold in self._open.values()
            if hold.reserved_in and hold.reserved_in is not self._local
            for reservation, limits in hold.reservations.items()
        }

    async def count_processes(self) -> None:
        """Learn how many processes share the state, and be one of them."""
        await self._totals.processes.update(self._state(), COUNTED_FOR)

    async def renew(self) -> None:
        """Renew the reservations of open calls."""
        for hold in tuple(self._open.values()):
            if (state := hold.reserved_in) is None:
                continue
            try:
                for reservation in hold.reservations:
                    await state.renew(reservation, LEASE)
            except SharedStateUnavailableError:
                return

    async def finish(self) -> None:
        """Wait until all calls that have ended are settled."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._totals.restoring.finish()
        await self._totals.settle_rest(self._state())
        await self._totals.processes.leave(self._state())

    def restore(self, quotas: Sequence[Quota]) -> None:
        """Note what was spent before a start, so that it is shown before the first call."""
        if self.ledger:
            self.view.restore(quotas, self.ledger.totals)

    @property
    def in_progress(self) -> int:
        """The number of attempts that have reserved something."""
        return len(self._open)

    def close(self) -> None:
        """Write what was spent. Blocks for a moment."""
        if self.ledger:
            self.ledger.close()

    # State that other processes share.

    def _run(self, work: Coroutine[Any, None, None]) -> Awaitable[None] | None:
        """Do the work at once if no other process shares the state. Otherwise return what remains to be awaited."""
        if not self._state().is_local:
            return work
        try:
            work.send(None)
        except StopIteration:
            return None
        raise AssertionError("the state of one process has waited")

    def _later(self, waiting: Awaitable[None]) -> None:
        task = asyncio.ensure_future(waiting)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def kept_for(limit: BudgetLimit, now: float) -> float:
    """Return the seconds for which a total is kept: until its period ends, and for calls that end later."""
    if limit.period is None:
        return PERIOD_MARGIN
    return limit.period.end - now + PERIOD_MARGIN
