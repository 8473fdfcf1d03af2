"""Splits streams into events for translation, and writes events.

The readers of metering split the bytes: the same events however the bytes were cut, and at most one unfinished event of
limited length. Here they keep the events instead of learning from them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from wirekey.core.metering.eventstream import EventStreamReader, read_headers, write_frame
from wirekey.core.metering.lenient_json import decode_leniently
from wirekey.core.metering.sse import EVENT_LIMIT, SseReader, data_of
from wirekey.features.translation.members import encode

_OBJECT: msgspec.json.Decoder[dict[str, Any] | None] = msgspec.json.Decoder(dict[str, Any] | None)


def read_object(data: bytes) -> dict[str, Any]:
    """Return the JSON object of an event, also if its JSON has small flaws; null is an object without members.

    Raises ValueError or RecursionError if it is anything else: an event must not be lost without a word.
    """
    return decode_leniently(_OBJECT, data) or {}


class StreamMessage(NamedTuple):
    """One message of an AWS event stream: its kind (`event` or `exception`), its type and its payload."""

    kind: str
    type: str
    payload: bytes


class SseEvents(SseReader):
    """Collects the data of server-sent events. `broken` is set if an event is too long to be held."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[bytes] = []
        self.broken = False

    def only_event(self, data: bytes) -> bytes | None:
        """Return the data of bytes that are exactly one event, as most chunks are. None: `feed` must get the bytes."""
        if self._held or self._ends or self._after_cr or not data.endswith(b"\n\n") or b"\r" in data:
            return None
        start = data.find(b"\n") + 1 if data.startswith(b"event: ") else 0
        if not data.startswith(b"data: ", start) or data.find(b"\n", start) != len(data) - 2:
            return None
        return data[start + 6 : -2] if len(data) <= EVENT_LIMIT else None

    def feed(self, data: bytes) -> None:
        """Read the next bytes. Most chunks are whole events, and are split at once."""
        if (
            self._held
            or self._ends
            or self._after_cr
            or b"\r" in data
            or not data.endswith(b"\n\n")
            or len(data) > EVENT_LIMIT
        ):
            super().feed(data)
        elif not self.broken:
            self.events += [found for event in data.split(b"\n\n") if (found := data_of(event))]

    def interested(self, data: bytes) -> bool:
        """Return True: every event is wanted."""
        return True

    def read_event(self, data: bytes) -> None:
        """Keep the data of one event; an empty event is a comment."""
        if data and not self.broken:
            self.events.append(data)

    def read_fragment(self, head: bytes, tail: bytes) -> None:
        """Note that an event was too long."""
        self.broken = True

    def take(self) -> list[bytes]:
        """Return the events since the last call."""
        events, self.events = self.events, []
        return events


class FrameEvents(EventStreamReader):
    """Collects the messages of an event stream."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[StreamMessage] = []

    @property
    def broken(self) -> bool:
        """Whether nothing more can be read."""
        return self._broken or self.has_skipped

    def read_event(self, headers: bytes, payload: bytes) -> None:
        """Keep one message, unless an earlier one was too long to be held."""
        if self.has_skipped:
            return
        found = read_headers(headers)
        name = found.get(":exception-type") or found.get(":event-type") or found.get(":error-code") or ""
        self.events.append(StreamMessage(found.get(":message-type", "event"), name, payload))

    def take(self) -> list[StreamMessage]:
        """Return the messages since the last call."""
        events, self.events = self.events, []
        return events


def frame(name: str, payload: object, kind: str = "event") -> bytes:
    """Return one message of an event stream with a JSON value."""
    header = ":exception-type" if kind == "exception" else ":event-type"
    headers = {header: name, ":content-type": "application/json", ":message-type": kind}
    return write_frame(headers, encode(payload))


def sse(value: object, event: str | None = None) -> bytes:
    """Return one server-sent event with a JSON value."""
    head = b"event: " + event.encode() + b"\n" if event else b""
    return head + b"data: " + encode(value) + b"\n\n"
