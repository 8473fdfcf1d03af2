"""Removes the token counts from an OpenAI stream whose client did not ask for them.

With `stream_options.include_usage` the provider sends one more event before `[DONE]`, with `choices` empty and
`usage` filled, and `"usage":null` in every other event (OpenAI API reference, "Chat Completions", "Streaming").
A client that did not ask for it sees neither. Google's servers put the counts beside `choices` in every event.
"""

from __future__ import annotations

import re
from enum import Enum, auto

import msgspec

from wirekey.core.errors import Refusal
from wirekey.core.metering.long_strings import without_long_strings
from wirekey.core.metering.sse import EVENT_LIMIT, data_of, end_of_lines, last_end_of_lines
from wirekey.providers.request_json import read_body

_END = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE_END = re.compile(rb"\r\n|\r")
_NULL = re.compile(rb',[ \t]*"usage"[ \t]*:[ \t]*null|"usage"[ \t]*:[ \t]*null[ \t]*(?:,[ \t]*)?')

# At the top level for sure: only strings follow it before the last brace. OpenAI's own chunks look like this.
_PLAIN_NULL = re.compile(rb',"usage":null(?=(?:,"\w+":"[^"\\]*")*\}[\r\n]*\Z)')


# The same at the end of each event, where all line ends are LF.
_PLAIN_NULLS = re.compile(rb',"usage":null(?=(?:,"\w+":"[^"\\\n]*")*\}\n\n)')


class _Chunk(msgspec.Struct):
    choices: list[msgspec.Raw] | None = None
    usage: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_chunk = msgspec.json.Decoder(_Chunk)


class _Event(Enum):
    """How much of the current event has been passed on."""

    UNSEEN = auto()
    OVERSIZE = auto()
    """Its beginning: it is too long to be looked at."""
    PASSED = auto()
    """All but perhaps the LF of a CR LF at its end."""
    DROPPED = auto()
    """Nothing, and the LF of a CR LF at its end must not come either."""


class UsageEventFilter:
    """Removes the usage from a stream of events. From the first event that it cannot read, everything passes.

    Holds one unfinished event at most, up to `EVENT_LIMIT`; longer ones pass unseen. `beside_choices`: whether counts
    are removed from events with choices, too, which stay.
    """

    def __init__(self, *, beside_choices: bool = False) -> None:
        self._beside_choices = beside_choices
        self._held = bytearray()
        self._searched = 0
        self._event = _Event.UNSEEN
        self._passing = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return what can be sent on: complete events at once, as one piece."""
        if self._passing:
            return [data] if data else []
        if self._event is _Event.UNSEEN and (passed := self._whole_events(data)) is not None:
            return passed
        out: list[bytes] = []
        if self._event in (_Event.PASSED, _Event.DROPPED):
            data = self._line_feed(data, out)
        if self._event is _Event.OVERSIZE:
            self._oversize(data, out)
        else:
            self._held += data
        if self._event is _Event.UNSEEN:
            self._complete_events(out)
        joined = b"".join(out)
        return [joined] if joined else []

    def end(self) -> list[bytes]:
        """Return what is held of an event that the provider did not finish."""
        rest = b"" if self._event is _Event.OVERSIZE else self._seen(bytes(self._held))
        self._held.clear()
        self._passing = True
        return [rest] if rest else []

    def _whole_events(self, data: bytes) -> list[bytes] | None:
        """Return what can be sent on if the last of the events that end here is followed by the start of one at most.

        Returns None for unusual line ends, or if no event ends here: then nothing was changed.
        """
        held = self._held
        end = last_end_of_lines(data, 0) + 2
        if end < 2 or b"\r" in data or data[end - 3 : end - 2] == b"\n":
            return None
        if held and (data.startswith(b"\n") or b"\r" in held):
            return None
        whole = data
        if held or end < len(data):
            whole = b"".join((held, memoryview(data)[:end]))
        outline = without_long_strings(whole)
        count = outline.count(b'"usage"')
        if count:
            if len(whole) > EVENT_LIMIT:
                return None
            whole = self._without_usage(whole, count, has_long_strings=outline is not whole)
        held[:] = data[end:]
        self._searched = max(len(held) - 3, 0)
        if self._passing and held:
            whole += held
            held.clear()
        return [whole] if whole else []

    def _without_usage(self, events: bytes, count: int, *, has_long_strings: bool) -> bytes:
        """Return complete events that name the usage `count` times as the provider would have sent them unasked."""
        if count == 1 and (plain := _PLAIN_NULL.match(events, events.rfind(b'"usage"') - 1)):
            return b"".join((memoryview(events)[: plain.start()], memoryview(events)[plain.end() :]))
        if not has_long_strings:
            changed, removed = _PLAIN_NULLS.subn(b"", events)
            if removed == count:
                return changed
        parts: list[bytes] = []
        at, size = 0, len(events)
        while at < size and not self._passing:
            end = end_of_lines(events, at) + 2
            parts.append(self._seen(events[at:end]))
            at = end
        parts.append(events[at:])
        return b"".join(parts)

    def _complete_events(self, out: list[bytes]) -> None:
        held, start = self._held, 0
        search = self._searched
        has_cr = held.find(b"\r", search) >= 0
        while not self._passing and (end := end_of_event(held, search, has_cr=has_cr)) >= 0:
            seen = self._seen(bytes(held[start:end]))
            out.append(seen)
            start = search = end
            if start == len(held) and held.endswith(b"\r"):
                self._event = _Event.PASSED if seen else _Event.DROPPED
        del held[:start]
        if self._passing or len(held) > EVENT_LIMIT:
            out.append(bytes(held))
            self._event = _Event.OVERSIZE
            del held[:-3]
        self._searched = max(len(held) - 3, 0)

    def _line_feed(self, data: bytes, out: list[bytes]) -> bytes:
        """Pass or drop the LF of a CR LF as its CR was, in the chunk before."""
        if not data:
            return data
        if data.startswith(b"\n"):
            if self._event is _Event.PASSED:
                out.append(b"\n")
            data = data[1:]
        self._event = _Event.UNSEEN
        return data

    def _oversize(self, data: bytes, out: list[bytes]) -> None:
        """Pass a long event on. Its last bytes are kept, too, as its end may be cut."""
        held = self._held
        out_already = len(held)
        held += data
        found = end_of_event(held, 0, has_cr=b"\r" in held)
        end = found if found >= 0 else len(held)
        out.append(bytes(held[out_already:end]))
        if found < 0:
            del held[:-3]
            return
        at_cut = end == len(held) and held.endswith(b"\r")
        self._event = _Event.PASSED if at_cut else _Event.UNSEEN
        del held[:end]
        self._searched = 0

    def _seen(self, event: bytes) -> bytes:
        """Return an event as the provider would have sent it unasked; b"" for the usage event."""
        if len(event) > EVENT_LIMIT:
            return event
        count = without_long_strings(event).count(b'"usage"')
        if not count:
            return event
        # Providers put it at the end, where it is found at once.
        if count == 1 and (plain := _PLAIN_NULL.match(event, event.rfind(b'"usage"') - 1)):
            return event[: plain.start()] + event[plain.end() :]
        try:
            chunk = _chunk.decode(data_of(_LINE_END.sub(b"\n", event)))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._passing = True
            return event
        if chunk.usage is msgspec.UNSET:
            return event
        usage = bytes(chunk.usage)
        if usage == b"null":
            return without_null(event)
        if not usage.startswith(b"{"):
            return event
        if chunk.choices == []:
            return b""
        return without_counts(event) if self._beside_choices else event


def end_of_event(data: bytearray, start: int, *, has_cr: bool) -> int:
    """Return the end of the first event that ends after `start`, or -1 if none does. `has_cr`: if there may be a CR."""
    if not has_cr:  # a plain search takes a tenth of the time
        found = end_of_lines(data, start)
        return found + 2 if found >= 0 else -1
    match = _END.search(data, start)
    return match.end() if match else -1


def without_null(event: bytes) -> bytes:
    """Remove `"usage":null` from an event that has it at its top level, with the comma that goes with it.

    These bytes cannot be part of a text: inside a JSON string the quotes are escaped. But they can stand deeper
    in the event as well; where they do, the members are counted out.
    """
    found = list(_NULL.finditer(event))
    if len(found) == 1:
        start, end = found[0].span()
        return event[:start] + event[end:]
    opening, closing = event.find(b"{"), event.rfind(b"}")
    try:
        value = read_body(event[opening : closing + 1]).spans["usage"][0] + opening
    except (Refusal, KeyError):
        return event
    return next((event[: at.start()] + event[at.end() :] for at in found if at.start() < value < at.end()), event)


def without_counts(event: bytes) -> bytes:
    """Remove the member `usage` at the top level of an event, with the comma that goes with it."""
    opening, closing = event.find(b"{"), event.rfind(b"}")
    try:
        start, end = read_body(event[opening : closing + 1]).spans["usage"]
    except (Refusal, KeyError):
        return event
    before = event[: event.rfind(b'"usage"', 0, opening + start)].rstrip(b" \t\r\n")
    after = event[opening + end :]
    if before.endswith(b","):
        return before[:-1] + after
    return before + after.lstrip(b" \t\r\n").removeprefix(b",")
