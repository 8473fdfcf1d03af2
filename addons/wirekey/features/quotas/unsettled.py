"""The spending of calls until the shared state is known to have it: sent again, or restored after a loss.

A settlement without a reply may have been made, and other processes may have seen its total. If the server then loses
its data, and with it the mark that tells a settlement that comes twice, nobody can say whether a total that was seen
has it. The ledger has it for certain. So a restoration contributes all that is unsettled as part of the ledger, and
apart from that what was never sent, which no total that was seen can have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.shared_state import BudgetsLostError, NotSentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wirekey.core.shared_state import SharedState

MOST_KEPT = 20_000
"""Settlements that wait for the shared state."""


class Unsettled:
    """The settlements of one process that are not known to have been made. For one event loop."""

    def __init__(self) -> None:
        self.amounts: dict[str, Mapping[str, int]] = {}
        """The spending of each reservation, by the key of the budget."""
        self._unsent: set[str] = set()
        self._in_flight: set[str] = set()

    def add(self, reservation: str, amounts: Mapping[str, int]) -> None:
        """Remember what a call has spent, until the state has it."""
        if amounts and len(self.amounts) < MOST_KEPT:
            self.amounts[reservation] = amounts
            self._unsent.add(reservation)

    def remove(self, reservations: Iterable[str]) -> None:
        """Forget settlements that the state has."""
        for reservation in reservations:
            self.amounts.pop(reservation, None)
            self._unsent.discard(reservation)

    def waiting(self) -> tuple[tuple[str, Mapping[str, int]], ...]:
        """Return what is to be sent again."""
        return tuple(each for each in self.amounts.items() if each[0] not in self._in_flight)

    async def settle(self, state: SharedState, reservation: str, amounts: Mapping[str, int]) -> None:
        """End a reservation and add what was used. Raises SharedStateUnavailableError."""
        self._in_flight.add(reservation)
        try:
            await state.settle(reservation, amounts)
        except (BudgetsLostError, NotSentError):
            raise  # it was not made, so that it is as unsent as before
        except BaseException:
            self._unsent.discard(reservation)
            raise
        else:
            self.remove((reservation,))
        finally:
            self._in_flight.discard(reservation)

    def take_unsent(self) -> dict[str, int]:
        """Return the sum, by key, of what no total that was seen can have. Once restored, totals that are seen may."""
        found: dict[str, int] = {}
        for reservation in self._unsent - self._in_flight:
            for key, amount in self.amounts[reservation].items():
                found[key] = found.get(key, 0) + amount
        self._unsent.clear()
        return found

    def sums(self) -> dict[str, int]:
        """Return the sum, by key, of all that is unsettled."""
        found: dict[str, int] = {}
        for amounts in self.amounts.values():
            for key, amount in amounts.items():
                found[key] = found.get(key, 0) + amount
        return found
