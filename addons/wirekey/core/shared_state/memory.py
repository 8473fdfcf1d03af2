"""The shared state of a single process: nothing waits, and what has expired is removed."""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.core.shared_state import buckets
from wirekey.core.shared_state.protocol import BudgetLevel, Reserved, Taken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wirekey.core.shared_state.protocol import Budget, Rate

SETTLED_FOR = 3600.0
"""Seconds after its expiry within which a reservation can be settled."""
MAX_VALUES = 1_000_000
"""Values kept at most. Beyond this, those that expire first are removed."""

SPARE_ENDS = 1000
"""Expiry times of ended reservations that are kept in any case."""
CHECK_INTERVAL = 60.0
"""Seconds between two removals of full buckets and expired totals."""


@dataclass(slots=True)
class Total:
    """The total of a budget, and the sum of its live reservations."""

    spent: int | None = None
    expires: float = 0.0
    reserved: int = 0


@dataclass(slots=True)
class HeldAmounts:
    """The amounts that a reservation holds, by budget, and when it ends."""

    amounts: dict[str, int]
    expires: float


class MemoryState:
    """The `SharedState` of one process. Its methods never wait.

    `clock` returns seconds since any moment. It never jumps, so that setting the time of the machine changes nothing.
    """

    is_local = True
    is_remote = False
    losses = None

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._values: dict[str, tuple[bytes, float]] = {}
        self._ends: list[tuple[float, str]] = []
        """A heap of the expiry times of values, some of which were set again since."""
        self._full_at: dict[str, float] = {}
        """For each token bucket that is not full, when it is full."""
        self._buckets_checked = 0.0
        self._totals: dict[str, Total] = {}
        self._totals_checked = 0.0
        self._reservations: dict[str, HeldAmounts] = {}
        self._reservation_ends: list[tuple[float, str]] = []
        """A heap of the expiry times of reservations, some of which were renewed or have ended since."""
        self._expired: dict[str, float] = {}
        """Reservations that expired unsettled, with the time until which they can be settled."""

    # Values that expire.

    async def get(self, key: str) -> bytes | None:
        """Return the value of a key, or None if it has none or it has expired."""
        return self._value(key, self._clock())

    def _value(self, key: str, now: float) -> bytes | None:
        found = self._values.get(key)
        return found[0] if found and found[1] > now else None

    async def set(self, key: str, value: bytes, ttl: float) -> None:
        """Set the value of a key for `ttl` seconds."""
        self._set(key, value, ttl, self._clock())

    def _set(self, key: str, value: bytes, ttl: float, now: float) -> None:
        self._values[key] = value, now + ttl
        heapq.heappush(self._ends, (now + ttl, key))
        while self._ends and (self._ends[0][0] <= now or len(self._ends) > MAX_VALUES):
            end, old = heapq.heappop(self._ends)
            if self._values.get(old, (b"", 0.0))[1] == end:
                del self._values[old]

    async def add(self, key: str, value: bytes, ttl: float) -> bytes | None:
        """Set the value of a key that has none. Return None if it was set, otherwise the value that it has."""
        now = self._clock()
        found = self._value(key, now)
        if found is None:
            self._set(key, value, ttl, now)
        return found

    async def replace(self, key: str, expected: bytes, value: bytes, ttl: float) -> bool:
        """Set the value of a key if its value is `expected`. Return whether it was set."""
        now = self._clock()
        is_expected = self._value(key, now) == expected
        if is_expected:
            self._set(key, value, ttl, now)
        return is_expected

    async def delete(self, key: str) -> None:
        """Remove the value of a key, if it has one."""
        self._values.pop(key, None)

    # Rates.

    async def take(self, rates: Sequence[Rate]) -> Taken:
        """Remove all amounts if each fits into its bucket, otherwise none of them."""
        now = self._clock()
        if now - self._buckets_checked >= CHECK_INTERVAL:
            self._forget_full_buckets(now)
        known, waits, allowed = self._full_at, [], True
        for rate in rates:
            wait = buckets.wait_for(rate, known.get(rate.key, now), now)
            waits.append(wait)
            allowed = allowed and not wait
        levels = []
        for rate, wait in zip(rates, waits, strict=True):
            full = known.get(rate.key, now)
            if allowed:
                full = known[rate.key] = buckets.taken(rate, full, now)
            levels.append(buckets.level(rate, full, now, wait))
        return Taken(allowed, tuple(levels))

    async def charge(self, rates: Sequence[Rate]) -> None:
        """Remove amounts whether or not they fit. A negative amount is given back."""
        now = self._clock()
        for rate in rates:
            self._full_at[rate.key] = buckets.taken(rate, self._full_at.get(rate.key, now), now)

    def _forget_full_buckets(self, now: float) -> None:
        self._buckets_checked = now
        self._full_at = {key: full for key, full in self._full_at.items() if full > now}

    # Budgets.

    async def reserve(self, reservation: str, budgets: Sequence[Budget], ttl: float) -> Reserved:
        """Reserve all amounts under the id `reservation` if each fits, otherwise none of them."""
        now = self._clock()
        self._drop_expired(now)
        self._end(reservation)
        totals = [self._total(budget.key, now) or Total() for budget in budgets]
        unopened, exhausted = [], []
        for index, (budget, total) in enumerate(zip(budgets, totals, strict=True)):
            if budget.counts_total and total.spent is None:
                unopened.append(index)
            elif (total.spent or 0) + total.reserved + budget.amount > budget.limit:
                exhausted.append(index)
        if not (unopened or exhausted):
            for budget, total in zip(budgets, totals, strict=True):
                self._totals[budget.key] = total
                total.reserved += budget.amount
            amounts = {budget.key: budget.amount for budget in budgets}
            self._reservations[reservation] = HeldAmounts(amounts, now + ttl)
            self._note_end(now + ttl, reservation)
        return Reserved(tuple(map(level_of, totals)), tuple(exhausted), tuple(unopened))

    async def renew(self, reservation: str, ttl: float) -> bool:
        """Keep a reservation for `ttl` seconds from now. Return False if it has ended."""
        now = self._clock()
        self._drop_expired(now)
        found = self._reservations.get(reservation)
        if found:
            found.expires = now + ttl
            self._note_end(now + ttl, reservation)
        return found is not None

    async def settle(self, reservation: str, used: Mapping[str, int]) -> None:
        """End a reservation and add what was used to the totals, by key."""
        now = self._clock()
        self._drop_expired(now)
        if self._expired.pop(reservation, None) is None and reservation not in self._reservations:
            return  # settled before
        self._end(reservation)
        for key, amount in used.items():
            total = self._total(key, now)
            if total and total.spent is not None:
                total.spent += amount

    async def open_total(self, key: str, spent: int, ttl: float) -> bool:
        """Set the total of a budget that has none, for `ttl` seconds. Return False if it has one."""
        now = self._clock()
        total = self._total(key, now) or self._totals.setdefault(key, Total())
        is_new = total.spent is None
        if is_new:
            total.spent, total.expires = spent, now + ttl
        return is_new

    async def levels(self, keys: Sequence[str]) -> tuple[BudgetLevel | None, ...]:
        """Return the level of each budget, or None where the total is not known."""
        now = self._clock()
        self._drop_expired(now)
        totals = [self._total(key, now) for key in keys]
        return tuple(level_of(total) if total and total.spent is not None else None for total in totals)

    def _total(self, key: str, now: float) -> Total | None:
        total = self._totals.get(key)
        if total and total.spent is not None and total.expires <= now:
            total.spent = None
        return total

    def _note_end(self, expires: float, reservation: str) -> None:
        ends = self._reservation_ends
        if len(ends) > 2 * len(self._reservations) + SPARE_ENDS:
            # Most have been settled long before. The heap must not grow with past calls.
            ends[:] = [(held.expires, name) for name, held in self._reservations.items()]
            heapq.heapify(ends)
        heapq.heappush(ends, (expires, reservation))

    def _end(self, reservation: str) -> None:
        ended = self._reservations.pop(reservation, None)
        for key, amount in ended.amounts.items() if ended else ():
            total = self._totals[key]
            total.reserved -= amount
            if total.spent is None and not total.reserved:
                del self._totals[key]

    def _drop_expired(self, now: float) -> None:
        while self._reservation_ends and self._reservation_ends[0][0] <= now:
            _, name = heapq.heappop(self._reservation_ends)
            held = self._reservations.get(name)
            if held and held.expires <= now:
                self._end(name)
                self._expired[name] = now + SETTLED_FOR
        if now - self._totals_checked >= CHECK_INTERVAL:
            self._totals_checked = now
            self._expired = {name: end for name, end in self._expired.items() if end > now}
            for key in [*self._totals]:
                total = self._total(key, now)
                if total and total.spent is None and not total.reserved:
                    del self._totals[key]

    # Messages: there is no other process.

    async def publish(self, topic: str, message: bytes) -> None:
        """Do nothing: no other process uses the state."""

    def subscribe(self, topic: str, receive: Callable[[bytes], None]) -> None:
        """Do nothing: no other process uses the state."""

    async def start(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    def trouble(self) -> None:
        """Return None: the state always responds."""
        return


def level_of(total: Total) -> BudgetLevel:
    """Return the level of a budget."""
    return BudgetLevel(total.spent or 0, total.reserved)
