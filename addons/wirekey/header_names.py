"""Remembers what a function says of names of header fields. Pure.

Nearly all requests have the same names, and several rules ask about each of them. A name that was asked about before
costs one look into a dictionary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST = 64
"""Bytes of a name that is remembered. Clients choose the names, and could fill the memory with long ones."""
MOST = 1024


class NameRule[Verdict](dict[bytes, Verdict]):
    """What a function says of names, as a dictionary: `rule[name]`. Names are as they were written."""

    def __init__(self, function: Callable[[bytes], Verdict]) -> None:
        super().__init__()
        self.function = function

    def __missing__(self, name: bytes) -> Verdict:
        """Ask the function about a new name, and remember its answer."""
        verdict = self.function(name)
        if len(name) <= LONGEST:
            if len(self) >= MOST:
                self.clear()
            self[name] = verdict
        return verdict
