"""Splits and writes the signed frames of a request in AWS's event-stream format. No I/O.

A frame is total length, length of the headers and their CRC-32, then headers, payload, and the CRC-32 of all before;
numbers are big-endian, four bytes each. The frame of a signed event has two headers: `:date`, a timestamp (type 8) in
milliseconds, and `:chunk-signature`, bytes (type 6). Its payload is the frame of the event itself, or empty at the end
of the stream. Specified in https://smithy.io/2.0/aws/amazon-eventstream.html and
https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html#streaming-event-stream-encoding

`metering.eventstream` reads the responses of providers. It skips what it cannot read. Here that is an error, because
what is not understood must not be sent.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wirekey.core.signing.refusal import incomplete

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.core.signing.refusal import SignatureRefused

FRAME_LIMIT = 16 * 1024 * 1024
"""Bytes of a frame. AWS's own limit."""
_PRELUDE = struct.Struct(">III")
_WORD = struct.Struct(">I")
_MILLISECONDS = struct.Struct(">q")
_CHECKSUM_LENGTH = 4
_DATE = b"\x05:date\x08"
_SIGNATURE = b"\x10:chunk-signature\x06\x00\x20"
_DATE_LENGTH = len(_DATE) + _MILLISECONDS.size
_SIGNATURE_LENGTH = len(_SIGNATURE) + 32
_HEADERS_LENGTH = _DATE_LENGTH + _SIGNATURE_LENGTH
_FRAMING = _PRELUDE.size + _HEADERS_LENGTH + _CHECKSUM_LENGTH


@dataclass(frozen=True, slots=True)
class SignedFrame:
    """One frame as it arrived, whose checksums are right. The signature is not verified."""

    milliseconds: int
    """The time of signing, since the epoch."""
    signature: bytes = field(repr=False)
    payload: memoryview = field(repr=False)


class FrameReader:
    """Splits a stream into frames. It holds at most one unfinished frame, of at most `FRAME_LIMIT` bytes."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._wanted = _PRELUDE.size
        """Bytes that must be there before more can be read."""

    @property
    def held(self) -> int:
        """Return the bytes of the unfinished frame."""
        return len(self._held)

    def feed(self, data: bytes | bytearray) -> Iterator[SignedFrame]:
        """Yield the frames that end in `data`. The next call must wait until all of them are taken.

        Raises SignatureRefused at a frame that is too long, malformed, or has other headers than a signed event. Then
        nothing more can be read.
        """
        if self._held:
            self._held += data
            if len(self._held) < self._wanted:
                return
            data, self._held = self._held, bytearray()
        position = 0
        while len(data) - position >= _PRELUDE.size:
            total = self._read_prelude(data, position)
            if len(data) - position < total:
                self._wanted = total
                break
            self._wanted = _PRELUDE.size
            yield _read_frame(data, position, total)
            position += total
        else:
            self._wanted = _PRELUDE.size
        self._held += memoryview(data)[position:]

    def end(self) -> None:
        """Note the end of the stream. Raises SignatureRefused if it is within a frame."""
        if self._held:
            self._held.clear()
            raise incomplete("The request ended within an event.")

    def _read_prelude(self, data: bytes | bytearray, position: int) -> int:
        total, headers_length, checksum = _PRELUDE.unpack_from(data, position)
        if zlib.crc32(data[position : position + 8]) != checksum:
            raise incomplete("An event of the request is malformed: the checksum of its lengths is wrong.")
        if total > FRAME_LIMIT:
            raise incomplete(f"An event of the request is longer than {FRAME_LIMIT} bytes.")
        if headers_length != _HEADERS_LENGTH or total < _FRAMING:
            raise unsigned()
        return int(total)


def unsigned() -> SignatureRefused:
    """Return the error for a frame with other headers than a signed event."""
    return incomplete("Each event of the request must have the headers :date and :chunk-signature, and no others.")


def _read_frame(data: bytes | bytearray, position: int, total: int) -> SignedFrame:
    view = memoryview(data)[position : position + total]
    body_end = total - _CHECKSUM_LENGTH
    if zlib.crc32(view[:body_end]) != _WORD.unpack_from(view, body_end)[0]:
        raise incomplete("An event of the request is malformed: its checksum is wrong.")
    start = _PRELUDE.size
    headers = bytes(view[start : start + _HEADERS_LENGTH])
    # AWS's SDKs write them in either order.
    if headers.startswith(_DATE) and headers.startswith(_SIGNATURE, _DATE_LENGTH):
        date_at, signature_at = 0, _DATE_LENGTH
    elif headers.startswith(_SIGNATURE) and headers.startswith(_DATE, _SIGNATURE_LENGTH):
        date_at, signature_at = _SIGNATURE_LENGTH, 0
    else:
        raise unsigned()
    return SignedFrame(
        _MILLISECONDS.unpack_from(headers, date_at + len(_DATE))[0],
        headers[signature_at + len(_SIGNATURE) : signature_at + _SIGNATURE_LENGTH],
        view[start + _HEADERS_LENGTH : body_end],
    )


def date_header(milliseconds: int) -> bytes:
    """Return the header `:date`, which is what a signature covers beside the payload."""
    return _DATE + _MILLISECONDS.pack(milliseconds)


def write_signed_frame(date: bytes, signature: bytes, payload: bytes | memoryview) -> bytes:
    """Return the frame of a signed event. `date`: from `date_header`. `signature`: 32 bytes."""
    lengths = struct.pack(">II", _FRAMING + len(payload), _HEADERS_LENGTH)
    head = b"%b%b%b%b%b" % (lengths, _WORD.pack(zlib.crc32(lengths)), date, _SIGNATURE, signature)
    return b"".join((head, payload, _WORD.pack(zlib.crc32(payload, zlib.crc32(head)))))
