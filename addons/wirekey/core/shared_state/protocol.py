"""The interface of the state that several processes share, and the values that pass through it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class SharedStateUnavailableError(Exception):
    """The shared state did not respond in time. The caller decides whether to refuse or to decide alone."""


class BudgetsLostError(SharedStateUnavailableError):
    """The shared state has lost budgets. They have to be restored before anything else is reserved or settled."""


class Rate(NamedTuple):
    """An amount to take from a token bucket of `limit` units per `period` seconds.

    `burst` is the capacity of the bucket; None means `limit`. An amount above it needs a full bucket, and leaves a
    debt that the next ones wait for. So at most `limit + burst` units and one such amount are taken in one period.
    """

    key: str
    amount: int
    limit: int
    period: float = 60.0
    burst: int | None = None


class RateLevel(NamedTuple):
    """The level of a token bucket: the units left, and the seconds until it is full and until the amount fits."""

    remaining: int
    reset: float
    retry_after: float
    """0 if the amount fits now."""


class Taken(NamedTuple):
    """Whether all rates had room, and their levels in the order of the request. If one had not, nothing was taken."""

    allowed: bool
    levels: tuple[RateLevel, ...]


class Budget(NamedTuple):
    """An amount to reserve of a total that is bounded by `limit`.

    Amounts are whole units that the caller chooses, such as billionths of a dollar, and at most 2**53.
    `counts_total` is False for a number of calls at the same time, which has reservations but no total.
    """

    key: str
    amount: int
    limit: int
    counts_total: bool = True


class BudgetLevel(NamedTuple):
    """The amount spent of a budget, and the amount reserved by open calls."""

    spent: int
    reserved: int


@dataclass(frozen=True, slots=True)
class Reserved:
    """The result of a reservation: the levels after it, in the order of the request. If refused, nothing is reserved.

    `exhausted`: indexes of the budgets without room. `unopened`: indexes of those whose total is not known, so that
    `open_total` has to be called before. `parts`: for each budget, how much of its total each ledger has, if the state
    keeps that.
    """

    levels: tuple[BudgetLevel, ...]
    exhausted: tuple[int, ...] = ()
    unopened: tuple[int, ...] = ()
    parts: tuple[Mapping[str, int], ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether the amounts are reserved."""
        return not (self.exhausted or self.unopened)


class KnownTotal(NamedTuple):
    """The total of a budget as one process knows it.

    `seen` is the largest amount that it has seen, `part` what its own ledger has, and `parts` the amounts of ledgers
    that it has seen.
    """

    key: str
    seen: int
    part: int
    parts: Mapping[str, int]
    ttl: float


class SeenTotal(NamedTuple):
    """A total as it was last seen, in which epoch, and when it expires: in the seconds of the monotonic clock.

    `parts`: the amounts of each ledger in it that were seen.
    """

    amount: int
    epoch: str
    expires: float
    parts: Mapping[str, int]


class KnownBudgets(NamedTuple):
    """All that a process adds to budgets that are being restored.

    `process` and `processes`: its name, and how many it knows of. `held`: the amounts of each of its reservations.
    """

    process: str
    processes: int
    ledger: str
    parts: Mapping[str, tuple[int, float]]
    """By key, what its ledger has, and for how many seconds that is kept."""
    held: Mapping[str, Mapping[str, int]]
    lease: float


class BudgetLosses(Protocol):
    """Notices that the shared state has lost budgets, and restores them. It remembers the totals that it returned."""

    @property
    def epoch(self) -> str:
        """The epoch in which this process has added what it knows. Empty before the first one."""
        ...

    @property
    def seen(self) -> Mapping[str, SeenTotal]:
        """The totals that were last seen, by key."""
        ...

    def amount(self, key: str) -> int:
        """Return a total that was seen and has not expired, otherwise 0."""
        ...

    def remember(self, totals: Mapping[str, SeenTotal]) -> None:
        """Add totals that were seen before a start."""
        ...

    async def restore(self, known: Callable[[str], KnownBudgets]) -> None:
        """Add what this process knows to the budgets, and wait until the other processes have done so, too.

        `known` returns it for an epoch: the same each time, except for the reservations.

        Raises SharedStateUnavailableError.
        """
        ...

    async def watch(self) -> tuple[str, ...]:
        """Read the totals that have changed since. Return their keys. Raises SharedStateUnavailableError.

        Raises BudgetsLostError if the budgets have to be restored.
        """
        ...


class SharedState(Protocol):
    """The state that several processes share.

    Every method raises SharedStateUnavailableError if the state does not respond within its time limit. Times are in
    seconds. Each method is atomic. The methods of `MemoryState` never wait.
    """

    @property
    def is_local(self) -> bool:
        """Whether only this process uses the state, so that it need not be told what this process knows."""
        ...

    @property
    def is_remote(self) -> bool:
        """Whether the state is on a server that several machines share."""
        ...

    @property
    def losses(self) -> BudgetLosses | None:
        """Notices lost budgets. None if the state loses none while processes use it."""
        ...

    # Values that expire.

    async def get(self, key: str) -> bytes | None:
        """Return the value of a key, or None if it has none or it has expired."""
        ...

    async def set(self, key: str, value: bytes, ttl: float) -> None:
        """Set the value of a key for `ttl` seconds."""
        ...

    async def add(self, key: str, value: bytes, ttl: float) -> bytes | None:
        """Set the value of a key that has none. Return None if it was set, otherwise the value that it has."""
        ...

    async def replace(self, key: str, expected: bytes, value: bytes, ttl: float) -> bool:
        """Set the value of a key if its value is `expected`. Return whether it was set."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the value of a key, if it has one."""
        ...

    # Rates.

    async def take(self, rates: Sequence[Rate]) -> Taken:
        """Remove all amounts if each fits into its bucket, otherwise none of them. An amount of 0 reads the level."""
        ...

    async def charge(self, rates: Sequence[Rate]) -> None:
        """Remove amounts whether or not they fit. A negative amount is given back."""
        ...

    # Budgets.

    async def reserve(self, reservation: str, budgets: Sequence[Budget], ttl: float) -> Reserved:
        """Reserve all amounts under the id `reservation` if each fits, otherwise none of them.

        The reservation ends with `settle`, or `ttl` seconds after this or the last `renew`.
        """
        ...

    async def renew(self, reservation: str, ttl: float) -> bool:
        """Keep a reservation for `ttl` seconds from now. Return False if it has ended."""
        ...

    async def settle(self, reservation: str, used: Mapping[str, int]) -> None:
        """End a reservation and add what was used to the totals, by key.

        The amounts count even if the reservation has expired. Settling it again within an hour changes nothing.
        """
        ...

    async def open_total(self, key: str, spent: int, ttl: float) -> bool:
        """Set the total of a budget that has none, for `ttl` seconds. Return False if it has one."""
        ...

    async def levels(self, keys: Sequence[str]) -> tuple[BudgetLevel | None, ...]:
        """Return the level of each budget, or None where the total is not known."""
        ...

    # Messages.

    async def publish(self, topic: str, message: bytes) -> None:
        """Send a message to the other processes that use the state. One that is not running does not get it."""
        ...

    def subscribe(self, topic: str, receive: Callable[[bytes], None]) -> None:
        """Call `receive` in the event loop with each message of other processes about a topic."""
        ...

    # Lifetime.

    async def start(self) -> None:
        """Begin to receive messages."""
        ...

    async def close(self) -> None:
        """Stop receiving messages and close connections."""
        ...

    def trouble(self) -> str | None:
        """Return why the state does not respond at present, or None."""
        ...


class RemoteState(SharedState, Protocol):
    """A shared state on a server, for several machines."""

    async def totals(self) -> dict[str, int]:
        """Return what is spent of all budgets, by key, for a command."""
        ...
