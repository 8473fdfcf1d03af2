"""Finds what a request refers to instead of having it: files, pages, earlier responses. Their size is not known.

Each provider's `references` has the members that refer, and those to look into. Most conversations have none of their
names, and are not decoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.providers.request_json import read_object

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from wirekey.providers.request_json import JsonObject

DEPTH_LIMIT = 8
"""Objects within each other. No provider accepts as many; what lies deeper counts as a reference."""
DATA_URL = b'"data:'


def refers_to(parent: JsonObject, inner: Iterable[str], refers: Callable[[JsonObject], bool]) -> bool:
    """Return whether an object, or one within it, refers to something. `inner`: the members to look into."""
    return _refers(parent, frozenset(inner), refers, 0)


def _refers(parent: JsonObject, inner: frozenset[str], refers: Callable[[JsonObject], bool], depth: int) -> bool:
    if depth > DEPTH_LIMIT or refers(parent):
        return True
    names = inner & parent.values.keys()
    return any(_refers(child, inner, refers, depth + 1) for name in names for child in _objects_in(parent, name))


def _objects_in(parent: JsonObject, key: str) -> Iterator[JsonObject]:
    """Yield the objects of an array, or one that stands alone. Anything else has no members."""
    if parent.starts(key, b"{"):
        yield read_object(bytes(parent.values[key]), parent.where(key))
    elif parent.starts(key, b"["):
        for raw in parent.items(key):
            if bytes(memoryview(raw)[:1]) == b"{":
                yield read_object(bytes(raw), parent.where(key))


def is_filled(parent: JsonObject, names: Iterable[str]) -> bool:
    """Return whether one of these members is not absent, null or empty."""
    return any(parent.filled(name) for name in names)


def is_address(parent: JsonObject, key: str) -> bool:
    """Return whether a member is the address of something elsewhere. A data URL has all in it."""
    is_text = parent.filled(key) and parent.starts(key, b'"')
    return is_text and bytes(memoryview(parent.values[key])[: len(DATA_URL)]) != DATA_URL


def type_of(parent: JsonObject) -> str | None:
    """Return the type of an object; None if it has none, or something else than a string there."""
    return parent.text("type") if parent.starts("type", b'"') else None
