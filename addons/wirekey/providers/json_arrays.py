"""Splits long JSON arrays of small items into shorter ones, so that few items are in memory at a time.

A decoded item takes many times the room of its bytes: `{},` is three bytes and becomes an object of a hundred. The
arrays are valid JSON, as they are values of a body that was read. So a cut can be proven: if the bytes before a comma,
with a closing bracket, are a valid array, then the comma stands between two items. A JSON reader has no other way to
get there.

Commas to try are chosen at random. So no one can write a body in which all of them are inside of items.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORT = 4 * 1024
"""Bytes of an array that is never split. It is about the length of a piece, too."""
TRIES = 16
"""Commas to try before a piece may be longer."""


class _Skipped(msgspec.Struct, array_like=True):
    """Any array. The decoder reads its items, and keeps none."""


_skip = msgspec.json.Decoder(_Skipped)


def pieces(array: bytes) -> Iterator[bytes]:
    """Yield arrays that have the items of a valid JSON array, in order."""
    start = 0
    while cut := _next_cut(array, start):
        yield b"[" + array[start + 1 : cut] + b"]"
        start = cut
    yield b"[" + array[start + 1 :] if start else array


def _next_cut(array: bytes, start: int) -> int | None:
    """Return the position of a comma between two items, or None if the rest is short or has no such comma."""
    length = SHORT
    while length < len(array) - start:
        for _ in range(TRIES):
            comma = array.rfind(b",", start + 1, start + random.randint(length // 2, length))  # noqa: S311
            if comma > 0 and _is_array(b"[" + array[start + 1 : comma] + b"]"):
                return comma
        length *= 4
    return None


def _is_array(data: bytes) -> bool:
    try:
        _skip.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
