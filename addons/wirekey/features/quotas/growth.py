"""The output of a call that quotas with `reserve: expected` have reserved, which grows as the call writes more."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wirekey.features.quotas.limits import amount_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wirekey.core.shared_state import SharedState
    from wirekey.features.quotas.estimate import Use
    from wirekey.features.quotas.expected_output import CallKind
    from wirekey.features.quotas.limits import BudgetLimit


@dataclass(slots=True)
class Growth:
    """The use that is expected of an attempt, for quotas with `reserve: expected`."""

    kind: CallKind
    use_of: Callable[[int], Use]
    """Returns the use of the attempt with a number of output tokens."""
    most: int
    """The most output tokens that it can have."""
    hidden: int
    """The tokens of reasoning that its stream may hide."""
    tokens: int
    """The output tokens that are reserved."""
    use: Use
    """The use that is reserved."""
    written: int | None = None
    """The output tokens that its stream has written so far, by estimate. None if that is not counted."""
    extensions: dict[str, tuple[BudgetLimit, ...]] = field(default_factory=dict)
    """The reservations that were made since it was sent, by their ids."""
    requested: int = 0
    """How often a further reservation was requested."""
    extending: asyncio.Future[None] | None = None
    """The end of the last one that other processes had to decide on."""

    async def release(self, state: SharedState) -> None:
        """End the reservations by which it was extended. If the state does not respond, they end by themselves."""
        released = (state.settle(reservation, {}) for reservation in self.extensions)
        if state.is_local:
            for each in released:
                await each
        else:
            await asyncio.gather(*released, return_exceptions=True)

    def extended_limits(
        self, budgets: Sequence[BudgetLimit], use: Use, limit_now: Callable[[BudgetLimit], int]
    ) -> tuple[BudgetLimit, ...]:
        """Return what a larger use reserves in addition, in quotas with `reserve: expected`.

        `budgets`: those in which the call has a reservation. As a call, it is allowed until a budget is used up.
        `limit_now` returns the limit of a budget that is in force: it may have been raised since the call began.
        """
        found = []
        for limit in budgets:
            if limit.period is None or not limit.applied.quota.reserves_expected:
                continue
            before, amount = limit.budget, amount_of(limit.name, use, 0) - amount_of(limit.name, self.use, 0)
            if amount > 0:
                now = limit_now(limit)
                share = before.limit - before.amount + 1  # less than the limit without the state of other processes
                most = share + (now - limit.limit) * share // limit.limit + amount - 1
                found.append(limit._replace(limit=now, budget=before._replace(amount=amount, limit=most)))
        return tuple(found)
