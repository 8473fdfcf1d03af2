"""A streamed response in readable form: first its texts, joined, then its events, one per line. Pure; never raises.

Knows the streams of OpenAI (chat, completions, responses), Anthropic, Gemini (events, and the array of JSON objects)
and Bedrock (Converse, and each model's own chunks). Unknown events are listed, too.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any

from wirekey.core.metering.eventstream import EventStreamReader, read_headers
from wirekey.core.metering.json_array import JsonArrayReader
from wirekey.core.metering.sse import SseReader
from wirekey.providers.formats import FORMATS
from wirekey.providers.said import Places, SaidKind, pieces_in

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_SUMMARY = 160
TYPE_WIDTH = 26
TOO_LONG = "(an event of more than 1 MiB)"

PLACES: Places = {name: inner for form in FORMATS.values() for name, inner in form.said.items()}
"""Those of all formats, as a stream does not say which it has."""
NOT_SHOWN = (SaidKind.END, SaidKind.OTHER)


class Transcript:
    """Collects the events of one stream. `text` returns them in readable form."""

    def __init__(self) -> None:
        self.texts: dict[tuple[str, int], list[str]] = {}
        self.lines: list[str] = []

    def add(self, data: bytes, kind: str = "") -> None:
        """Add one event. `kind`: its type in the envelope, if any."""
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            self.note(kind or "(not JSON)", data.decode("utf-8", "backslashreplace"))
            return
        event, inner = unwrapped(event)
        found = list(shown_pieces(event if kind in {"", "chunk"} else {kind: event}))
        for name, index, text in found:
            self.texts.setdefault((name, index), []).append(text)
        named = " ".join(filter(None, (kind, inner))) or type_of(event) or "event"
        self.note(named, " ".join(quoted(text) for _, _, text in found) or quoted(event))

    def note(self, kind: str, summary: str) -> None:
        """Add a line to the list of events."""
        short = summary if len(summary) <= LONGEST_SUMMARY else f"{summary[: LONGEST_SUMMARY - 3]}..."
        self.lines.append(f"{len(self.lines) + 1:>4}  {kind:<{TYPE_WIDTH}} {short}".rstrip())

    def text(self) -> str:
        """Return the joined texts and the list of events."""
        parts = []
        for (name, index), found in self.texts.items():
            title = f"{name} {index}" if index else name
            parts.append(f"{title}\n{'-' * len(title)}\n{''.join(found)}\n")
        title = f"Events ({len(self.lines)})"
        parts.append("\n".join([title, "-" * len(title), *self.lines]) + "\n")
        return "\n".join(parts)


class Listing:
    """Adds the events that a reader of a stream finds to a transcript."""

    def __init__(self) -> None:
        super().__init__()
        self.transcript = Transcript()

    def interested(self, data: bytes) -> bool:
        """Return whether the event has data."""
        return bool(data)

    def read_event(self, data: bytes) -> None:
        """Add an event."""
        if data == b"[DONE]":
            self.transcript.note("[DONE]", "")
        elif data:  # a keep-alive comment has none
            self.transcript.add(data)

    def read_fragment(self, head: bytes, tail: bytes) -> None:
        """Add an event that was too long to be kept."""
        self.transcript.note(TOO_LONG, "")


class SseTranscript(Listing, SseReader):
    """Reads server-sent events into a transcript."""


class JsonArrayTranscript(Listing, JsonArrayReader):
    """Reads the members of a JSON array into a transcript."""


class EventStreamTranscript(EventStreamReader):
    """Reads AWS event stream messages into a transcript."""

    def __init__(self) -> None:
        super().__init__()
        self.transcript = Transcript()

    def read_event(self, headers: bytes, payload: bytes) -> None:
        """Add a message."""
        named = read_headers(headers)
        kind = named.get(":event-type") or named.get(":exception-type") or named.get(":error-code") or "(no type)"
        self.transcript.add(payload, kind)


type Reader = SseTranscript | JsonArrayTranscript | EventStreamTranscript


def transcript(reader: Reader, data: bytes) -> str:
    """Return the readable form of a whole stream, or of its beginning."""
    reader.feed(data)
    reader.end()
    return reader.transcript.text()


def unwrapped(event: Any) -> tuple[Any, str]:
    """Return the model's own chunk and its type if Bedrock's InvokeModel wraps one, otherwise the event itself."""
    wrapped = event.get("bytes") if isinstance(event, dict) else None
    if not isinstance(wrapped, str):
        return event, ""
    try:
        inner = json.loads(base64.b64decode(wrapped, validate=True))
    except (ValueError, binascii.Error, RecursionError):
        return event, ""
    return inner, type_of(inner)


def type_of(event: Any) -> str:
    """Return the type of an event, or an empty text."""
    if not isinstance(event, dict):
        return ""
    named = (event.get(name) for name in ("type", "event_type", "object"))
    return next((name for name in named if isinstance(name, str)), next(iter(event), "") if len(event) == 1 else "")


def shown_pieces(event: Any) -> Iterator[tuple[str, int, str]]:
    """Yield the pieces of text that an event adds, each with its kind and its index among several."""
    for kind, index, value in pieces_in(PLACES, event):
        if kind not in NOT_SHOWN and isinstance(value, (str, dict)):
            yield kind, index, value if isinstance(value, str) else quoted(value)


def quoted(value: Any) -> str:
    """Return compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
