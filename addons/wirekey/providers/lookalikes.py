"""Finds names that look like one that policy reads. Some servers take them for the same name.

Go's JSON reader ignores case, a C library stops at a NUL, a form reader strips white space, and Google's servers accept
camel case. So two names are alike if their letters and digits are, whatever their case or width.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def letters(name: str) -> str:
    """Return the letters and digits of a name, without case and width."""
    if not name.isascii():
        name = unicodedata.normalize("NFKC", name)
    return "".join(filter(str.isalnum, name.casefold()))


def lookalike(names: Iterable[str], keys: frozenset[str]) -> tuple[str, str] | None:
    """Find the first name that looks like a key without being one. Returns the name and the key."""
    by_letters = _by_letters(keys)
    for name in names:
        if name in keys:
            continue
        # Of a plain name only the underscores and the case can differ.
        plain = name.replace("_", "").lower() if name.isascii() and name.isidentifier() else letters(name)
        if plain in by_letters:
            return name, by_letters[plain]
    return None


@functools.lru_cache(64)
def _by_letters(keys: frozenset[str]) -> dict[str, str]:
    return {letters(key): key for key in keys}
