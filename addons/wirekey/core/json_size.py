"""Counts the values of a JSON body before it is decoded, a piece at a time.

A decoded value takes many times the room and the time of its bytes: `{},` is three bytes and becomes an object of a
hundred. The quick count takes each `,`, `{` and `[` for a value, wherever it stands. Only if that is too many does the
exact count follow, which leaves out what stands in strings.
"""

from __future__ import annotations

import codecs
import random
from typing import TYPE_CHECKING

from wirekey.core.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.core.body import RequestBody

VALUES_LIMIT = 500_000
"""The default of `limits.json_values`. An embedding request may have 300,000 tokens, each a number."""
INTEGER_LIMIT = 2**53
"""Integers up to this one are exact in every JSON decoder."""
PIECE = 128 * 1024
EXACT_PIECE = 16 * 1024
"""Bytes whose strings are taken apart at once, each of which takes more memory than its bytes."""
SAMPLES, SAMPLE = 16, 1024
"""Places of a body to look at for an estimate, and bytes of each."""

_COLON = ord(":")
_DEPTHS = {ord("{"): 1, ord("["): 1, ord("}"): -1, ord("]"): -1, _COLON: 0}
_NO_SEPARATORS = bytes(set(range(256)) - set(b",{["))
_NO_SIGNS = bytes(set(range(256)) - _DEPTHS.keys())


def may_exceed(body: RequestBody, limit: int) -> bool:
    """Return whether a body is long enough for more values than this: each takes two bytes, with what separates it."""
    return len(body) // 2 + 1 > limit


def sample_of(body: bytes) -> bytes:
    """Return bytes of a long body, in a few microseconds. At most 16 KiB are returned.

    The places are chosen at random. So no one can write a body of which the rest differs from them.
    """
    last = len(body) - SAMPLE
    if last <= 0:
        return body
    starts = [int(random.random() * last) for _ in range(SAMPLES)]  # noqa: S311
    return b"".join([body[start : start + SAMPLE] for start in starts])


def estimated_values(body: bytes) -> int:
    """Estimate the values of a body, in some microseconds for any length. Text counts too."""
    sample = sample_of(body)
    return _separators(sample) * len(body) // max(1, len(sample))


def check_size(body: RequestBody, limit: int) -> int:
    """Check that a body has at most `limit` values. Return a number that is at least that of its values.

    Raises Refusal(413) if it has more.
    """
    if not may_exceed(body, limit):
        return len(body) // 2 + 1
    # One more than there are separators and openings, as the outermost value has neither before it.
    count = 1
    for start in range(0, len(body), PIECE):
        count += _separators(body[start : start + PIECE])
        if count > limit:
            return _check_exactly(body, limit)
    return count


def check_utf8(body: RequestBody) -> None:
    """Check that a body is UTF-8. Raises UnicodeDecodeError."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(body), PIECE):
        decoder.decode(body[start : start + PIECE])
    decoder.decode(b"", final=True)


def has_more_members(data: RequestBody, limit: int) -> bool:
    """Return whether a JSON object has more than `limit` members, without those of the objects in it.

    Of bytes that are no JSON object, the result means nothing.
    """
    if data.count(b":") <= limit or sum(outside.count(b":") for outside in outside_strings(data)) <= limit:
        return False
    depth = count = 0
    for outside in outside_strings(data):
        for sign in outside.translate(None, _NO_SIGNS):
            depth += _DEPTHS[sign]
            count += depth == 1 and sign == _COLON
        if count > limit:
            return True
    return False


def outside_strings(body: RequestBody) -> Iterator[bytes]:
    """Yield what stands outside the strings of a JSON body, in pieces."""
    in_string, held = False, b""
    for start in range(0, len(body), EXACT_PIECE):
        # Without escapes, every quote begins or ends a string. A backslash at the end belongs to the next piece.
        piece = (held + body[start : start + EXACT_PIECE]).replace(b"\\\\", b"").replace(b'\\"', b"")
        held = b"\\" if piece.endswith(b"\\") else b""
        parts = piece.split(b'"')
        yield b"".join(parts[in_string::2])
        in_string ^= len(parts) % 2 == 0


def _check_exactly(body: RequestBody, limit: int) -> int:
    count = 1
    for outside in outside_strings(body):
        count += _separators(outside)
        if count > limit:
            raise too_many_values(limit)
    return count


def _separators(data: bytes) -> int:
    # One pass. Three counts take twice the time, and fourteen times if there is nothing to count.
    return len(data.translate(None, _NO_SEPARATORS))


def too_many_values(limit: int) -> Refusal:
    """Return the refusal of a body with more than `limit` JSON values."""
    return Refusal(
        413,
        "too_many_values",
        f"The request body has more than {limit} JSON values (limits.json_values). Send less in one request, or ask "
        "Wirekey's operator to raise the limit.",
    )
