"""What one simulator remembers between requests: its counter of ids, and what was stored with it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

CREATED = 1767225600
"""The moment at which all things of the simulator were made (2026-01-01, seconds since 1970), so that answers
do not change with the clock."""
CREATED_TEXT = "2026-01-01T00:00:00Z"
SHELF_ITEMS = 1000


class State:
    """Filled by the provider modules, emptied by `POST /__simulator__/reset`."""

    def __init__(self, base_url: str = "") -> None:
        self.base_url = base_url
        """Of the simulator itself. An absolute URL in an answer begins with `Request.base_url` instead: what
        the client called."""
        self._count = 0
        self._shelves: defaultdict[str, dict[str, Any]] = defaultdict(dict)

    def new_id(self, prefix: str = "", digits: int = 24) -> str:
        """Give `prefix` and a number that was never given before, in hexadecimal of so many digits."""
        self._count += 1
        return f"{prefix}{self._count:0{digits}x}"

    def shelf(self, name: str) -> dict[str, Any]:
        """Give the things stored under a name such as `openai.files`, by id, oldest first."""
        return self._shelves[name]

    def store(self, name: str, key: str, value: Any) -> None:
        """Put a thing on a shelf; the oldest falls off one that is full."""
        shelf = self._shelves[name]
        shelf[key] = value
        if len(shelf) > SHELF_ITEMS:
            del shelf[next(iter(shelf))]

    def forget(self) -> None:
        """Empty the shelves. Ids go on: an id from before never comes to mean another thing."""
        self._shelves.clear()
