"""The state of one simulator between requests: a counter for ids, and stored objects."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

CREATED = 1767225600
"""The creation time of all objects (2026-01-01, seconds since 1970), so that responses do not depend on the clock."""
CREATED_TEXT = "2026-01-01T00:00:00Z"
SHELF_ITEMS = 1000


class State:
    """Filled by the provider modules, emptied by `POST /__simulator__/reset`."""

    def __init__(self, base_url: str = "") -> None:
        self.base_url = base_url
        """The simulator's own URL. Absolute URLs in responses begin with `SimulatedRequest.base_url` instead."""
        self._count = 0
        self._shelves: defaultdict[str, dict[str, Any]] = defaultdict(dict)

    def new_id(self, prefix: str = "", digits: int = 24) -> str:
        """Return `prefix` and a unique hexadecimal number with `digits` digits."""
        self._count += 1
        return f"{prefix}{self._count:0{digits}x}"

    def shelf(self, name: str) -> dict[str, Any]:
        """Return the objects stored under a name such as `openai.files`, by id, oldest first."""
        return self._shelves[name]

    def store(self, name: str, key: str, value: Any) -> None:
        """Store an object. A full shelf drops its oldest one."""
        shelf = self._shelves[name]
        shelf[key] = value
        if len(shelf) > SHELF_ITEMS:
            del shelf[next(iter(shelf))]

    def forget(self) -> None:
        """Remove all objects. Ids continue: an old id never refers to a new object."""
        self._shelves.clear()
