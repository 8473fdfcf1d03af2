"""Counts the values of a JSON body before it is decoded, a piece at a time.

A decoded value takes many times the room and the time of its bytes: `{},` is three bytes and becomes an object of a
hundred. The quick count takes each `,`, `{` and `[` for a value, wherever it stands. Only if that is too many does the
exact count follow, which leaves out what stands in strings.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING

from wirekey.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Generator

    from wirekey.body import RequestBody

VALUES_LIMIT = 500_000
"""The default of `limits.json_values`. An embedding request may have 300,000 tokens, each a number."""
INTEGER_LIMIT = 2**53
"""Integers up to this one are exact in every JSON decoder."""
PIECE = 128 * 1024
EXACT_PIECE = 32 * 1024

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_REST_OF_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)


def may_exceed(body: RequestBody, limit: int) -> bool:
    """Return whether a body is long enough for more values than this: each takes two bytes, with what separates it."""
    return len(body) // 2 + 1 > limit


def check_size(body: RequestBody, limit: int) -> Generator[None, None, int]:
    """Check that a body has at most `limit` values. Yields after each piece, so that other work can be done.

    Returns a number that is at least that of its values.

    Raises Refusal(413) if it has more.
    """
    if not may_exceed(body, limit):
        return len(body) // 2 + 1
    # One more than there are separators and openings, as the outermost value has neither before it.
    count = 1
    for start in range(0, len(body), PIECE):
        count += _separators(body[start : start + PIECE])
        if count > limit:
            return (yield from _check_exactly(body, limit))
        yield
    return count


def check_utf8(body: RequestBody) -> Generator[None]:
    """Check that a body is UTF-8. Yields after each piece. Raises UnicodeDecodeError."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(body), PIECE):
        decoder.decode(body[start : start + PIECE])
        yield
    decoder.decode(b"", final=True)


def _check_exactly(body: RequestBody, limit: int) -> Generator[None, None, int]:
    count = 1
    is_string, held = False, b""
    for start in range(0, len(body), EXACT_PIECE):
        piece = held + body[start : start + EXACT_PIECE]
        held = b""
        if is_string:
            end = _end_of_string(piece)
            if end == len(piece) or piece[end : end + 1] == b"\\":
                held = piece[end:]
                yield
                continue
            piece = piece[end + 1 :]
        outside, quote, inside = _STRING.sub(b"", piece).partition(b'"')
        is_string = bool(quote)
        held = inside[_end_of_string(inside) :]
        count += _separators(outside)
        if count > limit:
            raise too_many_values(limit)
        yield
    return count


def _separators(data: bytes) -> int:
    return data.count(b",") + data.count(b"{") + data.count(b"[")


def _end_of_string(data: bytes) -> int:
    """Return the end of a string whose content begins here: its quote, half an escape, or the end of the data."""
    match = _REST_OF_STRING.match(data)
    assert match  # it may be empty
    return match.end()


def too_many_values(limit: int) -> Refusal:
    """Return the refusal of a body with more than `limit` JSON values."""
    return Refusal(
        413,
        "too_many_values",
        f"The request body has more than {limit} JSON values (limits.json_values). Send less in one request, or ask "
        "Wirekey's operator to raise the limit.",
    )
