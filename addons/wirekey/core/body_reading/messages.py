"""The replies of the child process as bytes.

The child decodes what strangers sent, and its parent holds the keys. So the parent takes only the fields listed here,
with their types, from a reply: it is not pickled.
"""

from __future__ import annotations

import dataclasses

import msgspec

from wirekey.core.body_reading.reading import Reading
from wirekey.core.errors import Fault, Refusal

LONGEST_REPLY = 64 * 1024 * 1024
"""Bytes. A reply has names of a request, and the places of its members."""

type Reply = Reading | Refusal | str
"""A text says where the reading failed unexpectedly."""


class _RefusalFields(msgspec.Struct):
    status: int
    code: str
    message: str
    fault: Fault
    retry_after: int | None
    error_type: str | None
    param: str | None


class _Message(msgspec.Struct, omit_defaults=True):
    reading: Reading | None = None
    refusal: _RefusalFields | None = None
    failure: str | None = None


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Message)


def encode(reply: Reply) -> bytes:
    """Return a reply as bytes."""
    match reply:
        case Refusal():
            fields = {field.name: getattr(reply, field.name) for field in dataclasses.fields(reply)}
            message = _Message(refusal=_RefusalFields(**fields))
        case str():
            message = _Message(failure=reply)
        case _:
            message = _Message(reading=reply)
    return _ENCODER.encode(message)


def decode(data: bytes) -> Reply:
    """Return the reply in these bytes. Raises ValueError."""
    message = _DECODER.decode(data)
    if message.refusal:
        return Refusal(**msgspec.structs.asdict(message.refusal))
    if message.reading:
        return message.reading
    return message.failure or "the reply is empty"
