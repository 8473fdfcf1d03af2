"""Masks secrets in an AWS event stream, whose frames carry checksums: a masked frame gets the checksum that it needs.

A CRC-32 is linear: how it changes depends only on what was changed and how many bytes follow. So nothing is held back
and nothing is computed for frames in which there is nothing to mask.
"""

from __future__ import annotations

import struct
import zlib

from wirekey.core.credentials.scrub import KeyScrubber
from wirekey.core.metering.eventstream import CHECKSUM_LENGTH, PRELUDE_LENGTH, SHORTEST


class EventStreamScrubber(KeyScrubber):
    """A KeyScrubber that knows where frames end. It masks keys in bytes that are not an event stream, too."""

    def __init__(self, secrets: bytes | tuple[bytes, ...]) -> None:
        super().__init__(secrets)
        self.prelude = b""
        self.left = 0
        """Bytes of the present frame that are still to come, after its prelude."""
        self.lost = False
        """Whether it is not known any more where frames begin."""
        self.sums: tuple[int, int] | None = None
        """The checksums of the present frame since its first masked byte: as it came, and as it is passed on."""

    def repaired(self, data: bytes, out: bytes) -> bytes:
        """Return masked bytes with the checksums that the masking makes necessary."""
        changed: bytearray | None = None
        at, length = 0, len(data)
        while at < length and not self.lost:
            if not self.left:
                at = self.read_prelude(data, at)
                continue
            stop = min(length, at + self.left)
            body = max(at, min(stop, at + self.left - CHECKSUM_LENGTH))
            if self.sums or data[at:body] != out[at:body]:
                previous = self.sums or (0, 0)
                self.sums = zlib.crc32(data[at:body], previous[0]), zlib.crc32(out[at:body], previous[1])
                if stop > body and data[body:stop] == out[body:stop]:
                    changed = changed or bytearray(out)
                    self.write_checksum(changed, body, stop, at + self.left)
            self.left -= stop - at
            at = stop
            if not self.left:
                self.sums = None
        return bytes(changed) if changed else out

    def write_checksum(self, out: bytearray, start: int, stop: int, end: int) -> None:
        """Correct what is here of the checksum that ends at `end`: bytes from `start` to `stop`."""
        assert self.sums
        change = struct.pack(">I", self.sums[0] ^ self.sums[1])
        for place in range(start, stop):
            out[place] ^= change[place - (end - CHECKSUM_LENGTH)]

    def read_prelude(self, data: bytes, at: int) -> int:
        """Read the beginning of a frame, and return the position after what was read."""
        taken = data[at : at + PRELUDE_LENGTH - len(self.prelude)]
        self.prelude += taken
        if len(self.prelude) == PRELUDE_LENGTH:
            total = int.from_bytes(self.prelude[:4])
            self.lost = total < SHORTEST
            self.left, self.prelude = total - PRELUDE_LENGTH, b""
        return at + len(taken)
