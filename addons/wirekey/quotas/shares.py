"""Counts the processes that share a state, so that each can enforce its share of a limit while the state is away.

Each process holds a reservation of one unit that nothing limits, and renews it as it does those of calls. The sum of
these reservations is the number of processes. That of a process that died returns by itself.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wirekey.shared_state import Budget, SharedStateUnavailableError

if TYPE_CHECKING:
    from wirekey.shared_state import SharedState

UNIT = Budget("processes", 1, 2**31, counts_total=False)


class ProcessCount:
    """The number of processes that share a state, as it was last known. 1 until the state has responded."""

    def __init__(self) -> None:
        self.known = 1
        self._id = f"process:{os.urandom(8).hex()}"

    async def update(self, state: SharedState, seconds: float) -> None:
        """Count this process for so many seconds, and learn of the others. Without the state, nothing changes."""
        if state.is_local:
            return
        try:
            found = await state.reserve(self._id, [UNIT], seconds)
        except SharedStateUnavailableError:
            return
        self.known = max(1, found.levels[0].reserved)

    async def leave(self, state: SharedState) -> None:
        """Count this process no longer."""
        if state.is_local:
            return
        try:
            await state.settle(self._id, {})
        except SharedStateUnavailableError:
            return
        self._id = f"process:{os.urandom(8).hex()}"
