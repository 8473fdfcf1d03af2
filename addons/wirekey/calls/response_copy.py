"""Copies what the client gets of a response, up to a limit. A copy is decompressed when it is read."""

from __future__ import annotations

from wirekey.metering.decoding import DecodingError, decoder, is_plain

LONGEST = 1024 * 1024
"""Bytes of one response, both compressed and decompressed."""


class ResponseCopy:
    """The beginning of one response, as the client gets it."""

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
        """Keep a chunk, as long as there is room. The chunk itself is not copied."""
        if self.size < LONGEST:
            self.pieces.append(data)
            self.size += len(data)
        else:
            self.is_cut = True

    def content(self) -> bytes:
        """Return the decompressed bytes so far, at most `LONGEST`. Empty if they cannot be decompressed."""
        data = b"".join(self.pieces)
        self.is_cut = self.is_cut or len(data) > LONGEST
        if is_plain(self.encoding):
            return data[:LONGEST]
        undo = decoder(self.encoding)
        if undo is None:
            return b""
        parts, size = [], 0
        try:
            for part in undo.feed(data):
                parts.append(part)
                size += len(part)
                if size >= LONGEST:
                    self.is_cut = True
                    break
        except DecodingError:
            self.is_cut = True
        return b"".join(parts)[:LONGEST]
