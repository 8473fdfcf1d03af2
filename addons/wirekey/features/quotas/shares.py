"""Counts the processes that share a state, so that each can enforce its share of limits if the state is unreachable.

Each process holds a reservation of one unit that nothing limits, and renews it as it does those of calls. The sum of
these reservations is the number of processes. That of a process that died returns by itself.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from wirekey.core.shared_state import Budget, SharedStateUnavailableError

if TYPE_CHECKING:
    from wirekey.core.shared_state import SharedState

KEPT = 3.0
"""Seconds in which each process that is alive is counted again."""
UNIT = Budget("processes", 1, 2**31, counts_total=False)


class ProcessCount:
    """The number of processes that share a state, as it was last known. 1 until the state has responded."""

    def __init__(self) -> None:
        self.known = 1
        self.id = f"process:{os.urandom(8).hex()}"
        self._kept_until = 0.0

    def keep(self) -> None:
        """Forget no process for a while, as the state has lost its data, and some may not be counted again yet."""
        self._kept_until = time.monotonic() + KEPT

    async def update(self, state: SharedState, seconds: float) -> None:
        """Count this process for `seconds`, and learn of the others. Without the state, nothing changes."""
        if state.is_local:
            return
        try:
            found = await state.reserve(self.id, [UNIT], seconds)
        except SharedStateUnavailableError:
            return
        least = self.known if time.monotonic() < self._kept_until else 1
        self.known = max(least, found.levels[0].reserved)

    async def leave(self, state: SharedState) -> None:
        """Count this process no longer."""
        if state.is_local:
            return
        try:
            await state.settle(self.id, {})
        except SharedStateUnavailableError:
            return
        self.id = f"process:{os.urandom(8).hex()}"
