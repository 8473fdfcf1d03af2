"""The bytes of request bodies in memory, in total and for each holder. They are reserved before they are read."""

from __future__ import annotations

from collections import Counter

from wirekey.core.errors import Fault, Refusal

SHARE = 4
"""One holder may have the fourth part of all bytes, so that four that never finish their bodies stop no other."""
RETRY_AFTER = 2
"""Seconds after which a client may try again."""


class HeldBytes:
    """The bytes that are reserved now. A holder is an agent, or an address if no agent is known."""

    def __init__(self) -> None:
        self.total = 0
        self.by_holder: Counter[str] = Counter()

    def add(self, holder: str, size: int, most: int, most_per_holder: int) -> None:
        """Reserve more bytes. Raises Refusal, and reserves nothing, if a limit would be exceeded."""
        if self.by_holder[holder] + size > most_per_holder:
            raise holder_holds_all(most_per_holder)
        if self.total + size > most:
            raise all_held(most)
        self.by_holder[holder] += size
        self.total += size

    def remove(self, holder: str, size: int) -> None:
        """Release bytes of a holder."""
        self.total -= size
        self.by_holder[holder] -= size
        if self.by_holder[holder] <= 0:
            del self.by_holder[holder]


class Reservation:
    """The bytes that are reserved for one request body."""

    def __init__(self, held: HeldBytes, holder: str) -> None:
        self.held, self.holder, self.size = held, holder, 0

    def grow(self, size: int, most: int, most_per_holder: int) -> None:
        """Reserve up to this size in total. Raises Refusal."""
        if size > self.size:
            self.held.add(self.holder, size - self.size, most, most_per_holder)
            self.size = size

    def release(self) -> None:
        """Release all bytes of this body."""
        if self.size:
            self.held.remove(self.holder, self.size)
            self.size = 0


def most_of_one_holder(most: int, largest_body: int) -> int:
    """Return the bytes that one holder may have of `most`: a share, or a body of the largest size."""
    return max(most // SHARE, largest_body)


def holder_holds_all(most: int) -> Refusal:
    """Return the refusal of a body for which its holder has no room."""
    return Refusal(
        429,
        "too_many_held_bytes",
        f"The request bodies of this agent take up the {most} bytes that one agent may hold (limits.held_bytes). "
        "Try again when one of them has been sent.",
        retry_after=RETRY_AFTER,
    )


def all_held(most: int) -> Refusal:
    """Return the refusal of a body for which Wirekey has no room."""
    return Refusal(
        503,
        "cannot_hold_body",
        f"The request bodies of all calls take up the {most} bytes that limits.held_bytes allows. Try again.",
        Fault.OPERATOR,
        retry_after=RETRY_AFTER,
    )
