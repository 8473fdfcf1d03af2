"""Decodes JSON of a provider that breaks the rules of JSON in small ways.

Half of a surrogate pair, a bare control character, an escape that JSON does not know, bytes that are not UTF-8, a byte
order mark and `NaN` occur in the events of real providers and servers. Their SDKs accept most of them, so an event must
not be lost because of one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wirekey.core.metering.json_response import DECODE_ERRORS

if TYPE_CHECKING:
    import msgspec

MOST_STEPS = 10_000
"""Strings and flaws of one value up to which it is mended: in some ten milliseconds. Nothing real has more flaws."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# The last string may lack its end: otherwise each quote in it would begin another search.
_STRING_OR_NUMBER = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|-?\b(?:NaN|Infinity)\b', re.DOTALL)
_SOUND = rb"""(?:[^\\\x00-\x1f]++
    |\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}
    |\\u(?![dD][89a-fA-F])[0-9a-fA-F]{4}
    |\\["\\/bfnrt])"""
_SOUND_STRING = re.compile(_SOUND + rb"*+", re.VERBOSE)
_PART = re.compile(
    b"(?P<sound>" + _SOUND + rb"++)|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|(?P<escape>\\)|(?P<control>.)",
    re.VERBOSE | re.DOTALL,
)


def decode_leniently[Value](decoder: msgspec.json.Decoder[Value], data: bytes) -> Value:
    """Return the value of JSON, also if it has small flaws. Raises one of DECODE_ERRORS otherwise."""
    try:
        return decoder.decode(data)
    except DECODE_ERRORS:
        mended = mended_json(data)
        if mended is None:
            raise
        return decoder.decode(mended)


def mended_json(data: bytes) -> bytes | None:
    """Return JSON without the flaws that can be mended, or None without any, and if it has too many of them.

    U+FFFD replaces unreadable characters.
    """
    text = data.removeprefix(_BYTE_ORDER_MARK).decode("utf-8", "replace").encode()
    pieces: list[bytes] = []
    steps = end = 0
    for value in _STRING_OR_NUMBER.finditer(text):
        steps += 1
        if steps > MOST_STEPS:
            return None
        if not value[0].startswith(b'"'):
            pieces += (text[end : value.start()], b"null")
        elif not _SOUND_STRING.fullmatch(value[0]):
            pieces.append(text[end : value.start()])
            for part in _PART.finditer(value[0]):
                steps += 1
                if steps > MOST_STEPS:
                    return None
                pieces.append(_mended_part(part))
        else:
            continue
        end = value.end()
    found = b"".join((*pieces, text[end:]))
    return None if found == data else found


def _mended_part(part: re.Match[bytes]) -> bytes:
    match part.lastgroup:
        case "half":
            return b"\\ufffd"
        case "escape":
            return b"\\\\"
        case "control":
            return b"\\u%04x" % part[0][0]
    return part[0]
