"""How much of each quota is used, as this process has seen it: for policies, the console and the metrics.

Other processes that share the state may have used more since. No decision depends on it, except those of policies that
read it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wirekey.features.quotas.definition import NANODOLLARS, UNLIMITED, Applied, Quota
from wirekey.features.quotas.limit_names import is_money
from wirekey.features.quotas.limits import budget_key, rate_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from wirekey.core.shared_state import BudgetLevel, Rate, RateLevel
    from wirekey.features.quotas.definition import SubjectLimits
    from wirekey.features.quotas.ledger import Spent
    from wirekey.features.quotas.limit_names import LimitName
    from wirekey.features.quotas.limits import BudgetLimit, RateLimit
    from wirekey.features.quotas.periods import Period

MOST_SEEN = 20_000
"""Limits whose use is remembered. Beyond this, those that were seen first are forgotten."""


@dataclass(slots=True)
class SeenBudget:
    """The total and the reservations of a budget, or of a number of calls at the same time."""

    applied: Applied
    name: LimitName
    period: Period | None
    spent: int = 0
    reserved: int = 0


@dataclass(slots=True)
class SeenRate:
    """The units that were left in a token bucket at a moment."""

    limit: RateLimit
    remaining: float
    at: float

    def left(self, now: float) -> int:
        """Return the units that are left."""
        rate = self.limit.rate
        burst = rate.burst or rate.limit
        return max(0, int(min(burst, self.remaining + (now - self.at) * rate.limit / rate.period)))


@dataclass(frozen=True, slots=True)
class Row:
    """The use of one limit of a quota by one subject. Amounts of money are in billionths of a dollar."""

    quota: str
    per: str
    subject: str
    limit: LimitName
    allowed: int
    used: int
    reserved: int
    remaining: int
    ratio: float
    """The share that is left, from 0 to 1."""
    ends: float | None = None
    """When the period of a total ends, in Unix seconds."""

    @property
    def unit(self) -> int:
        """Its amounts are divided by this to show them."""
        return NANODOLLARS if is_money(self.limit) else 1


class UsageView:
    """The use of each limit as it was last seen. `clock` returns Unix seconds, `monotonic` seconds that never jump."""

    def __init__(self, clock: Callable[[], float], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._budgets: dict[str, SeenBudget] = {}
        self._rates: dict[str, SeenRate] = {}
        self.limits_in_force: Callable[[Quota, str], SubjectLimits] = Quota.limits_of
        """Returns the limits of a subject of a quota."""

    # Noting.

    def restore(self, quotas: Iterable[Quota], totals: Mapping[str, Spent]) -> None:
        """Note what was spent before a start."""
        named = {quota.name: quota for quota in quotas}
        now = self._clock()
        for key, total in totals.items():
            parts = key.split(":", 4)
            quota = named.get(parts[1]) if len(parts) == 5 else None
            if quota is None:
                continue
            applied = Applied(quota, parts[4])
            for name, _, period in applied.period_limits(now):
                if budget_key(applied, name, period) == key:
                    remember(self._budgets, key, SeenBudget(applied, name, period, total.amount))

    def note_budgets(self, limits: Sequence[BudgetLimit], levels: Sequence[BudgetLevel]) -> None:
        """Note the levels of budgets."""
        for limit, level in zip(limits, levels, strict=True):
            seen = self._budgets.get(limit.budget.key)
            if seen is None:
                seen = SeenBudget(limit.applied, limit.name, limit.period)
                remember(self._budgets, limit.budget.key, seen)
            seen.spent, seen.reserved = level.spent, level.reserved

    def note_settled(self, limits: Iterable[BudgetLimit], amounts: Mapping[str, int]) -> None:
        """Note the end of a reservation, and what was spent, by key."""
        for limit in limits:
            key = limit.budget.key
            if seen := self._budgets.get(key):
                seen.spent += amounts.get(key, 0)
                seen.reserved = max(0, seen.reserved - limit.budget.amount)

    def note_rates(self, limits: Sequence[RateLimit], levels: Sequence[RateLevel]) -> None:
        """Note the levels of token buckets."""
        now = self._monotonic()
        for limit, level in zip(limits, levels, strict=True):
            seen = self._rates.get(limit.rate.key)
            if seen is None:
                remember(self._rates, limit.rate.key, SeenRate(limit, level.remaining, now))
            else:
                seen.limit, seen.remaining, seen.at = limit, level.remaining, now

    def note_charged(self, rates: Iterable[Rate]) -> None:
        """Note what was taken from token buckets, or given back if it is negative."""
        for rate in rates:
            if seen := self._rates.get(rate.key):
                seen.remaining -= rate.amount

    # Reading.

    def spent(self, key: str) -> int:
        """Return what is spent of a budget."""
        seen = self._budgets.get(key)
        return seen.spent if seen else 0

    def for_policy(self, quotas: Iterable[Applied]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return `spend` and `remaining` of the policy's input for a call, by name of the quota and of its limit."""
        now = self._clock()
        spend: dict[str, Any] = {}
        remaining: dict[str, Any] = {}
        for applied in quotas:
            quota = applied.quota
            spent: dict[str, float] = {}
            left: dict[str, float] = {}
            for name, most, period in applied.period_limits(now):
                seen = self._budgets.get(budget_key(applied, name, period))
                used, unit = seen.spent if seen else 0, NANODOLLARS if is_money(name) else 1
                spent[name] = used / unit
                if most < UNLIMITED:
                    left[name] = max(0, most - used - (seen.reserved if seen else 0)) / unit
            for limit in rate_limits((applied,), 0):
                rate = self._rates.get(limit.rate.key)
                left[limit.name] = rate.left(self._monotonic()) if rate else limit.rate.burst or limit.rate.limit
            if (concurrent := applied.limits.concurrent) is not None:
                seen = self._budgets.get(applied.key("concurrent"))
                left["concurrent"] = max(0, concurrent - (seen.reserved if seen else 0))
            shown = "run" if quota.per == "run" else quota.name
            spend.setdefault(shown, spent)  # a quota of this name comes before the run
            remaining.setdefault(shown, left)
        return spend, remaining

    def rows(self, quotas: Iterable[Quota]) -> Iterator[Row]:
        """Yield the use of each limit that was seen, for the quotas that are configured now."""
        named = {quota.name: quota for quota in quotas}
        now = self._clock()
        for seen in self._budgets.values():
            quota = named.get(seen.applied.quota.name)
            allowed = self._allowed(quota, seen.applied.subject, seen.name)
            if quota is None or allowed is None or (seen.period and not seen.period.has(now)):
                continue
            ends = seen.period.last if seen.period else None
            used = seen.spent if seen.period else seen.reserved
            left = max(0, allowed - used)
            yield Row(
                quota.name,
                quota.per,
                seen.applied.subject,
                seen.name,
                allowed,
                used,
                seen.reserved,
                left,
                left / allowed,
                ends,
            )
        for rate in self._rates.values():
            quota = named.get(rate.limit.applied.quota.name)
            allowed = self._allowed(quota, rate.limit.applied.subject, rate.limit.name)
            if quota is None or allowed is None:
                continue
            left, burst = rate.left(self._monotonic()), quota.burst_of(allowed)
            yield Row(
                quota.name,
                quota.per,
                rate.limit.applied.subject,
                rate.limit.name,
                allowed,
                max(0, burst - left),
                0,
                left,
                min(1.0, left / burst),
            )

    def _allowed(self, quota: Quota | None, subject: str, name: LimitName) -> int | None:
        """Return a limit of a subject, or None if its quota does not have it, or not any more."""
        if quota is None:
            return None
        allowed: int | None = getattr(self.limits_in_force(quota, subject), name, None)
        return allowed

    def ratios(self, quotas: Iterable[Quota]) -> dict[str, float]:
        """Return the share that is left of each quota: of its subject and limit with the least. 1 if it is unused."""
        found = {quota.name: 1.0 for quota in quotas}
        for row in self.rows(quotas):
            found[row.quota] = min(found[row.quota], row.ratio)
        return found


def remember[Seen](seen: dict[str, Seen], key: str, latest: Seen) -> None:
    """Set the value of a key that was not seen before. The oldest one is forgotten if there are too many."""
    seen[key] = latest
    if len(seen) > MOST_SEEN:
        del seen[next(iter(seen))]
