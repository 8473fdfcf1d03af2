"""Keeps the two ends of an event or element that is too long to hold. Usage is near one of them."""

from __future__ import annotations

import json
import re

HEAD = 8 * 1024
TAIL = 64 * 1024

_decoder = json.JSONDecoder()


class Ends:
    """Head and tail of a long run of bytes; the same whatever the cuts."""

    def __init__(self) -> None:
        self.head = b""
        self.tail = bytearray()
        self.length = 0

    def add(self, data: bytes) -> None:
        """Add the next bytes."""
        if len(self.head) < HEAD:
            self.head += data[: HEAD - len(self.head)]
        self.length += len(data)
        self.tail += data[-TAIL - 1 :]
        if len(self.tail) > 2 * TAIL:
            del self.tail[: -TAIL - 1]

    def drop_last(self) -> None:
        """Drop the last byte, which belonged to a line end."""
        del self.tail[-1:]
        self.length -= 1

    def close(self) -> tuple[bytes, bytes]:
        """Return head and tail."""
        return self.head, bytes(self.tail[-TAIL:])


def last_object(data: bytes, key: str) -> bytes | None:
    """Find the JSON object that stands last under this key, in a piece of JSON that may lack its beginning.

    Text that a model wrote cannot be taken for it: inside a JSON string the quotes of the key are escaped.
    """
    found = None
    for found in re.finditer(rb'"%b"[ \t\r\n]*:[ \t\r\n]*(?=\{)' % key.encode(), data):  # noqa: B007  # the last
        pass
    if found is None:
        return None
    text = data[found.end() :].decode("latin-1")
    try:
        _, end = _decoder.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return text[:end].encode("latin-1")


def last_text(data: bytes, key: str) -> str | None:
    """Find the short plain string that stands last under this key."""
    found = re.findall(rb'"%b"[ \t\r\n]*:[ \t\r\n]*"([A-Za-z0-9._:/-]{1,128})"' % key.encode(), data)
    return found[-1].decode() if found else None
