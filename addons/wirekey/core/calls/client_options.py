"""Headers by which a client tells Wirekey how to treat its call. They are removed from the request."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from wirekey.feature_registry import parts


@dataclass(frozen=True, slots=True)
class ClientOption:
    """The part of a feature that is such a header, in lower case. `CallState.options` has its value."""

    header: str


@cache
def option_headers() -> tuple[str, ...]:
    """Return the headers of all features."""
    return tuple(part.header for part in parts(ClientOption))
