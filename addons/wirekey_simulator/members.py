"""Access to members of JSON of unknown shape."""

from __future__ import annotations

from typing import Any


def child(value: Any, *names: str) -> Any:
    """Return the member at the end of these names, or None if a name on the way leads to no object."""
    for name in names:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def objects(value: Any) -> list[dict[str, Any]]:
    """Return the objects in an array and skip other items. Return none if the value is not an array."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
