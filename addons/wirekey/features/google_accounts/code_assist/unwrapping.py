r"""The envelope around responses of Code Assist, removed as they arrive. Pure.

A response is `{"response": {…}, "traceId": "…"}`. The client gets the bytes of `response`, as Google wrote them. A
stream has one such object in each server-sent event, and its events may be cut anywhere. A client of Gemini's API gets
the same objects as one JSON array, unless it asked for `alt=sse`.

The readers follow the contract of all stream readers: they are fed bytes, return what is known by then, hold at most
one unfinished event, and do not raise. An event that cannot be read passes unchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from wirekey.core.metering.sse import data_of

if TYPE_CHECKING:
    from collections.abc import Callable

type Members = dict[str, msgspec.Raw]

NO_CANDIDATES = b"{}"
EVENT_END = b"\r\n\r\n"
EVENT_LIMIT = 64 * 1024 * 1024
"""Bytes of the longest event: an image in base64 is one."""

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_array = msgspec.json.Decoder(list[msgspec.Raw])


class Unwrapper(Protocol):
    """A step between the bytes of a response and the client."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return what the client gets of the next bytes."""

    def end(self) -> list[bytes]:
        """Return what was held until the response ended."""


def unwrapped(document: bytes) -> bytes | None:
    """Return the bytes that `response` has in one object of Code Assist.

    An object without `response` has no candidates: it becomes `{}`. An error stays as it is. None: it is no object.
    """
    try:
        members: Members = _object.decode(document)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    if "error" in members:
        return document.strip()
    found = members.get("response")
    return NO_CANDIDATES if found is None or bytes(found) == b"null" else bytes(found)


def first_of_array(document: bytes) -> bytes:
    """Return the only or first object of an array, as errors sometimes are in one. Return anything else unchanged."""
    if document.lstrip()[:1] != b"[":
        return document
    try:
        found = _array.decode(document)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return document
    return bytes(found[0]) if found else document


class WholeUnwrapper:
    """Reads a response that is no stream, and converts it when it is complete.

    `convert` returns the client's bytes. `limit`: bytes that are held. A longer response is cut there, which leaves
    no JSON that could be mistaken for a whole one.
    """

    def __init__(self, convert: Callable[[bytes], bytes], limit: int = EVENT_LIMIT) -> None:
        self.convert = convert
        self.limit = limit
        self._held = bytearray()

    @property
    def is_too_long(self) -> bool:
        """Whether more was received than may be held."""
        return len(self._held) > self.limit

    @property
    def held(self) -> bytes:
        """The bytes that were received until now."""
        return bytes(self._held)

    def clear(self) -> None:
        """Forget what was received."""
        self._held.clear()

    def feed(self, data: bytes) -> list[bytes]:
        """Hold the next bytes."""
        if not self.is_too_long:
            self._held += data
        return []

    def end(self) -> list[bytes]:
        """Return the converted response."""
        held = self.held
        self.clear()
        return [found] if (found := self.convert(held)) else []


class StreamUnwrapper:
    """Reads a stream of server-sent events, and writes each one without its envelope.

    `as_array`: write the objects as one JSON array, if the client did not ask for `alt=sse`.
    """

    def __init__(self, *, as_array: bool = False) -> None:
        self.as_array = as_array
        self.count = 0
        self._held = bytearray()
        self._searched = 0
        self._is_broken = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the events that these bytes complete, without their envelopes."""
        if self._is_broken:
            return []
        self._held += data
        written = []
        while (end := self._end_of_event()) is not None:
            stop, after = end
            event = bytes(self._held[:stop])
            del self._held[:after]
            self._searched = 0
            written.append(self._write(event))
        if len(self._held) > EVENT_LIMIT:
            # The events that follow could no longer be distinguished. The client sees a truncated stream.
            self._is_broken = True
            self._held.clear()
        return [b"".join(written)] if any(written) else []

    def end(self) -> list[bytes]:
        """Return the event that lacks its blank line, if it is whole, and what closes an array."""
        rest = bytes(self._held)
        self._held.clear()
        last = self._write(rest) if rest.strip() and unwrapped(_data(rest)) is not None else b""
        if self.as_array and not self._is_broken:
            last += b"]" if self.count else b"[]"
        return [last] if last else []

    def _end_of_event(self) -> tuple[int, int] | None:
        """Return where the first event ends and where the next one begins, or None if no event is complete."""
        held = self._held
        found = held.find(b"\n", max(0, self._searched - 3))
        while found >= 0:
            for blank in (b"\n", b"\r\n"):
                if held.startswith(blank, found + 1):
                    return found, found + 1 + len(blank)
            found = held.find(b"\n", found + 1)
        self._searched = len(held)
        return None

    def _write(self, event: bytes) -> bytes:
        """Return an event as the client gets it; b"" for one without data, such as a comment."""
        data = _data(event)
        if not data:
            comment = event.rstrip(b"\r\n")
            return comment + EVENT_END if comment and not self.as_array else b""
        found = unwrapped(data)
        content = data if found is None else found
        self.count += 1
        if self.as_array:
            return (b"[" if self.count == 1 else b",\r\n") + content
        return b"".join(b"data: %b\r\n" % line for line in content.splitlines() or [b""]) + b"\r\n"


def _data(event: bytes) -> bytes:
    return data_of(event.replace(b"\r\n", b"\n").strip(b"\n"))
