"""Leaves out the long strings of JSON before it is searched for the name of a member."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wirekey.core.body import RequestBody

RUN = 1024
"""Bytes without a quote that are left out at least. Shorter runs would not pay."""
LINE_ENDS = (b"\n", b"\r")


def outline(body: RequestBody, *kept: bytes) -> RequestBody:
    """Return a request without long runs that have neither a quote nor one of the bytes `kept`. A file stays whole."""
    return without_long_strings(body, kept) if isinstance(body, bytes) else body


def without_long_strings(data: bytes, kept: tuple[bytes, ...] = LINE_ENDS) -> bytes:
    """Return data without most of its runs of bytes that have neither a quote nor one of the bytes `kept`.

    A name in quotes is in the result exactly if it is in the data, as is what follows it within `RUN` bytes. To find a
    single byte takes a tenth of the time that a search for a name takes, so it pays to search only the rest. Returns
    `data` itself if it has no long run.
    """
    last = len(data) - RUN
    if last <= RUN:
        return data
    parts: list[bytes] = []
    start, at = 0, RUN
    while at < last:
        quote = data.find(b'"', at, last)
        if quote < 0:
            quote = last
        if quote - at >= RUN and not any(data.find(byte, at, quote) >= 0 for byte in kept):
            parts.append(data[start:at])
            start = quote
        at = quote + RUN
    if not parts:
        return data
    parts.append(data[start:])
    return b"".join(parts)
