"""Writes messages of the AWS event stream: the binary framing of Bedrock's streams.

total length (4 bytes), length of the headers (4), CRC-32 of these (4), headers, payload, CRC-32 of all before
(4); numbers are big-endian. A header: length of its name (1), name, type (1; 7 is a string), length of its
value (2), value. Specified in
https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html#streaming-event-stream-encoding and
https://smithy.io/2.0/aws/amazon-eventstream.html
"""

from __future__ import annotations

import struct
from functools import lru_cache
from zlib import crc32

FRAMING_BYTES = 16
STRING = 7


def message(event: str, payload: bytes) -> bytes:
    """Frame an event whose payload is JSON."""
    return _framed(
        _headers((":event-type", event), (":content-type", "application/json"), (":message-type", "event")), payload
    )


def exception(kind: str, payload: bytes) -> bytes:
    """Frame an exception, which ends a stream; `kind` as in `throttlingException`."""
    names = ((":exception-type", kind), (":content-type", "application/json"), (":message-type", "exception"))
    return _framed(_headers(*names), payload)


def garbled(event: str, payload: bytes) -> bytes:
    """Frame an event whose last checksum is wrong, but whose lengths are right."""
    whole = message(event, payload)
    return whole[:-1] + bytes([whole[-1] ^ 0xFF])


def _framed(headers: bytes, payload: bytes) -> bytes:
    prelude = struct.pack(">II", FRAMING_BYTES + len(headers) + len(payload), len(headers))
    head = b"%b%b%b" % (prelude, struct.pack(">I", crc32(prelude)), headers)
    return b"%b%b%b" % (head, payload, struct.pack(">I", crc32(payload, crc32(head))))


@lru_cache(maxsize=128)
def _headers(*pairs: tuple[str, str]) -> bytes:
    return b"".join(_header(name.encode(), value.encode()) for name, value in pairs)


def _header(name: bytes, value: bytes) -> bytes:
    return struct.pack(">B", len(name)) + name + struct.pack(">BH", STRING, len(value)) + value
