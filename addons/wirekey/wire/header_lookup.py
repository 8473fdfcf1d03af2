"""Faster lookup of headers. mitmproxy's `Headers` converts the names of all headers to lower case for each lookup."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mitmproxy.http import Headers


def get_all(self: Headers, name: str | bytes) -> list[str]:
    """Return the values of a header, in order. The name may have any case."""
    key = (name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name).lower()
    length = len(key)
    return [
        value.decode("utf-8", "surrogateescape")
        for field, value in self.fields
        if len(field) == length and field.lower() == key
    ]


def contains(self: Headers, name: str | bytes) -> bool:
    """Return whether a header is there. The name may have any case."""
    key = (name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name).lower()
    length = len(key)
    return any(len(field) == length and field.lower() == key for field, _ in self.fields)
