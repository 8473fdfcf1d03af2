"""Counts the memory that the held parts of a stream take, so that many tiny pieces stay inside a bound as well."""

import sys

_PLACE = 8
HELD_TOKEN = 1024
"""Bytes that a token with its log probability takes, with its JSON, about."""
HELD_BLOCK = 1024
"""Bytes that a held block takes beside its text, about."""


def held_bytes(text: str) -> int:
    """Return the bytes of memory that a piece of text takes, with its place in a list."""
    return sys.getsizeof(text) + _PLACE
