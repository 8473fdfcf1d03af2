"""Reads the frames of one direction of a WebSocket (RFC 6455, section 5), and keeps their bytes as they are.

`WebSocketReader` follows the contract of all readers: it is fed bytes, cut anywhere, and returns what it has learned.
It holds at most one message, of limited length. A breach of the protocol raises `ProtocolError`, which has the close
code.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from wsproto.frame_protocol import CloseReason, FrameProtocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.features.realtime.handshake import Compression

PASSED_AT_ONCE = 64 * 1024
"""A longer frame of a reader that does not hold messages is passed on as it arrives."""
LONGEST_CONTROL = 125
LONGEST_HEAD = 14
MOST_FRAMES, BYTES_OF_FRAME = 1024, 256
"""The most frames of a message, or the bytes of the longest message for each frame. Empty frames take memory."""
_FIN, _RSV1, _RESERVED = 0x80, 0x40, 0x30
_SYNC = b"\x00\x00\xff\xff"
"""The end of a compressed message that its sender leaves out (RFC 7692, section 7.2.1)."""
_AFTER_FINAL = (_SYNC, b"\x00" + _SYNC)
"""The bytes that may follow a final block: none, or the empty block of RFC 7692, section 7.2.3.4, with that end."""


class Opcode(IntEnum):
    """The kind of a frame."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class ProtocolError(Exception):
    """The other side broke the protocol. `code` is the close code that says so, `reason` says how."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


@dataclass(frozen=True, slots=True)
class Control:
    """A whole control frame."""

    opcode: Opcode
    payload: bytes


@dataclass(frozen=True, slots=True)
class WebSocketMessage:
    """A whole text or binary message, unmasked and decompressed."""

    payload: bytes
    is_text: bool
    is_compressed: bool


@dataclass(frozen=True, slots=True)
class Piece:
    """The next bytes of a direction, as they were received.

    `content`: the frame or message that ends with them. `ends_message`: whether another message may follow them.
    """

    data: bytes
    content: Control | WebSocketMessage | None = None
    ends_frame: bool = True
    ends_message: bool = True


@dataclass(frozen=True, slots=True)
class _Head:
    opcode: int
    is_final: bool
    is_compressed: bool
    mask: bytes
    size: int
    length: int


class WebSocketReader:
    """Reads one direction. `from_client`: whether its frames are masked. `limit`: bytes of a message.

    With `holds`, the frames of a message are returned as one piece when it is complete, and control frames within it
    before it. Otherwise each frame is returned when it is complete, and a long one as it arrives.
    """

    def __init__(self, *, from_client: bool, limit: int, holds: bool, deflate: Compression | None = None) -> None:
        self.from_client, self.limit, self.holds = from_client, limit, holds
        self.inflater = Inflater(deflate, from_client=from_client, limit=limit) if deflate else None
        self._buffer = bytearray()
        self._head: _Head | None = None
        self._passed = 0
        """Bytes of the current frame that were returned already."""
        self._long: list[bytes] = []
        """Those bytes, if they are of a message."""
        self._first: _Head | None = None
        """The head of the first frame of the current message."""
        self._payloads: list[bytes] = []
        self._size = 0
        self._held: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Read the next bytes. Yields pieces in order. Raises ProtocolError."""
        self._buffer += data
        while True:
            head = self._head or self._read_head()
            if head is None:
                return
            size = head.size + head.length
            if size - self._passed > len(self._buffer):
                if size > PASSED_AT_ONCE and self._buffer and not self.holds:
                    yield self._pass_part()
                return
            if (piece := self._end_frame(head)) is not None:
                yield piece

    @property
    def is_between_messages(self) -> bool:
        """Return whether all that was received are whole messages."""
        return self._first is None and self._head is None and not self._buffer

    def take_rest(self) -> bytes:
        """Return the bytes after the last piece, and forget them. Only between messages."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def _read_head(self) -> _Head | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        first, second = buffer[0], buffer[1]
        masked, length = bool(second & 0x80), second & 0x7F
        extra = {126: 2, 127: 8}.get(length, 0)
        size = 2 + extra + (4 if masked else 0)
        self._check_head(first, length, masked=masked)
        if len(buffer) < size:
            return None
        if extra:
            length = int.from_bytes(buffer[2 : 2 + extra])
            if length < (126 if extra == 2 else 0x10000) or length >> 63:
                raise ProtocolError(CloseReason.PROTOCOL_ERROR, "a frame's length is not written in the shortest form")
        opcode = first & 0x0F
        if opcode < Opcode.CLOSE and self._size + length > self.limit:
            raise too_big(self.limit)
        if opcode == Opcode.CONTINUATION and len(self._payloads) >= max(MOST_FRAMES, self.limit // BYTES_OF_FRAME):
            raise ProtocolError(CloseReason.POLICY_VIOLATION, "a message has too many frames")
        mask = bytes(buffer[size - 4 : size]) if masked else b""
        self._head = _Head(opcode, bool(first & _FIN), bool(first & _RSV1), mask, size, length)
        self._passed = 0
        return self._head

    def _check_head(self, first: int, length: int, *, masked: bool) -> None:
        opcode, is_final = first & 0x0F, bool(first & _FIN)
        wrong = None
        if masked is not self.from_client:
            wrong = "a client's frame is not masked" if self.from_client else "a server's frame is masked"
        elif opcode not in Opcode.__members__.values():
            wrong = "a frame has an unknown opcode"
        elif first & _RESERVED or (first & _RSV1 and (self.inflater is None or opcode not in (1, 2))):
            wrong = "a frame has a reserved bit"
        elif opcode >= Opcode.CLOSE and (not is_final or length > LONGEST_CONTROL):
            wrong = "a control frame is fragmented or too long"
        elif opcode in (Opcode.TEXT, Opcode.BINARY) and self._first is not None:
            wrong = "a message begins before the previous one has ended"
        elif opcode == Opcode.CONTINUATION and self._first is None:
            wrong = "a continuation belongs to no message"
        if wrong:
            raise ProtocolError(CloseReason.PROTOCOL_ERROR, wrong)

    def _pass_part(self) -> Piece:
        part = bytes(self._buffer)
        self._buffer.clear()
        self._passed += len(part)
        self._long.append(part)
        return Piece(part, ends_frame=False, ends_message=False)

    def _end_frame(self, head: _Head) -> Piece | None:
        rest = head.size + head.length - self._passed
        data = bytes(memoryview(self._buffer)[:rest])
        del self._buffer[:rest]
        frame = b"".join((*self._long, data)) if self._long else data
        self._long.clear()
        self._head = None
        payload = unmasked(frame[head.size :], head.mask)
        if head.opcode >= Opcode.CLOSE:
            if head.opcode == Opcode.CLOSE and head.length == 1:
                raise ProtocolError(CloseReason.PROTOCOL_ERROR, "a close frame has half a code")
            content = Control(Opcode(head.opcode), payload)
            return Piece(data, content, ends_message=self._first is None or self.holds)
        first = self._first = self._first or head
        self._payloads.append(payload)
        self._size += head.length
        if self.holds:
            self._held.append(data)
        if not head.is_final:
            return None if self.holds else Piece(data, ends_message=False)
        whole, held = b"".join(self._payloads), self._held
        self._first, self._payloads, self._held, self._size = None, [], [], 0
        if first.is_compressed:
            assert self.inflater
            whole = self.inflater.inflate(whole)
        message = WebSocketMessage(whole, first.opcode == Opcode.TEXT, first.is_compressed)
        return Piece(b"".join(held) if self.holds else data, message)


class Inflater:
    """Decompresses the messages of one direction (RFC 7692), and never more than `limit` bytes of one."""

    def __init__(self, deflate: Compression, *, from_client: bool, limit: int) -> None:
        self._bits = deflate.client_bits if from_client else deflate.server_bits
        self._fresh = deflate.client_fresh if from_client else deflate.server_fresh
        self._limit = limit
        self._state = zlib.decompressobj(-self._bits)

    def inflate(self, payload: bytes) -> bytes:
        """Return a decompressed message. Raises ProtocolError if it is too long or not compressed as it says."""
        if self._fresh:
            self._state = zlib.decompressobj(-self._bits)
        try:
            found = self._state.decompress(payload + _SYNC, self._limit + 1)
        except zlib.error:
            raise ProtocolError(CloseReason.INVALID_FRAME_PAYLOAD_DATA, "a message cannot be decompressed") from None
        if len(found) > self._limit or self._state.unconsumed_tail:
            raise too_big(self._limit)
        if self._state.eof:
            if self._state.unused_data not in _AFTER_FINAL:
                # The other side might read on, and see a message that was not decided.
                wrong = "a message continues after its final block"
                raise ProtocolError(CloseReason.INVALID_FRAME_PAYLOAD_DATA, wrong)
            self._state = zlib.decompressobj(-self._bits)
        return found


def unmasked(data: bytes, mask: bytes) -> bytes:
    """Return bytes with a mask of four bytes applied or removed (RFC 6455, section 5.3)."""
    if not mask or not data:
        return data
    size = len(data)
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data) ^ int.from_bytes(repeated)).to_bytes(size)


def too_big(limit: int) -> ProtocolError:
    """Return the error for a message of more than `limit` bytes."""
    return ProtocolError(CloseReason.MESSAGE_TOO_BIG, f"a message has more than {limit} bytes")


def text_frame(payload: bytes, *, to_server: bool) -> bytes:
    """Return a text message as one frame, masked if it goes to the server."""
    return message_frame(payload, is_text=True, to_server=to_server)


def message_frame(payload: bytes, *, is_text: bool, to_server: bool) -> bytes:
    """Return a message as one frame, masked if it goes to the server."""
    content = payload.decode("utf-8", "replace") if is_text else payload
    return bytes(FrameProtocol(client=to_server, extensions=[]).send_data(content, fin=True))


def control_frame(opcode: Opcode, payload: bytes) -> bytes:
    """Return a control frame of a server."""
    return bytes((_FIN | opcode, len(payload))) + payload


def close_frame(code: int, reason: str = "", *, to_server: bool) -> bytes:
    """Return a close frame. A reason that is too long is cut."""
    return bytes(FrameProtocol(client=to_server, extensions=[]).close(code, reason))


def ping_frame(payload: bytes, *, to_server: bool) -> bytes:
    """Return a ping."""
    return bytes(FrameProtocol(client=to_server, extensions=[]).ping(payload))


def close_code(payload: bytes) -> int:
    """Return the code of a close frame; 1005 if it has none."""
    return int.from_bytes(payload[:2]) if len(payload) >= 2 else CloseReason.NO_STATUS_RCVD
