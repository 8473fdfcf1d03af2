r"""Reads one JSON array of objects as it arrives, element by element. Chunks may end anywhere.

Only brackets outside strings show where an element ends. They are usually found without a loop over the bytes: with
escapes removed, the pieces between quotes are in turn outside and inside strings, and outside only the number of
brackets matters. The loop over the bytes is used only if an element may end inside a chunk that has something of
interest. A backslash escapes the next byte, inside strings and outside. Braces and square brackets count alike, since
this module does not validate the provider's JSON. The module holds one unfinished element of up to ELEMENT_LIMIT
bytes. Of a longer element it holds the two ends.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wirekey.core.metering.oversize import Ends
from wirekey.core.operation import Usage

if TYPE_CHECKING:
    from wirekey.core.metering.deltas import DeltaCounter

ELEMENT_LIMIT = 1024 * 1024

_OUTSIDE = re.compile(rb'(?s)\\.?|["\[\]{}]')
_INSIDE = re.compile(rb'(?s)\\.?|"')
_OPENING = (b"[", b"{")
_BEFORE_ELEMENT = (b"[", b",")
_SPACES = 64
"""Bytes at the end of a chunk that are searched for its last character."""


class JsonArrayReader:
    """A ResponseReader of an array. Subclasses define what is of interest, and learn from it."""

    depth = 1
    """The number of brackets around each element: 1 if the whole response is the array."""
    texts: re.Pattern[bytes] | None = None
    """The beginning of the generated texts in its bytes; None if they cannot be counted."""

    def __init__(self) -> None:
        self.deltas: DeltaCounter | None = None
        self.usage = Usage()
        self.finished = False
        self.error_type: str | None = None
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self._held = bytearray()
        self._ends: Ends | None = None
        self._lacks_element = True
        """Whether an element has to follow, as after a comma."""

    def interested(self, data: bytes) -> bool:
        """Return whether `read_event` could learn something from these bytes: one element or several.

        The search must be cheap. An implementation may note here what it can read without the end of an element.
        """
        raise NotImplementedError

    def read_event(self, data: bytes) -> None:
        """Learn from one element. Must not raise."""
        raise NotImplementedError

    def read_fragment(self, head: bytes, tail: bytes) -> None:
        """Learn from both ends of an element that was too long to be held. Must not raise."""

    def feed(self, data: bytes) -> None:
        """Read the next bytes of the response. Never raises."""
        if self.deltas is not None:
            self.deltas.feed(data)
        between = self._depth == self.depth and not self._in_string and not self._escaped
        # A chunk that passes between two elements leaves the state as it was: it can still be walked.
        if not self._skip(data, between=between) or (between and self.interested(data)):
            self._walk(data)
        if self._depth == self.depth and (last := data[-_SPACES:].rstrip()[-1:]):
            self._lacks_element = last in _BEFORE_ELEMENT

    def whole(self, data: bytes) -> int | None:
        """Return how many of the bytes that were fed last belong to whole elements; None if no element ends in them."""
        unfinished = len(self._held) if self._depth > self.depth else 0
        if self._ends or unfinished > len(data):
            return None
        return (data.rfind(b"}", 0, len(data) - unfinished) + 1) or None

    def end(self) -> None:
        """Forget an element that was cut off: nothing is known of it."""
        self._held.clear()
        self._ends = None

    @property
    def is_between_elements(self) -> bool:
        """Whether another element can follow what was read so far."""
        return self._depth == self.depth and not self._in_string and not self._escaped and not self._lacks_element

    is_between_events = is_between_elements

    def _skip(self, data: bytes, *, between: bool) -> bool:
        """Skip a chunk as a whole if it holds only whole elements or lies within one. Return whether it was skipped."""
        plain = data
        escaped = self._escaped
        if escaped or b"\\" in data:
            plain = data[1:] if escaped and data else data
            plain = plain.replace(b"\\\\", b"").replace(b'\\"', b"")
            escaped = plain.endswith(b"\\") if data else escaped
        pieces = plain.split(b'"')
        outside = b"".join(pieces[1::2] if self._in_string else pieces[::2])
        if b"\\" in outside:
            return False
        closing = outside.count(b"}") + outside.count(b"]")
        depth = self._depth + outside.count(b"{") + outside.count(b"[") - closing
        in_string = self._in_string ^ (len(pieces) % 2 == 0)
        if between and not (depth == self.depth and not in_string and not escaped):
            return False
        if not between and self._depth - closing <= self.depth:
            return False
        if not between:
            self._hold(data)
        self._depth, self._in_string, self._escaped = depth, in_string, escaped
        return True

    def _walk(self, data: bytes) -> None:
        position = 0
        start = 0 if self._depth > self.depth else -1
        if self._escaped and data:
            position, self._escaped = 1, False
        while found := (_INSIDE if self._in_string else _OUTSIDE).search(data, position):
            position = found.end()
            token = found[0]
            if token == b'"':
                self._in_string = not self._in_string
            elif token[:1] == b"\\":
                self._escaped = len(token) == 1
            elif token in _OPENING:
                if self._depth == self.depth:
                    start = found.start()
                self._depth += 1
            else:
                self._depth -= 1
                if self._depth == self.depth and start >= 0:
                    self._hold(data[start:position])
                    self._close()
                    start = -1
        if start >= 0:
            self._hold(data[start:])

    def _hold(self, data: bytes) -> None:
        if self._ends:
            self._ends.add(data)
            return
        self._held += data
        if len(self._held) > ELEMENT_LIMIT:
            self._ends = Ends()
            self._ends.add(bytes(self._held))
            self._held.clear()

    def _close(self) -> None:
        if self._ends:
            self.read_fragment(*self._ends.close())
            self._ends = None
            return
        element = bytes(self._held)
        self._held.clear()
        if self.interested(element):
            self.read_event(element)
