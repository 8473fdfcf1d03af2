"""Feeds a response's bytes to a reader as they pass: decoded if need be, never held, never changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.metering.decoding import DecodingError, decoder, is_plain

if TYPE_CHECKING:
    from wirekey.core.operation import ResponseReader


class Tap:
    """Feeds one response to its reader. `reader` is None if it has none, or if the encoding cannot be decoded."""

    def __init__(self, reader: ResponseReader | None, encoding: str = "") -> None:
        self.reader = reader
        self._decoder = None if is_plain(encoding) else decoder(encoding)
        self._open = True
        if self._decoder is None and not is_plain(encoding):
            self.reader = None

    def feed(self, data: bytes) -> None:
        """Pass bytes of the body to the reader, decoded."""
        if self.reader is None or not self._open or not data:
            return
        if self._decoder is None:
            self.reader.feed(data)
            return
        try:
            for piece in self._decoder.feed(data):
                self.reader.feed(piece)
        except DecodingError:
            self._give_up()

    def end(self) -> None:
        """End the reader, whether the response is complete or not. May be called more than once."""
        if self._open and self.reader is not None:
            self._open = False
            self.reader.end()

    def _give_up(self) -> None:
        """Stop reading. Drop the reader if the response is incomplete: a part of its usage would mislead."""
        if self.reader is not None and self.reader.finished:
            self.end()
        else:
            self.reader = None
