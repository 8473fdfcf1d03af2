"""The limits of the quotas that apply to a call, as rates and budgets of the shared state. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from wirekey.core.shared_state import Budget, Rate
from wirekey.features.quotas.limit_names import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wirekey.features.quotas.definition import Applied
    from wirekey.features.quotas.estimate import Use
    from wirekey.features.quotas.limit_names import LimitName
    from wirekey.features.quotas.periods import Period

ANY_TOTAL = 2**53
"""The limit of a total to which anything may be added."""


class RateLimit(NamedTuple):
    """One limit per minute of a quota, and what a call takes of it."""

    applied: Applied
    name: LimitName
    rate: Rate


class BudgetLimit(NamedTuple):
    """One budget of a quota, or its number of calls at the same time, and what a call reserves of it."""

    applied: Applied
    name: LimitName
    limit: int
    budget: Budget
    period: Period | None = None
    """None for a number of calls at the same time."""


def rate_limits(
    quotas: Iterable[Applied], tokens: int, requests: int = 1, *, processes: int = 1
) -> Iterator[RateLimit]:
    """Yield the limits per minute of a call that takes `tokens` and `requests`.

    `processes`: how many share the limits without knowing what the others take. Here and below, each gets its share.
    """
    for applied in quotas:
        limits = applied.limits
        if limits.requests_per_minute is not None and requests:
            yield rate_limit(applied, "requests_per_minute", share_of(limits.requests_per_minute, processes), requests)
        if limits.tokens_per_minute is not None:
            yield rate_limit(applied, "tokens_per_minute", share_of(limits.tokens_per_minute, processes), tokens)


def share_of(limit: int, processes: int) -> int:
    """Return the part of a limit that one of several processes may use: at least 1."""
    return max(1, limit // processes)


def rate_limit(applied: Applied, name: LimitName, limit: int, amount: int) -> RateLimit:
    """Return one limit per minute."""
    return RateLimit(applied, name, Rate(applied.key(name), amount, limit, 60.0, applied.quota.burst_of(limit)))


def amount_of(name: LimitName, use: Use, calls: int = 1) -> int:
    """Return what an attempt takes of the total that a limit bounds. An unknown cost counts as 0."""
    kind = kind_of(name)
    if kind == "requests":
        return calls
    return use.all_tokens if kind == "tokens" else use.cost or 0


def budget_limits(
    quotas: Iterable[Applied], use: Use, now: float, *, expected: Use | None = None, processes: int = 1
) -> Iterator[BudgetLimit]:
    """Yield the totals that bound a call, and its limits of calls at the same time. `now`: Unix seconds.

    `expected`: what quotas with `reserve: expected` reserve.

    A call is allowed until a budget is used up, even if less is left than the call may cost. Otherwise the
    last dollars of a budget would be out of reach for calls without `max_tokens`. So the state gets a limit that is
    larger by the call's own reservation. A call that costs nothing needs no budget.
    """
    for applied in quotas:
        concurrent = applied.limits.concurrent
        if concurrent is not None:
            most = share_of(concurrent, processes)
            budget = Budget(applied.key("concurrent"), 1, most, counts_total=False)
            yield BudgetLimit(applied, "concurrent", concurrent, budget)
        reserved = expected if expected is not None and applied.quota.reserves_expected else use
        for name, most, period in applied.period_limits(now):
            amount = amount_of(name, reserved)
            if amount == 0 and (use.cost is not None or kind_of(name) == "tokens"):
                continue
            budget = Budget(budget_key(applied, name, period), amount, share_of(most, processes) + amount - 1)
            yield BudgetLimit(applied, name, most, budget, period)


def unbounded_totals(quotas: Iterable[Applied], use: Use, now: float) -> tuple[BudgetLimit, ...]:
    """Return the totals to which a use is added that is no request of its own, and that no limit refuses."""
    return tuple(
        limit._replace(budget=limit.budget._replace(limit=ANY_TOTAL))
        for limit in budget_limits(quotas, use, now)
        if limit.period and kind_of(limit.name) != "requests"
    )


def budget_key(applied: Applied, name: LimitName, period: Period) -> str:
    """Return the key of a budget. Each period has its own."""
    return applied.budget_key(name, period.label)
