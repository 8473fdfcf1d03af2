"""The form of names of header fields, and the remembered results of a function for them. Pure.

Nearly all requests have the same names, and several rules decide by the name of each field. A name that a rule knows
costs one lookup in a dictionary.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")

LONGEST = 64
"""Bytes of a name that is remembered. Clients choose the names, and could fill the memory with long ones."""
MOST = 1024


class NameRule[Result](dict[bytes, Result]):
    """The results of a function for names, as a dictionary: `rule[name]`. Names are as they were written."""

    def __init__(self, function: Callable[[bytes], Result]) -> None:
        super().__init__()
        self.function = function

    def __missing__(self, name: bytes) -> Result:
        """Call the function for a new name, and remember the result."""
        result = self.function(name)
        if len(name) <= LONGEST:
            if len(self) >= MOST:
                self.clear()
            self[name] = result
        return result
