"""The amounts that an attempt of a call holds of its quotas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.features.quotas.estimate import NOTHING, Use

if TYPE_CHECKING:
    from wirekey.core.shared_state import RateLevel, SharedState
    from wirekey.features.quotas.definition import Applied
    from wirekey.features.quotas.growth import Growth
    from wirekey.features.quotas.limits import BudgetLimit, RateLimit


@dataclass(slots=True)
class Hold:
    """The amounts that the current attempt of a call has taken from its quotas. The call keeps it until it ends."""

    id: str
    """Identifies the reservation in the shared state."""
    quotas: tuple[Applied, ...]
    model: str | None = None
    """The model that is sent."""
    use: Use = NOTHING
    """The largest use of the attempt."""
    growth: Growth | None = None
    """The use that is expected of it. None if all its quotas reserve the largest use."""
    budgets: tuple[BudgetLimit, ...] = ()
    rates: tuple[RateLimit, ...] = ()
    levels: tuple[RateLevel, ...] = ()
    """The levels of `rates` after they were taken."""
    number: int = 1
    """The number of the attempt. Only the first one counts as a request."""
    reserved_in: SharedState | None = None
    """The state in which `budgets` are reserved; None if they are not."""
    taken_from: SharedState | None = None
    """The state from which `rates` were taken."""
    sent: bool = False
    """Whether the attempt is on its way to the provider."""

    @property
    def expected(self) -> Use | None:
        """The use that quotas with `reserve: expected` have reserved for it."""
        return self.growth.use if self.growth else None

    @property
    def reservations(self) -> dict[str, tuple[BudgetLimit, ...]]:
        """Its reservations by their ids, with those by which it was extended."""
        return {self.id: self.budgets, **self.growth.extensions} if self.growth else {self.id: self.budgets}


@dataclass(slots=True)
class CallQuotas:
    """The quotas that apply to a call, at least one, and what its current attempt holds of them."""

    applied: tuple[Applied, ...]
    hold: Hold | None = None
