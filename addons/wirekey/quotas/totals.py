"""Sets the totals of budgets in the shared state from the ledger, also after the state has lost them.

Each machine keeps in its ledger what its own processes have spent. A mark in the shared state says that this is part of
a total. If a server restarts empty, the totals are gone and so are the marks. Every machine then adds its own part.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from wirekey.shared_state import SharedStateUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.quotas.ledger import Ledger
    from wirekey.shared_state import SharedState

logger = logging.getLogger(__name__)

MOST_KEPT = 20_000
"""Totals that are remembered, and settlements that wait for the shared state."""


class SharedTotals:
    """The totals of budgets in a state that other processes share, or in that of this process. For one event loop."""

    def __init__(self) -> None:
        self.ledger: Ledger | None = None
        self._returned: dict[str, int] = {}
        """By key, the total that the state returned last. A smaller one means that the state has lost it."""
        self._unsettled: dict[str, Mapping[str, int]] = {}
        """By reservation, the amounts that the state did not take because it did not respond."""

    async def open(self, state: SharedState, key: str, ttl: float) -> None:
        """Set a total that the state does not have, for `ttl` seconds. Raises SharedStateUnavailableError."""
        if self.ledger is None or state.is_local:
            await state.open_total(key, self.ledger.spent(key) if self.ledger else 0, ttl)
        elif not await self._add_own(state, key, ttl):
            # Another worker of this machine has set the mark, and adds the part of the machine.
            await state.open_total(key, 0, ttl)

    async def check(self, state: SharedState, key: str, total: int, ttl: float) -> None:
        """Add this machine's part to a total that may lack it. `total`: as the state has returned it.

        Raises SharedStateUnavailableError.
        """
        if self.ledger is None:
            return
        before = self._returned.pop(key, None)
        self._returned[key] = total
        if len(self._returned) > MOST_KEPT:
            del self._returned[next(iter(self._returned))]
        if before is None or total < before:
            await self._add_own(state, key, ttl)

    async def _add_own(self, state: SharedState, key: str, ttl: float) -> bool:
        """Add what this machine has spent, if it is not part of the total. Return whether it was added."""
        assert self.ledger
        if await state.add(f"counted:{self.ledger.id}:{key}", b"1", ttl) is not None:
            return False
        spent = await asyncio.to_thread(self.ledger.read, key)
        if not await state.open_total(key, spent, ttl) and spent:
            await state.settle(f"counted:{self.ledger.id}:{os.urandom(8).hex()}", {key: spent})
        return True

    async def settle(self, state: SharedState, reservation: str, amounts: Mapping[str, int]) -> None:
        """End a reservation and add what was used. If the state does not respond, it is tried again later."""
        try:
            await state.settle(reservation, amounts)
        except SharedStateUnavailableError as error:
            if amounts and len(self._unsettled) < MOST_KEPT:
                self._unsettled[reservation] = amounts
            logger.warning("what a call has spent is added later to the shared state: %s", error)

    async def settle_rest(self, state: SharedState) -> None:
        """Add the amounts that the state did not take before."""
        for reservation, amounts in tuple(self._unsettled.items()):
            try:
                await state.settle(reservation, amounts)
            except SharedStateUnavailableError:
                return
            self._unsettled.pop(reservation, None)
