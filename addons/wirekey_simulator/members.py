"""Reaching into JSON of which nothing is known."""

from __future__ import annotations

from typing import Any


def child(value: Any, *names: str) -> Any:
    """Give the member at the end of these names; None where the way there is no way of objects."""
    for name in names:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def objects(value: Any) -> list[dict[str, Any]]:
    """Give the objects in an array, without what else is in it; none where it is no array."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
