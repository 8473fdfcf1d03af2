"""Reads responses about batches as they pass: those that show batches, and results, a line each.

Nothing of a response is kept but counts. A reader gets the pieces of a line as they arrive, so that no line is held
twice, and a line that is too long to be held is read at both ends.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import TYPE_CHECKING

from wirekey.core.calls.response_copy import ResponseCopy
from wirekey.core.metering.decoding import DecodingError, StreamDecoder, decoder
from wirekey.core.tracebacks import safe_traceback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wirekey.core.operation import Usage
    from wirekey.features.batches.spending import Spending
    from wirekey.providers.batches import BatchApi, SeenBatch

logger = logging.getLogger(__name__)


class ShownBatches:
    """The batches that a response shows, and the use of the results in it."""

    def __init__(self, api: BatchApi, new_spending: Callable[[], Spending]) -> None:
        self.places: defaultdict[int, Spending] = defaultdict(new_spending)
        self.reader = api.reader(self.add)

    def add(self, place: int, usage: Usage | None) -> None:
        """Add the usage of one result in the response."""
        if usage is None or usage.input_tokens is None:
            self.places[place].add_unknown()
        else:
            self.places[place].add(usage)

    def feed(self, data: bytes) -> None:
        """Read the next bytes."""
        self.reader.feed(data)

    def end(self) -> None:
        """Read what is left."""
        self.reader.end()

    @property
    def spending(self) -> Spending | None:
        """The use of the results in the response; None if it has none, shows several batches, or is not whole."""
        batches = self.reader.batches
        if not (self.places and self.reader.finished) or len(batches) != 1 or not batches[0].has_ended:
            return None
        return self.places[min(self.places)]

    @property
    def batches(self) -> list[SeenBatch]:
        """The batches that it shows."""
        return self.reader.batches


class Results:
    """The results of a batch: one JSON object in each line."""

    def __init__(self, api: BatchApi, spending: Spending) -> None:
        self.api = api
        self.spending = spending
        self.unread = 0
        """The number of lines that could not be read. A file that has no results may have them, too."""
        self._line = api.result_reader()
        self._is_empty = True

    def feed(self, data: bytes) -> None:
        """Read the next bytes."""
        *ended, rest = data.split(b"\n")
        for piece in ended:
            self._add(piece)
            self._end_line()
        self._add(rest)

    def _add(self, piece: bytes) -> None:
        if self._is_empty:
            piece = piece.lstrip(b" \t\r")
        if piece:
            self._is_empty = False
            self._line.feed(piece)

    def end(self) -> None:
        """Read the last line."""
        self._end_line()

    def _end_line(self) -> None:
        if self._is_empty:
            return
        line, self._line, self._is_empty = self._line, self.api.result_reader(), True
        line.end()
        if not (line.is_result or line.finished):
            self.unread += 1
        if not (line.is_result and line.is_billed):
            return
        if line.usage.input_tokens is None:
            self.spending.add_unknown()
        else:
            self.spending.add(line.usage)


class BatchResponse(ResponseCopy):
    """The copy of a response about batches. It is read at once, and not kept."""

    def __init__(self, reader: ShownBatches | Results) -> None:
        super().__init__("")
        self.reader = reader
        self.failed = False
        """Whether a part of the response could not be read."""
        self._decoder: StreamDecoder | None = None

    def feed(self, data: bytes) -> None:
        """Read a chunk. Never raises."""
        if self.failed:
            return
        self.size += len(data)
        try:
            for piece in self._decoded(data):
                self.reader.feed(piece)
        except DecodingError as error:
            self.failed = True
            logger.warning("a response about batches cannot be decoded, so that it settles nothing: %s", error)
        except Exception as error:
            self.failed = True
            logger.error("a response about batches cannot be read: %s", safe_traceback(error))  # noqa: TRY400  # without the message

    def end(self) -> None:
        """Read what is left. Never raises."""
        if self.failed:
            return
        try:
            self.reader.end()
        except Exception as error:
            self.failed = True
            logger.error("a response about batches cannot be read: %s", safe_traceback(error))  # noqa: TRY400  # without the message

    def _decoded(self, data: bytes) -> Iterable[bytes]:
        if self.is_plain:
            return (data,)
        if self._decoder is None:
            self._decoder = decoder(self.encoding)
            if self._decoder is None:
                raise DecodingError("an unknown coding")
        return self._decoder.feed(data)
