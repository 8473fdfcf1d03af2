"""Undoes a Content-Encoding as the bytes pass (RFC 9110 section 8.4.1), within bounds.

A few bytes can stand for gigabytes, so what comes out is given in pieces and measured against what went in.
Each coding is one of the four that the SDKs of the providers ask for; chains of codings are not undone.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Protocol

import brotli  # type: ignore[import-untyped]  # it ships no types
import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PIECE = 64 * 1024
ALLOWANCE = 8 * 1024 * 1024
RATIO = 100
"""The output may have `ALLOWANCE` bytes, and `RATIO` for each byte of input. Responses of models shrink by 3 to 30."""

ZSTD_WINDOW = 8 * 1024 * 1024
"""The largest window that zstd may use as a Content-Encoding (RFC 9659)."""


class DecodingError(ValueError):
    """The bytes are not in the coding that was named, or expand beyond the bounds."""


class Coding(Protocol):
    """One coding. `room` is how much may come out; a coding that cannot stop in between must not give more."""

    def pieces(self, data: bytes, room: int) -> Iterator[bytes]:
        """Yield what these bytes decode to. A coding that holds back output yields at most `room` bytes."""


class StreamDecoder:
    """Decodes one body from its start. Of several members or frames all are decoded, as RFC 1952 and 8878 say."""

    def __init__(self, coding: Coding) -> None:
        self._coding = coding
        self._room = ALLOWANCE

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what these bytes decode to, in pieces that are not empty. Raises DecodingError, and then always."""
        self._room += RATIO * len(data)
        try:
            for piece in self._coding.pieces(data, self._room):
                self._room -= len(piece)
                if self._room < 0:
                    raise too_much()
                yield piece
        except (zlib.error, brotli.error, zstandard.ZstdError) as error:
            raise DecodingError(f"the response is not what its Content-Encoding says: {error}") from error


def too_much() -> DecodingError:
    """Return the error of a response that expands too far."""
    return DecodingError(f"the compressed response expands beyond {RATIO} times its size")


def is_plain(encoding: str) -> bool:
    """Return whether a Content-Encoding changes nothing; "" stands for no header."""
    return encoding.strip().lower() in ("", "identity")


def can_undo(encoding: str) -> bool:
    """Return whether a Content-Encoding can be decoded."""
    return encoding.strip().lower() in CODINGS


def decoder(encoding: str) -> StreamDecoder | None:
    """Return a decoder for a Content-Encoding, or None if it is not one of the four codings."""
    coding = CODINGS.get(encoding.strip().lower())
    return StreamDecoder(coding()) if coding else None


class Gzip:
    """Decodes gzip, all members of it."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._given = False
        self._members = 0

    def pieces(self, data: bytes, room: int) -> Iterator[bytes]:
        """Yield what these bytes decode to. A coding that holds back output yields at most `room` bytes."""
        while data:
            try:
                for piece in inflate(self._member, data):
                    self._given = True
                    yield piece
            except zlib.error:
                if self._members and not self._given:
                    return  # padding after the last member, which gzip programs ignore too
                raise
            if not self._member.eof:
                return
            data = self._member.unused_data
            self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)
            self._given = False
            self._members += 1


class Deflate:
    """Zlib data, as the RFC means by this word, or the bare deflate data that some servers send instead."""

    def __init__(self) -> None:
        self._head = b""
        self._body: zlib._Decompress | None = None

    def pieces(self, data: bytes, room: int) -> Iterator[bytes]:
        """Yield what these bytes decode to. A coding that holds back output yields at most `room` bytes."""
        if self._body is None:
            data = self._head = self._head + data
            if len(data) < 2:
                return
            zlib_header = data[0] & 0x0F == 8 and int.from_bytes(data[:2]) % 31 == 0
            self._body = zlib.decompressobj(zlib.MAX_WBITS if zlib_header else -zlib.MAX_WBITS)
            self._head = b""
        if not self._body.eof:
            yield from inflate(self._body, data)


def inflate(body: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """Yield what bytes of a zlib stream decode to, in pieces of limited size."""
    while True:
        piece = body.decompress(data, PIECE)
        if piece:
            yield piece
        data = body.unconsumed_tail
        if body.eof or not (data or len(piece) == PIECE):
            return


class Brotli:
    """Decodes Brotli."""

    def __init__(self) -> None:
        self._body = brotli.Decompressor()

    def pieces(self, data: bytes, room: int) -> Iterator[bytes]:
        """Yield what these bytes decode to. A coding that holds back output yields at most `room` bytes."""
        # Only a call shows whether there is more: `can_accept_more_data` is about what goes in.
        while not self._body.is_finished():
            piece: bytes = self._body.process(data, output_buffer_limit=PIECE)
            if not piece:
                return
            yield piece
            data = b""


class Zstd:
    """Decodes Zstandard."""

    def __init__(self) -> None:
        self._out = Collected()
        body = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
        self._body = body.stream_writer(self._out, write_size=PIECE)  # type: ignore[arg-type]  # it needs only `write`

    def pieces(self, data: bytes, room: int) -> Iterator[bytes]:
        """Yield what these bytes decode to. A coding that holds back output yields at most `room` bytes."""
        self._out.room = room
        self._body.write(data)
        pieces, self._out.pieces = self._out.pieces, []
        yield from pieces


class Collected:
    """The target that zstd writes to. Only an exception raised here stops zstd."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.room = 0

    def write(self, data: bytes) -> int:
        """Keep a piece. Raises DecodingError if there is no room for it."""
        self.room -= len(data)
        if self.room < 0:
            raise too_much()
        self.pieces.append(bytes(data))
        return len(data)


CODINGS: dict[str, Callable[[], Coding]] = {
    "gzip": Gzip,
    "x-gzip": Gzip,
    "deflate": Deflate,
    "br": Brotli,
    "zstd": Zstd,
}
