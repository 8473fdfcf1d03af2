"""Notices that Redis has lost budgets, and restores them: after FLUSHALL, a restart with no or old data, a failover.

An epoch marks that the budgets are complete. Each script that reserves or settles compares it, so that no call passes
between a loss and the moment when a process notices it. The first process that does begins another epoch, and each
process then adds what it knows before it uses a budget again: the totals that it has seen last, with each ledger's part
in them, what its own ledger has, and its reservations. A total becomes the largest one that was seen, or the sum of the
largest parts of all ledgers if that is more. So it has what a process has spent that is no longer there, as every
process reads all totals that have changed. Both are at most what was really spent, so nobody has to know whether a
settlement was made whose reply did not come.
"""

from __future__ import annotations

import asyncio
import os
import time
from itertools import batched
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from wirekey.core.shared_state.protocol import BudgetsLostError, KnownTotal, SeenTotal, SharedStateUnavailableError
from wirekey.features.redis import loss_scripts, replies, scripts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from wirekey.core.shared_state.protocol import Budget, KnownBudgets, Reserved

    type Run = Callable[[str, Sequence[str], Sequence[Any], Callable[[Any], Any]], Awaitable[Any]]

GUARD = "budgets"
CHANGED = "budgets:changed"
JOINED = "budgets:joined"
LEDGERS = "budgets:ledgers"
GRACE = 0.6
"""Seconds to wait for other processes, which may have died."""
NOTICED = 0.35
"""Seconds to wait in any case: in this time, a process notices the loss that this one does not know of yet."""
POLL = 0.02
TRIES = 10
"""How often a restoration begins again as the server loses its data once more."""
TOTALS_AT_ONCE = 500
RESERVATIONS_AT_ONCE = 100
MOST_SEEN = 50_000
"""Totals that are remembered, and changes that the server keeps."""
NO_PARTS: Mapping[str, int] = MappingProxyType({})
UNKNOWN_TTL = 32 * 86400.0
"""Seconds for which a total is kept whose end is not known yet."""


class RedisLosses:
    """The losses of one Redis server. `run` runs a script with keys and arguments, and reads its reply."""

    def __init__(self, run: Run, clock: Callable[[], float] = time.monotonic) -> None:
        self._run = run
        self._clock = clock
        self.epoch = ""
        self.changes = 0
        """The number of changes of totals that the server has told. A smaller one means that it has older data."""
        self._read_to = 0
        self.seen: dict[str, SeenTotal] = {}
        self.ledger = ""
        """The ledger that has what this process spends."""

    # The totals that were seen.

    @property
    def guard(self) -> list[Any]:
        """The arguments of a script that must not run after a loss."""
        return [self.epoch, self.changes]

    def lost(self) -> BudgetsLostError:
        """Return the error for a script that did not run because of a loss."""
        return BudgetsLostError("Redis has lost budgets, which are being restored")

    def note(self, key: str, amount: int, ttl: float | None = None, parts: Mapping[str, int] = NO_PARTS) -> None:
        """Remember a total that the server has returned, and the parts of ledgers in it."""
        before = self.seen.get(key)
        if before is None:
            if len(self.seen) >= MOST_SEEN:
                del self.seen[next(iter(self.seen))]
            expires = self._clock() + (UNKNOWN_TTL if ttl is None else ttl)
            self.seen[key] = SeenTotal(amount, self.epoch, expires, parts)
        elif amount > before.amount or ttl is not None or before.epoch != self.epoch or parts:
            expires = before.expires if ttl is None else self._clock() + ttl
            if parts != before.parts:
                both = {**before.parts, **parts}
                parts = {ledger: max(part, before.parts.get(ledger, 0)) for ledger, part in both.items()}
            self.seen[key] = SeenTotal(max(amount, before.amount), self.epoch, expires, parts)

    def note_reserved(self, budgets: Sequence[Budget], found: Reserved) -> None:
        """Remember the totals that the server has returned for a reservation."""
        for index, (budget, level) in enumerate(zip(budgets, found.levels, strict=True)):
            if budget.counts_total and index not in found.unopened:
                self.note(budget.key, level.spent, parts=found.parts[index])

    def note_settled(self, used: Mapping[str, int], found: Sequence[bytes]) -> None:
        """Remember the number of changes and the totals that the server has returned for a settlement."""
        number, *totals = found
        self.changes = max(self.changes, int(number))
        for key, total in zip(used, totals, strict=True):
            if total:
                self.note(key, int(total))

    def amount(self, key: str) -> int:
        """Return a total that was seen and has not expired, otherwise 0."""
        return self.seen[key].amount if self.is_open(key) else 0

    def is_open(self, key: str) -> bool:
        """Return whether a total was seen and has not expired. It may be 0."""
        found = self.seen.get(key)
        return found is not None and found.expires > self._clock()

    def ttl(self, key: str) -> float:
        """Return the seconds for which a total that was seen is kept."""
        return self.seen[key].expires - self._clock()

    def remember(self, totals: Mapping[str, SeenTotal]) -> None:
        """Add totals that were seen before a start."""
        self.seen = dict(totals) | self.seen

    async def watch(self) -> tuple[str, ...]:
        """Read the totals that have changed since. Return their keys. Raises BudgetsLostError."""
        if not self.epoch:
            raise self.lost()
        epoch = self.epoch
        arguments = [*self.guard, self._read_to, TOTALS_AT_ONCE, MOST_SEEN]
        found = await self._run(loss_scripts.WATCH, [GUARD, CHANGED], arguments, replies.watched)
        if found is None:
            raise self.lost()
        if epoch != self.epoch:
            return ()
        number, totals = found
        for total in totals:
            if total.amount is not None:
                self.note(total.key, total.amount, total.lasts / 1000 if total.lasts > 0 else None, total.parts)
        # If there were too many, there may be more with the last number.
        self._read_to = number if len(totals) < TOTALS_AT_ONCE else totals[-1].change - 1
        self.changes = max(self.changes, number)
        return tuple(total.key for total in totals if total.amount is not None)

    # Restoring.

    async def restore(self, known: Callable[[str], KnownBudgets]) -> None:
        """Add what this process knows to the budgets, and wait for the other processes."""
        for _ in range(TRIES):
            epoch = await self._begin()
            latest = known(epoch)
            self.ledger = latest.ledger
            if await self._contribute(epoch, latest) and await self._finish(epoch, latest):
                self.epoch, self.changes, self._read_to = epoch, 0, 0
                return
        raise SharedStateUnavailableError("Redis loses budgets again and again")

    async def _begin(self) -> str:
        latest = max((number_of(seen.epoch) for seen in self.seen.values()), default=0)
        following = f"{max(latest, number_of(self.epoch)) + 1}:{os.urandom(8).hex()}"
        keys, arguments = [GUARD, JOINED, LEDGERS], [*self.guard, following]
        epoch: str = await self._run(loss_scripts.BEGIN, keys, arguments, replies.epoch)
        return epoch

    async def _contribute(self, epoch: str, known: KnownBudgets) -> bool:
        for totals in batched(self._totals(epoch, known), TOTALS_AT_ONCE):
            arguments: list[Any] = [epoch, known.ledger]
            for total in totals:
                arguments += [total.seen, max(1, round(total.ttl * 1000)), total.part, len(total.parts)]
                for part in total.parts.items():
                    arguments += part
            keys = [GUARD, CHANGED, LEDGERS, *(f"budget:{total.key}" for total in totals)]
            if not await self._run(loss_scripts.CONTRIBUTE, keys, arguments, replies.flag):
                return False
        for held in batched(known.held.items(), RESERVATIONS_AT_ONCE):
            keys, arguments = [GUARD], [epoch, max(1, round(known.lease * 1000))]
            for name, amounts in held:
                keys += [f"reservation:{name}", f"settled:{name}", *(f"budget:{key}" for key in amounts)]
                arguments += [name, len(amounts), *amounts.values()]
            if not await self._run(scripts.HOLD, keys, arguments, replies.flag):
                return False
        return True

    def _totals(self, epoch: str, known: KnownBudgets) -> Iterator[KnownTotal]:
        now = self._clock()
        self.seen = {key: total for key, total in self.seen.items() if total.expires > now}
        for key in {**self.seen, **known.parts}:
            seen = self.seen.get(key)
            part, ttl = known.parts.get(key, (0, 0.0))
            # The spending seen in this epoch is part of its totals.
            amount, parts = (seen.amount, seen.parts) if seen and seen.epoch != epoch else (0, NO_PARTS)
            lasts = max(ttl, seen.expires - now if seen else 0.0)
            if (amount or part) and lasts > 0:
                yield KnownTotal(key, amount, part, parts, lasts)

    async def _finish(self, epoch: str, known: KnownBudgets) -> bool:
        arguments = [epoch, known.process, known.ledger, known.processes]
        arguments += [round(NOTICED * 1000), round(GRACE * 1000)]
        while True:
            state = await self._run(loss_scripts.FINISH, [GUARD, JOINED, LEDGERS], arguments, replies.number)
            if state:
                return bool(state > 0)
            await asyncio.sleep(POLL)


def number_of(epoch: str) -> int:
    """Return the number of an epoch. Each one is larger than those before."""
    return int(epoch.partition(":")[0] or 0)
