"""Copies what the client gets of a response, up to a limit. A copy is decompressed when it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.metering.decoding import DecodingError, decoder, is_plain

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST = 1024 * 1024
"""Bytes of one response, both compressed and decompressed."""


class ResponseCopy:
    """The beginning of one response, as the client gets it."""

    longest = LONGEST

    def __init__(self, encoding: str) -> None:
        """Start a copy. `encoding`: the Content-Encoding of the response."""
        self.encoding = encoding
        self.content_type = ""
        """The Content-Type that the client gets, once the response has begun."""
        self.pieces: list[bytes] = []
        self.size = 0
        self.is_cut = False

    @property
    def is_plain(self) -> bool:
        """Whether the response is not compressed."""
        return is_plain(self.encoding)

    def feed(self, data: bytes) -> None:
        """Keep a chunk if there is room. The chunk itself is not copied."""
        if self.size < self.longest:
            self.pieces.append(data)
            self.size += len(data)
        else:
            self.is_cut = True

    def content(self) -> bytes:
        """Return the decompressed bytes so far, at most `longest`. Empty if they cannot be decompressed."""
        data = b"".join(self.pieces)
        self.is_cut = self.is_cut or len(data) > self.longest
        if is_plain(self.encoding):
            return data[: self.longest]
        undo = decoder(self.encoding)
        if undo is None:
            return b""
        parts, size = [], 0
        try:
            for part in undo.feed(data):
                parts.append(part)
                size += len(part)
                if size >= self.longest:
                    self.is_cut = True
                    break
        except DecodingError:
            self.is_cut = True
        return b"".join(parts)[: self.longest]


class AnswerCopy(ResponseCopy):
    """The copy of a whole response, or nothing of one that is too long. It shares the memory of all that are held.

    A stream takes a quarter of a kilobyte for a token, so it may be longer than what others keep of a response.
    """

    longest = 8 * 1024 * 1024

    def __init__(self, take: Callable[[int], bool]) -> None:
        """Start a copy. `take`: reserves a number of bytes, or returns False."""
        super().__init__("")
        self.take = take

    def feed(self, data: bytes) -> None:
        """Keep a chunk. If the response is too long or there is no room, the whole copy is dropped."""
        if self.is_cut:
            return
        if self.size + len(data) <= self.longest and self.take(len(data)):
            super().feed(data)
            return
        self.is_cut = True
        self.pieces.clear()
