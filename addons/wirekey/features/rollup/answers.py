"""Reads the text that a model said from the bytes of a whole response, streamed or not.

Only a response of text alone is a turn that a later request can be cut behind. One with a call of a tool is followed by
the result, which is never parted from it, so it is not read.
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, Any

import msgspec

from wirekey.core.metering.eventstream import EventStreamReader, read_headers
from wirekey.providers.formats import FORMATS
from wirekey.providers.said import SaidKind, pieces_in

if TYPE_CHECKING:
    from collections.abc import Iterator

_decode = msgspec.json.Decoder().decode
_MALFORMED = (
    msgspec.MsgspecError, binascii.Error, AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError
)  # fmt: skip

ENDS = frozenset(
    {
        *("stop", "length"),  # OpenAI
        *("STOP", "MAX_TOKENS"),  # Gemini
        *("end_turn", "stop_sequence", "max_tokens"),  # Anthropic, Converse, Nova
    }
)
"""Finish reasons of a response from which the conversation continues. A filtered one is not stored."""


def read_answer(form: str, content_type: str, body: bytes) -> str | None:
    """Return the text of a response, or None if it has anything else, such as a call of a tool. Never raises.

    `form`: the client's format. `body`: the whole response as the client got it, decompressed.
    """
    places = FORMATS[form].said
    try:
        found = [piece for document in documents(content_type, body) for piece in pieces_in(places, document)]
        text = "".join(piece.value for piece in found if piece.kind is SaidKind.TEXT)
        ends = {piece.value for piece in found if piece.kind is SaidKind.END}
    except _MALFORMED:
        return None
    is_text = all(piece.kind in {SaidKind.TEXT, SaidKind.REASONING, SaidKind.END} for piece in found)
    return text if is_text and text and ends and ends <= ENDS else None


def documents(content_type: str, body: bytes) -> Iterator[Any]:
    """Yield the JSON documents of a response: one, or those of a stream's events."""
    media = content_type.partition(";")[0].strip().lower()
    if media == "text/event-stream":
        for line in body.split(b"\n"):
            data = line.removeprefix(b"data:").strip()
            if line.startswith(b"data:") and data != b"[DONE]":
                yield _decode(data)
    elif media == "application/vnd.amazon.eventstream":
        frames = Frames()
        frames.feed(body)
        yield from frames.found
    else:
        found = _decode(body)
        yield from found if isinstance(found, list) else [found]


class Frames(EventStreamReader):
    """Collects the JSON of AWS's event streams: an event under its type, or the model's own JSON in a chunk."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Any] = []

    def read_event(self, headers: bytes, payload: bytes) -> None:
        """Add one event. Raises ValueError if it is malformed or an exception."""
        fields = read_headers(headers)
        kind = fields.get(":event-type")
        if fields.get(":message-type") != "event" or kind is None:
            raise ValueError("not an event")
        document = _decode(payload)
        if kind == "chunk":
            self.found.append(_decode(binascii.a2b_base64(document["bytes"])))
        else:
            self.found.append({kind: document})
