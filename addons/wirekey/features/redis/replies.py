"""Checks the replies of Redis. A reply of another shape than its script or command returns is no grant."""

from __future__ import annotations

import math
from itertools import batched
from sys import intern
from typing import TYPE_CHECKING, Any, NamedTuple

from wirekey.core.shared_state.buckets import burst_of, interval_of
from wirekey.core.shared_state.protocol import BudgetLevel, RateLevel, Reserved, Taken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence, Sized

    from wirekey.core.shared_state.protocol import Budget, Rate

MICROSECONDS = 1_000_000
STATES = (b"ok", b"exhausted", b"unopened")
LOST = [b"lost"]
SETTLED = (b"ok", b"before", b"lost", b"unopened")


class MalformedReplyError(Exception):
    """A reply that the command cannot have. It counts as a failure of the server."""


def value(reply: Any) -> bytes | None:
    """Return a value, or None for none."""
    if reply is None or type(reply) is bytes:
        return reply
    raise MalformedReplyError


def flag(reply: Any) -> bool:
    """Return what a script says with 1 or 0."""
    if type(reply) is int and reply in (0, 1):
        return reply == 1
    raise MalformedReplyError


def is_set(reply: Any) -> bool:
    """Return whether SET with a condition has set the value."""
    if reply in (b"OK", None):
        return reply is not None
    raise MalformedReplyError


def number(reply: Any) -> int:
    """Return a whole number."""
    if type(reply) is int:
        return reply
    try:
        return int(text(reply))
    except ValueError as error:
        raise MalformedReplyError from error


def number_or_none(reply: Any) -> int | None:
    """Return a whole number, or None for a key without a value."""
    return None if reply is None else number(reply)


def text(reply: Any) -> bytes:
    """Return bytes."""
    if type(reply) is bytes:
        return reply
    raise MalformedReplyError


def items(reply: Any, length: int) -> list[Any]:
    """Return a list of this length."""
    if type(reply) is list and len(reply) == length:
        return reply
    raise MalformedReplyError


def parts_of(reply: Any) -> dict[str, int]:
    """Return ledger → its part of a total."""
    if type(reply) is not list or len(reply) % 2:
        raise MalformedReplyError
    pairs = zip(reply[::2], reply[1::2], strict=True)
    # Interned, as many totals have the parts of the same few ledgers.
    return {intern(text(ledger).decode(errors="replace")): number(part) for ledger, part in pairs}


def seconds(reply: Any) -> float:
    """Return the seconds of a text with microseconds."""
    try:
        found = float(text(reply)) / MICROSECONDS
    except ValueError as error:
        raise MalformedReplyError from error
    if math.isfinite(found) and found >= 0:
        return found
    raise MalformedReplyError


def taken(rates: Sequence[Rate]) -> Callable[[Any], Taken]:
    """Return a function that reads what the script TAKE returns for these rates."""

    def read(reply: Any) -> Taken:
        allowed, *times = items(reply, 1 + 2 * len(rates))
        levels = []
        for index, rate in enumerate(rates):
            missing, wait = seconds(times[2 * index]), seconds(times[2 * index + 1])
            left = burst_of(rate) - round(missing / interval_of(rate), 6)
            levels.append(RateLevel(max(0, int(left // 1)), missing, wait))
        if flag(allowed) == any(level.retry_after for level in levels):
            raise MalformedReplyError
        return Taken(bool(allowed), tuple(levels))

    return read


def reserved(budgets: Sequence[Budget]) -> Callable[[Any], Reserved | None]:
    """Return a function that reads what the script RESERVE returns for these budgets: None if budgets were lost."""

    def read(reply: Any) -> Reserved | None:
        if reply == LOST:
            return None
        found = items(reply, 4 * len(budgets))
        states = found[::4]
        if any(type(state) is not bytes or state not in STATES for state in states):
            raise MalformedReplyError
        levels = (
            BudgetLevel(number(spent), number(held)) for spent, held in zip(found[1::4], found[2::4], strict=True)
        )
        exhausted, unopened = (
            tuple(index for index, state in enumerate(states) if state == word) for word in STATES[1:]
        )
        return Reserved(tuple(levels), exhausted, unopened, tuple(map(parts_of, found[3::4])))

    return read


def settled(used: Sized) -> Callable[[Any], tuple[bytes, list[bytes]]]:
    """Return a function that reads what the script SETTLE returns: what happened, the number of changes, the totals."""

    def read(reply: Any) -> tuple[bytes, list[bytes]]:
        if type(reply) is not list or not reply or text(reply[0]) not in SETTLED:
            raise MalformedReplyError
        numbers = items(reply[1:], 1 + len(used) if reply[0] == b"ok" else 0)
        return reply[0], [each for each in numbers if each == b"" or number(each) >= 0]

    return read


def epoch(reply: Any) -> str:
    """Return the epoch that the script BEGIN returns."""
    name, is_complete = items(reply, 2)
    flag(is_complete)
    number(text(name).partition(b":")[0])
    return text(name).decode(errors="replace")


class Watched(NamedTuple):
    """A total that has changed: its key, the number of the change, the amount if it is known, and its milliseconds.

    `parts`: the amount of each ledger in it.
    """

    key: str
    change: int
    amount: int | None
    lasts: int
    parts: Mapping[str, int]


def watched(reply: Any) -> tuple[int, list[Watched]] | None:
    """Return the number of changes and the totals that the script WATCH returns; None if budgets were lost."""
    if reply == LOST:
        return None
    if type(reply) is not list or len(reply) % 5 != 1:
        raise MalformedReplyError
    totals = [
        Watched(
            text(name).decode(errors="replace").partition("budget:")[2],
            number(change),
            None if amount == b"" else number(amount),
            number(lasts),
            parts_of(parts),
        )
        for name, change, amount, lasts, parts in batched(reply[1:], 5)
    ]
    return number(reply[0]), totals


def levels(keys: Sequence[str]) -> Callable[[Any], tuple[BudgetLevel | None, ...]]:
    """Return a function that reads what the script LEVELS returns for these budgets."""

    def read(reply: Any) -> tuple[BudgetLevel | None, ...]:
        found = items(reply, 2 * len(keys))
        pairs = zip(found[::2], found[1::2], strict=True)
        return tuple(BudgetLevel(number(spent), number(held)) if spent != b"" else None for spent, held in pairs)

    return read


def page(reply: Any) -> tuple[bytes, list[bytes]]:
    """Return the cursor and the names of a reply to SCAN."""
    cursor, names = items(reply, 2)
    if type(names) is not list:
        raise MalformedReplyError
    return text(cursor), [text(name) for name in names]
