r"""Counts the bytes of generated text in a stream as it passes, before the provider counts the tokens.

Each format has a pattern for what comes before such a text: the key of a member and the quote after it. The text itself
is skipped by one more match. Bytes may be cut anywhere. Nothing is held but the end of an unfinished key.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from wirekey.core.operation import ResponseReader

if TYPE_CHECKING:
    from wirekey.core.errors import Refusal

_REST = re.compile(rb'(?s)[^"\\]*+(?:\\.[^"\\]*+)*+')
"""The rest of a string, as far as the bytes reach. A backslash at their end is left out."""
LONGEST_START = 64
"""Bytes of an unfinished key that are held."""


class DeltaCounter:
    """Counts the bytes of the texts whose keys match a pattern, without the escapes of JSON."""

    def __init__(self, starts: re.Pattern[bytes]) -> None:
        self._starts = starts
        self._held = b""
        self._inside = False
        self.counted = 0

    def feed(self, data: bytes) -> None:
        """Count the next bytes."""
        if self._held:
            data, self._held = self._held + data, b""
        position = self._skip_text(data, 0) if self._inside else 0
        while not self._inside:
            found = self._starts.search(data, position)
            if found is None:
                break
            position = self._skip_text(data, found.end())
        if not self._inside:
            self._held = data[max(position, len(data) - LONGEST_START) :]

    def _skip_text(self, data: bytes, start: int) -> int:
        """Count a text from `start`, and return where it ends."""
        found = _REST.match(data, start)
        assert found
        text, end = found[0], found.end()
        # An escape of one character has two bytes, one of a code point six.
        self.counted += len(text) - text.count(b"\\") - 3 * text.count(b"\\u")
        self._inside = end == len(data) or data[end : end + 1] == b"\\"
        if self._inside:
            self._held = data[end:]
            return end
        return end + 1


class CountedStream(ResponseReader, Protocol):
    """A reader of a stream whose texts can be counted, and which knows where its events end."""

    texts: re.Pattern[bytes] | None
    """The beginning of the generated texts in its bytes; None if they cannot be counted."""
    deltas: DeltaCounter | None
    """Counts the texts if it is set."""

    @property
    def is_between_events(self) -> bool:
        """Whether what was fed ends with an event."""

    def whole(self, data: bytes) -> int | None:
        """Return how many of the bytes that were fed last belong to whole events; None if no event ends in them."""


class ResponseMeter(Protocol):
    """Compares what a stream has used so far with what its call may use."""

    reader: CountedStream
    """Reads the stream, and counts what it has written."""
    refusal: Refusal | None
    """The reason why the stream must end; None if it may continue."""

    def note(self) -> None:
        """Note that the reader has read more."""


def starts_of(*keys: str) -> re.Pattern[bytes]:
    """Return the pattern of the beginning of the texts under these keys."""
    return re.compile(rb'"(?:%b)"[ \t\r\n]*:[ \t\r\n]*"' % "|".join(keys).encode())
