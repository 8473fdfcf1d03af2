"""Decides which connections a listener keeps when there are too many: those whose request was read. Pure.

A client that opens connections and sends half a head could otherwise keep all others out. So a new connection is
accepted, and the oldest one that waits for a whole request is closed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from wirekey.core.identity.throttle import neighbourhood

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(slots=True, eq=False)
class Admitted:
    """A connection that counts. `number` grows with each connection, and with each request that ends."""

    place: str
    """The addresses that count as one, such as all of 127.0.0.0/8."""
    close: Callable[[], None]
    number: int
    is_counted: bool = True


class Admission:
    """Counts connections in total and by address."""

    def __init__(self, most: int, of_one_address: int) -> None:
        self._most = most
        self._of_one_address = of_one_address
        self._numbers = count()
        self._by_place: Counter[str] = Counter()
        self._waiting: set[Admitted] = set()
        """The connections that have not sent a whole request, or wait between two requests."""
        self.closed = 0
        """The number of connections that were closed for newer ones."""

    def admit(self, address: str, close: Callable[[], None]) -> Admitted | None:
        """Count a new connection. If there are too many, close the oldest that waits; None if none of them waits."""
        place = neighbourhood(address)
        if not self._has_room(place) and not self._close_oldest(place):
            return None
        admitted = Admitted(place, close, next(self._numbers))
        self._by_place[place] += 1
        self._waiting.add(admitted)
        return admitted

    def move(self, admitted: Admitted, address: str) -> bool:
        """Count a connection for the client that a load balancer names. Returns False if it must be closed."""
        place = neighbourhood(address)
        self.leave(admitted)
        if not self._has_room(place) and not self._close_oldest(place):
            return False
        admitted.place, admitted.is_counted = place, True
        self._by_place[place] += 1
        self._waiting.add(admitted)
        return True

    def request_read(self, admitted: Admitted) -> None:
        """Note that a whole request was read. The connection is kept until the response has ended."""
        self._waiting.discard(admitted)

    def request_ended(self, admitted: Admitted) -> None:
        """Note that the connection waits for its next request."""
        if admitted.is_counted and admitted not in self._waiting:
            admitted.number = next(self._numbers)
            self._waiting.add(admitted)

    def leave(self, admitted: Admitted) -> None:
        """Stop counting a connection that was closed. More than once does no harm."""
        self._waiting.discard(admitted)
        if admitted.is_counted:
            admitted.is_counted = False
            self._subtract(admitted.place)

    def __len__(self) -> int:
        return self._by_place.total()

    def _has_room(self, place: str) -> bool:
        return self._by_place.total() < self._most and self._by_place[place] < self._of_one_address

    def _close_oldest(self, place: str) -> bool:
        """Close the oldest waiting connection: of this place if it has too many, otherwise of all."""
        of_place = self._by_place[place] >= self._of_one_address
        waiting = (one for one in self._waiting if one.place == place or not of_place)
        oldest = min(waiting, key=lambda one: one.number, default=None)
        if oldest is None:
            return False
        self.leave(oldest)  # at once: its end may be reported later
        self.closed += 1
        oldest.close()
        return True

    def _subtract(self, place: str) -> None:
        self._by_place[place] -= 1
        if not self._by_place[place]:
            del self._by_place[place]
