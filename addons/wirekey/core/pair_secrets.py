"""The secrets of agents' AWS pairs that this process knows, so that they can be masked wherever they appear."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class PairSecrets:
    """The secrets of all agents' AWS pairs. They have no form of their own by which they could be found."""

    def __init__(self) -> None:
        self.known: frozenset[bytes] = frozenset()

    def use(self, secrets: Iterable[bytes]) -> None:
        """Replace the known secrets."""
        self.known = frozenset(secrets)


pair_secrets = PairSecrets()
"""Those of the agents file that this process read last."""
