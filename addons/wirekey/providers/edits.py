"""Edits of request bodies: what they do not name stays byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wirekey.wire.request_body import RequestBody

type Edit = tuple[int, int, bytes]
"""Start, end, and what stands there instead; offsets within the whole body."""


@overload
def with_edits(data: bytes, edits: Iterable[Edit]) -> bytes: ...
@overload
def with_edits(data: RequestBody, edits: Iterable[Edit]) -> RequestBody: ...
def with_edits(data: RequestBody, edits: Iterable[Edit]) -> RequestBody:
    """Give the data with these edits, which do not overlap, made in one pass: a batch may need 100,000 of them.

    Raises Refusal(503) where the data lies on a disk that has no room for what is made of it.
    """
    pieces: list[bytes | memoryview] = []
    view = memoryview(data)
    position = 0
    for start, end, text in sorted(edits):
        pieces += (view[position:start], text)
        position = end
    if not pieces:
        return data
    pieces.append(view[position:])
    return b"".join(pieces) if isinstance(data, bytes) else data.joined(pieces)
