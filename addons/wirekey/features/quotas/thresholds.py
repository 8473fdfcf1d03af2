"""Finds out when a share of a total is spent that operators want to know of, and logs it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wirekey.features.quotas.limits import BudgetLimit

logger = logging.getLogger(__name__)

MOST_WARNED = 10_000
"""Totals that are remembered. Clients choose some of them: those of labels that they send."""


class ReachedShare(NamedTuple):
    """A share of a total that is spent. `spent`: how much of the limit, in its unit."""

    limit: BudgetLimit
    share: float
    spent: int


class BudgetWarnings:
    """The shares of totals that one process has seen spent. Each is logged once a period, and again if a limit changes.

    `spent` returns what is spent of a total, by its key. `limit_now` returns the limit that is in force, which may have
    been raised since a call began. `clock` is in Unix seconds.
    """

    def __init__(
        self, spent: Callable[[str], int], limit_now: Callable[[BudgetLimit], int], clock: Callable[[], float]
    ) -> None:
        self._spent = spent
        self._limit_now = limit_now
        self._clock = clock
        self.notify: Callable[[ReachedShare], None] = lambda _: None
        """Reports a share to others. It neither blocks nor raises."""
        self._warned: dict[tuple[str, int], tuple[float, float]] = {}
        """The largest share of each total and limit that was logged, and the end of its period."""

    def check(self, limits: Sequence[BudgetLimit]) -> None:
        """Log the shares of these totals that are spent now, and were not before."""
        for limit in limits:
            if limit.period is None:
                continue
            key, shares = limit.budget.key, limit.applied.quota.warn_at
            warned = self._warned.get((key, limit.limit), (0.0, 0.0))[0]
            if not shares or warned >= shares[-1]:
                continue
            spent = self._spent(key)
            reached = [share for share in shares if share > warned and spent >= limit.limit * share]
            if reached and (allowed := self._limit_now(limit)) != limit.limit:
                self.check([limit._replace(limit=allowed)])
            elif reached:
                self._warned[key, limit.limit] = reached[-1], limit.period.end
                self._report(ReachedShare(limit, reached[-1], spent))
        if len(self._warned) > MOST_WARNED:
            self._forget()

    def _forget(self) -> None:
        """Forget the totals whose period has ended, and the older half of the others: not one at each call."""
        now = self._clock()
        kept = [(key, warned) for key, warned in self._warned.items() if warned[1] > now]
        self._warned = dict(kept[-MOST_WARNED // 2 :])

    def _report(self, reached: ReachedShare) -> None:
        limit = reached.limit
        assert limit.period
        logger.warning(
            "%d %% of the %s is spent: %s %s%s",
            reached.spent * 100 // limit.limit,
            limit.applied.quota.title,
            limit.name,
            limit.period.label,
            limit.applied.words,
        )
        self.notify(reached)
