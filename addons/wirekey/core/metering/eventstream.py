"""Reads and writes AWS event streams (vnd.amazon.eventstream): binary frames with two checksums each.

A frame is total length, headers' length and their CRC-32, then headers, payload, and the CRC-32 of all before;
numbers are big-endian, four bytes each. A header is name, type and value. botocore reads all this too, but keeps
what it reads, and accepts a frame of any length; here one unfinished frame is held, up to FRAME_LIMIT, and a
longer one is skipped. After a frame whose checksums are wrong nothing more is read, as its length is in doubt.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from wirekey.core.operation import Usage

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping

    from wirekey.core.metering.deltas import DeltaCounter

FRAME_LIMIT = 1024 * 1024
PRELUDE_LENGTH = 12
CHECKSUM_LENGTH = 4
SHORTEST = PRELUDE_LENGTH + CHECKSUM_LENGTH

_PRELUDE = struct.Struct(">III")
_WORD = struct.Struct(">I")
_LENGTH = struct.Struct(">H")
_BYTES, _STRING = 6, 7
_FIXED_LENGTHS = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}


class EventStreamReader:
    """A ResponseReader of an event stream. Subclasses learn from each frame whose checksums are right."""

    texts: re.Pattern[bytes] | None = None
    """The beginning of the generated texts in its bytes; None if they cannot be counted."""

    def __init__(self) -> None:
        self.deltas: DeltaCounter | None = None
        self.usage = Usage()
        self.finished = False
        self.error_type: str | None = None
        self._held = bytearray()
        self._wanted = PRELUDE_LENGTH
        self._skipped = 0
        self.has_skipped = False
        """Whether a frame was too long to be held."""
        self._broken = False

    def read_event(self, headers: bytes, payload: bytes) -> None:
        """Learn from one frame. Must not raise."""
        raise NotImplementedError

    @property
    def is_between_frames(self) -> bool:
        """Whether what was fed ends with a frame, as far as is known."""
        return not (self._held or self._skipped or self._broken)

    def feed(self, data: bytes) -> None:
        """Read the next bytes of the response. Never raises."""
        if self._broken:
            return
        if self._skipped:
            skipped = min(self._skipped, len(data))
            self._skipped -= skipped
            data = data[skipped:]
        if not self._held:
            end = self._read_frames(data)
            self._held += data[end:]
            return
        self._held += data
        if len(self._held) >= self._wanted:
            held = bytes(self._held)
            del self._held[: self._read_frames(held)]

    is_between_events = is_between_frames

    def whole(self, data: bytes) -> int | None:
        """Return how many of the bytes that were fed last belong to whole frames; None if no frame ends in them."""
        rest = len(self._held)
        return None if self._skipped or self._broken or rest >= len(data) else len(data) - rest

    def end(self) -> None:
        """Forget an unfinished frame."""
        self._held.clear()

    def _read_frames(self, data: bytes) -> int:
        """Read all whole frames, and return where the unfinished one begins."""
        position, length = 0, len(data)
        while length - position >= PRELUDE_LENGTH:
            total, headers_length, checksum = _PRELUDE.unpack_from(data, position)
            if total < SHORTEST + headers_length or zlib.crc32(data[position : position + 8]) != checksum:
                self._broken = True
                return length
            end = position + total
            if total > FRAME_LIMIT:
                self._skipped, self.has_skipped = max(0, end - length), True
                position = min(end, length)
                continue
            if end > length:
                self._wanted = total
                return position
            body = end - CHECKSUM_LENGTH
            if zlib.crc32(data[position:body]) != _WORD.unpack_from(data, body)[0]:
                self._broken = True
                return length
            position += PRELUDE_LENGTH
            self.read_event(data[position : position + headers_length], data[position + headers_length : body])
            position = end
        self._wanted = PRELUDE_LENGTH
        return position


def read_headers(data: bytes) -> dict[str, str]:
    """Read the headers whose values are strings; {} where they are malformed."""
    headers: dict[str, str] = {}
    position = 0
    try:
        while position < len(data):
            name_end = position + 1 + data[position]
            name, kind = data[position + 1 : name_end], data[name_end]
            position = name_end + 1
            if kind in (_BYTES, _STRING):
                length = _LENGTH.unpack_from(data, position)[0]
                position += 2
                if kind == _STRING:
                    headers[name.decode()] = data[position : position + length].decode()
            else:
                length = _FIXED_LENGTHS[kind]
            position += length
    except (IndexError, KeyError, ValueError, struct.error):
        return {}
    return headers if position == len(data) else {}


def write_frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Write one frame, all of whose headers are strings."""
    written = b"".join(_write_header(name.encode(), value.encode()) for name, value in headers.items())
    lengths = struct.pack(">II", SHORTEST + len(written) + len(payload), len(written))
    frame = lengths + _WORD.pack(zlib.crc32(lengths)) + written + payload
    return frame + _WORD.pack(zlib.crc32(frame))


def _write_header(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + bytes([_STRING]) + _LENGTH.pack(len(value)) + value
