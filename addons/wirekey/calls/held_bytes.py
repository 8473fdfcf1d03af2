"""How many bytes of request bodies are held, in all and by whom: reserved before they are read. Pure."""

from __future__ import annotations

from collections import Counter

from wirekey.errors import Fault, Refusal

RETRY_AFTER = 2
"""Seconds after which a client may try again."""


class HeldBytes:
    """What is reserved at present, in bytes. A holder is an agent, or an address where no agent is known."""

    def __init__(self) -> None:
        self.total = 0
        self.by_holder: Counter[str] = Counter()

    def add(self, holder: str, size: int, most: int, most_per_holder: int) -> None:
        """Reserve so many bytes more. Raises Refusal, and reserves nothing, where a limit would be exceeded."""
        if self.by_holder[holder] + size > most_per_holder:
            raise of_holder(most_per_holder)
        if self.total + size > most:
            raise in_all(most)
        self.by_holder[holder] += size
        self.total += size

    def remove(self, holder: str, size: int) -> None:
        self.total -= size
        self.by_holder[holder] -= size
        if self.by_holder[holder] <= 0:
            del self.by_holder[holder]


class Reservation:
    """The bytes of one request body."""

    def __init__(self, held: HeldBytes, holder: str) -> None:
        self.held, self.holder, self.size = held, holder, 0

    def grow(self, size: int, most: int, most_per_holder: int) -> None:
        """Reserve up to this size in all. Raises Refusal."""
        if size > self.size:
            self.held.add(self.holder, size - self.size, most, most_per_holder)
            self.size = size

    def release(self) -> None:
        if self.size:
            self.held.remove(self.holder, self.size)
            self.size = 0


def of_holder(most: int) -> Refusal:
    return Refusal(
        429,
        "too_many_held_bytes",
        f"The request bodies of this agent that are under way hold as much as they may ({most} bytes, "
        "limits.held_bytes_per_agent). Try again when one of them has been sent.",
        retry_after=RETRY_AFTER,
    )


def in_all(most: int) -> Refusal:
    return Refusal(
        503,
        "cannot_hold_body",
        f"The request bodies under way hold as much as they may ({most} bytes, limits.held_bytes). Try again.",
        Fault.OPERATOR,
        retry_after=RETRY_AFTER,
    )
