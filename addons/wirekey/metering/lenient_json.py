"""Decodes JSON of a provider that breaks the rules of JSON in small ways.

Half of a surrogate pair, a bare control character, an escape that JSON does not know, bytes that are not UTF-8, a byte
order mark and `NaN` occur in the events of real providers and servers. Their SDKs accept most of them, so an event must
not be lost because of one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wirekey.metering.json_response import DECODE_ERRORS

if TYPE_CHECKING:
    import msgspec

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_STRING_OR_NUMBER = re.compile(rb'"(?:[^"\\]++|\\.)*+"|-?\b(?:NaN|Infinity)\b', re.DOTALL)
_FLAW = re.compile(
    rb"""(?P<valid>\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}
        |\\u(?![dD][89a-fA-F])[0-9a-fA-F]{4}|\\["\\/bfnrt])
    |(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})
    |(?P<escape>\\)
    |(?P<control>[\x00-\x1f])""",
    re.VERBOSE,
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
    """Return JSON without the flaws that can be mended, or None without any. U+FFFD replaces unreadable characters."""
    text = data.removeprefix(_BYTE_ORDER_MARK).decode("utf-8", "replace").encode()
    found = _STRING_OR_NUMBER.sub(_mended_value, text)
    return None if found == data else found


def _mended_value(value: re.Match[bytes]) -> bytes:
    return _FLAW.sub(_mended_flaw, value[0]) if value[0].startswith(b'"') else b"null"


def _mended_flaw(flaw: re.Match[bytes]) -> bytes:
    match flaw.lastgroup:
        case "half":
            return b"\\ufffd"
        case "escape":
            return b"\\\\"
        case "control":
            return b"\\u%04x" % flaw[0][0]
    return flaw[0]
