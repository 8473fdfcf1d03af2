"""Lets an answer's bytes be read on their way: decoded if need be, never held, never changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.metering.decoding import DecodingError, decoder, is_plain

if TYPE_CHECKING:
    from wirekey.operation import ResponseReader


class Tap:
    """`reader` becomes None where nothing can be learned: there is none, or its encoding cannot be undone."""

    def __init__(self, reader: ResponseReader | None, encoding: str = "") -> None:
        self.reader = reader
        self._decoder = None if is_plain(encoding) else decoder(encoding)
        self._open = True
        if self._decoder is None and not is_plain(encoding):
            self.reader = None

    def feed(self, data: bytes) -> None:
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
        """Let the reader finish; to be called once or more, whether the answer came to its end or not."""
        if self._open and self.reader is not None:
            self._open = False
            self.reader.end()

    def _give_up(self) -> None:
        """Stop reading. What was learned stays only of an answer that was whole: half of the truth would mislead."""
        if self.reader is not None and self.reader.finished:
            self.end()
        else:
            self.reader = None
