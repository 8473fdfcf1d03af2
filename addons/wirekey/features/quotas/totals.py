"""The totals of budgets in the shared state: sets them from the ledger, and restores those that the state has lost.

Each machine keeps in its ledger what its own processes have spent. If a server has lost its data, nothing is reserved
or settled until the processes have restored the budgets from their ledgers, and from the totals that they saw last.
"""

from __future__ import annotations

import asyncio
import logging
import time
from itertools import batched
from typing import TYPE_CHECKING

from wirekey.core.shared_state import BudgetsLostError, SharedStateUnavailableError
from wirekey.features.quotas.restoring import WAITED_AT_MOST, Restoring
from wirekey.features.quotas.shares import ProcessCount

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wirekey.core.shared_state import Budget, Reserved, SharedState
    from wirekey.features.quotas.ledger import Ledger

logger = logging.getLogger(__name__)

MOST_KEPT = 20_000
"""Settlements that wait for the shared state."""
OPENING_TRIES = 10
SETTLED_AT_ONCE = 16


class SharedTotals:
    """The totals of budgets in a state that other processes share, or in that of this process. For one event loop."""

    def __init__(self) -> None:
        self.ledger: Ledger | None = None
        self.processes = ProcessCount()
        self.restoring = Restoring(self)
        self.unsettled: dict[str, Mapping[str, int]] = {}
        """By reservation, the amounts that are in the ledger, and of which the state is not known to have them."""

    async def reserve(
        self, state: SharedState, reservation: str, budgets: Sequence[Budget], lease: float, ttls: Sequence[float]
    ) -> Reserved:
        """Reserve amounts as the state does. `ttls`: for how many seconds each total is kept.

        Raises SharedStateUnavailableError.
        """
        deadline = time.monotonic() + WAITED_AT_MOST
        for _ in range(OPENING_TRIES):
            if state.losses and not state.losses.epoch:
                await self.restoring.wait(state, deadline)
            restorations = self.restoring.number
            try:
                found = await state.reserve(reservation, budgets, lease)
                for index in found.unopened:
                    await self._open(state, budgets[index].key, ttls[index])
            except BudgetsLostError:
                await self.restoring.wait(state, deadline)
                continue
            # A reservation that was being made while budgets were restored may be lost. It replaces itself.
            if not found.unopened and restorations == self.restoring.number:
                return found
        raise SharedStateUnavailableError("a total cannot be set")

    async def _open(self, state: SharedState, key: str, ttl: float) -> None:
        """Set a total that the state does not have, for `ttl` seconds. Raises SharedStateUnavailableError."""
        spent = 0
        if state.losses:
            # All that was spent before has been added to the totals. This one has expired early, if it was there.
            spent = state.losses.amount(key)
        elif self.ledger:
            spent = self.ledger.spent(key) if state.is_local else await asyncio.to_thread(self.ledger.read, key)
        await state.open_total(key, spent, ttl)

    def note_unsettled(self, reservation: str, amounts: Mapping[str, int]) -> None:
        """Remember what a call has spent, until the state has it."""
        if amounts and len(self.unsettled) < MOST_KEPT:
            self.unsettled[reservation] = amounts

    async def settle(self, state: SharedState, reservation: str, amounts: Mapping[str, int]) -> None:
        """End a reservation and add what was used. If the state does not respond, it is tried again later."""
        try:
            await state.settle(reservation, amounts)
        except BudgetsLostError:
            self.restoring.begin(state)
        except SharedStateUnavailableError as error:
            logger.warning("what a call has spent is added later to the shared state: %s", error)
        else:
            self.unsettled.pop(reservation, None)

    async def settle_rest(self, state: SharedState) -> None:
        """Add the amounts that the state did not take before. The first one finds out whether it responds."""
        waiting = tuple(self.unsettled.items())
        for some in (waiting[:1], *batched(waiting[1:], SETTLED_AT_ONCE)):
            results = await asyncio.gather(*(state.settle(*each) for each in some), return_exceptions=True)
            for (reservation, _), result in zip(some, results, strict=True):
                if result is None:
                    self.unsettled.pop(reservation, None)
                elif not isinstance(result, SharedStateUnavailableError):
                    raise result
            if any(results):
                return
