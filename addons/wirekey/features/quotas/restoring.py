"""Restores the budgets that the shared state has lost, once at a time, while calls wait."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from wirekey.core.shared_state import BudgetsLostError, KnownBudgets, SharedStateUnavailableError
from wirekey.features.quotas.shares import UNIT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wirekey.core.shared_state import SharedState
    from wirekey.features.quotas.ledger import Ledger, Spent
    from wirekey.features.quotas.shares import ProcessCount

logger = logging.getLogger(__name__)

WAITED_AT_MOST = 1.0
"""Seconds for which a call waits until lost budgets are restored."""
LEASE = 60.0
"""Seconds for which a reservation stays without being renewed: until those of a process that died return."""
PERIOD_MARGIN = 86400.0
"""Seconds after the end of its period for which a total is kept, for calls that end later."""


class KnownTotals(Protocol):
    """The budgets as one process knows them."""

    ledger: Ledger | None
    processes: ProcessCount
    unsettled: dict[str, Mapping[str, int]]

    async def settle_rest(self, state: SharedState) -> None:
        """Add the amounts that the state did not take before."""


class Contribution(NamedTuple):
    """The amounts that this process has added in an epoch. It adds the same if it begins again in the same one.

    `settled`: the reservations whose settlements are in them.
    """

    epoch: str
    parts: Mapping[str, tuple[int, float]]
    settled: frozenset[str]


class Restoring:
    """The restoration of the budgets of one process. `totals`: what it has to add."""

    def __init__(self, totals: KnownTotals) -> None:
        self._totals = totals
        self._task: asyncio.Task[None] | None = None
        self.number = 0
        """How often this process has added what it knows."""
        self.held: Callable[[], Mapping[str, Mapping[str, int]]] = dict
        """Returns the amounts of each reservation of an open call."""
        self._contribution = Contribution("", {}, frozenset())

    def begin(self, state: SharedState) -> asyncio.Task[None]:
        """Begin to restore the budgets, unless this process does so already. Return what ends with it."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._restore(state))
            self._task.add_done_callback(read_error)
        return self._task

    async def wait(self, state: SharedState, deadline: float) -> None:
        """Wait until the budgets are restored, or until `deadline`. Raises SharedStateUnavailableError."""
        task = self.begin(state)
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                await asyncio.shield(task)
        except TimeoutError as error:
            raise SharedStateUnavailableError("lost budgets are being restored") from error

    async def finish(self) -> None:
        """Wait for a restoration in progress, as this process stops. One that takes too long is ended."""
        if self._task and not self._task.done():
            await asyncio.wait([self._task], timeout=WAITED_AT_MOST)
            if self._task.cancel():
                await asyncio.wait([self._task])

    async def watch(self, state: SharedState) -> None:
        """Notice lost budgets and restore them, and keep the totals that have changed."""
        losses, ledger = state.losses, self._totals.ledger
        if losses is None:
            return
        try:
            changed = await losses.watch()
        except BudgetsLostError:
            self.begin(state)
        except SharedStateUnavailableError:
            return
        else:
            if ledger:
                ledger.note_seen(changed, losses.seen)

    async def _restore(self, state: SharedState) -> None:
        losses, ledger = state.losses, self._totals.ledger
        assert losses
        if not losses.epoch and ledger:
            losses.remember(ledger.seen)
        if is_loss := bool(losses.epoch):
            self._totals.processes.keep()
        of_machine: Mapping[str, Spent] = {}
        if ledger:
            # Without the file, this process adds what it knows itself.
            with contextlib.suppress(sqlite3.Error, OSError):
                of_machine = await asyncio.to_thread(ledger.read_all)
        await losses.restore(lambda epoch: self._known(epoch, of_machine))
        for reservation in self._contribution.settled:
            self._totals.unsettled.pop(reservation, None)
        self._contribution = Contribution(losses.epoch, {}, frozenset())  # it holds each total
        if is_loss:
            logger.warning("The shared state had lost budgets. They are restored.")
        # If they are lost again at once, this process has seen what the others have contributed.
        await self.watch(state)
        await self._totals.settle_rest(state)

    def _known(self, epoch: str, of_machine: Mapping[str, Spent]) -> KnownBudgets:
        """Return what this process knows. `of_machine`: what all its processes have written to the ledger."""
        self.number += 1
        if self._contribution.epoch != epoch:
            self._contribution = self._contribution_of(epoch, of_machine)
        _, parts, settled = self._contribution
        later = {name: amounts for name, amounts in self._totals.unsettled.items() if name not in settled}
        count, ledger = self._totals.processes, self._totals.ledger
        held = {count.id: {UNIT.key: UNIT.amount}, **self.held(), **later}
        return KnownBudgets(count.id, count.known, ledger.id if ledger else count.id, parts, held, LEASE)

    def _contribution_of(self, epoch: str, of_machine: Mapping[str, Spent]) -> Contribution:
        ledger = self._totals.ledger
        if not ledger:
            return Contribution(epoch, {}, frozenset())
        now = ledger.now()
        parts: dict[str, tuple[int, float]] = {}
        for key, total in (*of_machine.items(), *ledger.totals.items()):
            amount = max(total.amount, parts.get(key, (0, 0.0))[0])
            parts[key] = amount, total.ends - now + PERIOD_MARGIN
        return Contribution(epoch, parts, frozenset(self._totals.unsettled))


def read_error(task: asyncio.Task[None]) -> None:
    """Read the error of a restoration that no call waits for. It is tried again."""
    if not task.cancelled() and not isinstance(task.exception(), SharedStateUnavailableError | None):
        logger.error("budgets could not be restored: %s", type(task.exception()).__name__)
