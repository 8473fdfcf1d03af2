"""Reads server-sent events as they pass (WHATWG HTML, section 9.2), in any cut, with any line ends.

A whole chunk without anything of interest is skipped after one search. Otherwise the stream is split into events, and
an event is searched before it is parsed. At most one unfinished event is held, up to EVENT_LIMIT bytes. Of a longer one
only head and tail are kept, which is where providers put what readers need.
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

from wirekey.core.metering.oversize import Ends
from wirekey.core.operation import Usage

if TYPE_CHECKING:
    import re

    from wirekey.core.metering.deltas import DeltaCounter

EVENT_LIMIT = 1024 * 1024


class SseReader:
    """A ResponseReader of a stream of events. Subclasses define what is of interest, and learn from it."""

    texts: re.Pattern[bytes] | None = None
    """The beginning of the generated texts in its bytes; None if they cannot be counted."""

    def __init__(self) -> None:
        self.deltas: DeltaCounter | None = None
        self.usage = Usage()
        self.finished = False
        self.error_type: str | None = None
        self._held = bytearray()
        self._ends: Ends | None = None
        self._after_cr = False

    def interested(self, data: bytes) -> bool:
        """Search, cheaply, one raw event or several for what `read_event` would learn from."""
        raise NotImplementedError

    def read_event(self, data: bytes) -> None:
        """Learn from the data of one event. Must not raise."""
        raise NotImplementedError

    def read_fragment(self, head: bytes, tail: bytes) -> None:
        """Learn from both ends of a long event, one of which is of interest. Must not raise."""

    def feed(self, data: bytes) -> None:
        """Read the next bytes of the response. Never raises."""
        if self.deltas is not None:
            self.deltas.feed(data)
        if not self._held and not self._ends and not self._after_cr and data.endswith((b"\n\n", b"\n\r\n")):
            # The chunk ends with an event, so no part of it is needed later.
            if not self.interested(data):
                return
        elif not data:
            return
        if self._after_cr or b"\r" in data:
            data = self._with_newlines(data)
        if not self._held and not self._ends and data.endswith(b"\n\n"):
            for event in data.split(b"\n\n"):
                self._read_raw(event)
            return
        self._collect(data)

    def whole(self, data: bytes) -> int | None:
        """Return how many of the bytes that were fed last belong to whole events; None if no event ends in them."""
        ends = [(at, at + len(end)) for end in (b"\n\n", b"\r\n\r\n", b"\r\r") if (at := data.rfind(end)) >= 0]
        return max(ends)[1] if ends else None

    @property
    def is_between_events(self) -> bool:
        """Whether what was fed ends with an event."""
        return not (self._held or self._ends)

    def end(self) -> None:
        """Read an event that lacks the blank line at its end, as most SDKs do."""
        if self._ends:
            self._read_ends(self._ends)
        elif self._held:
            event = bytes(self._held)
            self._read_raw(event.removesuffix(b"\n"))
        self._held.clear()
        self._ends = None

    def _with_newlines(self, data: bytes) -> bytes:
        """Make every line end a LF, also where CR and LF came in two chunks."""
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
            self._after_cr = False
            if not data:
                return data
        self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _collect(self, data: bytes) -> None:
        if self._ends:
            data = self._skip_long_event(self._ends, data)
        start = self._end_held_event(data)
        if start < 0:
            self._hold(data)
            return
        if (end := last_end_of_lines(data, start)) > start and self.interested(data[start:end]):
            while (end := end_of_lines(data, start)) >= 0:
                self._read_raw(data[start:end])
                start = end + 2
        elif end >= start:
            start = end + 2
        while data[start : start + 1] == b"\n":
            start += 1  # an empty line where an event would begin ends nothing
        self._hold(memoryview(data)[start:])

    def _end_held_event(self, data: bytes) -> int:
        """Read the held event if it ends in these bytes. Return where the next one begins, or -1 if it does not end."""
        held = self._held
        if not held:
            return 0
        if held.endswith(b"\n") and data.startswith(b"\n"):
            after = 1
            del held[-1:]
        else:
            end = end_of_lines(data, 0)
            if end < 0:
                return -1
            after = end + 2
            held += memoryview(data)[:end]
        event = bytes(held)
        held.clear()
        self._read_raw(event)
        return after

    def _hold(self, data: bytes | memoryview) -> None:
        """Hold the beginning of an event, or its ends if it is long."""
        self._held += data
        if len(self._held) > EVENT_LIMIT + 1:
            self._ends = Ends()
            self._skip_long_event(self._ends, bytes(self._held))
            self._held.clear()

    def _skip_long_event(self, ends: Ends, data: bytes) -> bytes:
        """Skip a long event, and return what follows it."""
        last = ends.tail[-1:]
        if last == b"\n" and data.startswith(b"\n"):
            end, after = 0, 1
            ends.drop_last()
        else:
            end = data.find(b"\n\n")
            after = end + 2
        if end < 0:
            ends.add(data)
            return b""
        ends.add(data[:end])
        self._read_ends(ends)
        self._ends = None
        return data[after:]

    def _read_raw(self, event: bytes) -> None:
        event = event.lstrip(b"\n")
        if len(event) > EVENT_LIMIT:
            ends = Ends()
            ends.add(event)
            self._read_ends(ends)
        elif self.interested(event):
            self.read_event(data_of(event))

    def _read_ends(self, ends: Ends) -> None:
        head, tail = ends.close()
        if self.interested(head) or self.interested(tail):
            self.read_fragment(head, tail)


def end_of_lines(data: bytes | bytearray, start: int) -> int:
    """Return where the first empty line after `start` begins, that is the first of two LF, or -1."""
    # Searching one byte takes a fiftieth of the time that searching two takes, and a long event has few lines.
    found = data.find(b"\n", start)
    while found >= 0 and data[found + 1 : found + 2] != b"\n":
        found = data.find(b"\n", found + 1)
    return found


def last_end_of_lines(data: bytes, start: int) -> int:
    """Return where the last empty line after `start` begins, that is the first of two LF, or -1."""
    found = data.rfind(b"\n", start)
    while found > start and data[found - 1 : found] != b"\n":
        found = data.rfind(b"\n", start, found)
    return found - 1 if found > start else -1


def data_of(event: bytes) -> bytes:
    """Return the data of one event, whose line ends are LF."""
    # Nearly all events are one line, or one after the line with their type.
    last = event.partition(b"\n")[2] if event.startswith(b"event: ") else event
    if last.startswith(b"data: ") and b"\n" not in last:
        return last[6:]
    event = event.removeprefix(codecs.BOM_UTF8)
    lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines)
