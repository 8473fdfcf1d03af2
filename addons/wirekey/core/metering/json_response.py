"""Reads a plain JSON response once it is complete; of a long one (embeddings, images) only both ends are kept."""

from __future__ import annotations

from typing import Annotated

import msgspec

from wirekey.core.metering.oversize import Ends
from wirekey.core.operation import MOST_TOKENS, Usage

BODY_LIMIT = 1024 * 1024
WORD_LENGTH = 128

DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Raised by msgspec for bytes that are not the JSON it expects."""

Tokens = Annotated[int, msgspec.Meta(ge=0, le=MOST_TOKENS)]
"""A count of tokens that is plausible. It fits wherever it is put later, as does its cost."""


def word(text: str | None) -> str | None:
    """Return a name of a response (a model, a reason) if it is short and of printable ASCII, otherwise None."""
    return text if text and len(text) <= WORD_LENGTH and text.isascii() and text.isprintable() else None


def is_json(data: bytes) -> bool:
    """Return whether bytes are one JSON value."""
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except DECODE_ERRORS:
        return False
    return True


class JsonReader:
    """A ResponseReader of one JSON object."""

    def __init__(self) -> None:
        self.usage = Usage()
        self.finished = False
        self.error_type: str | None = None
        self._parts: list[bytes] = []
        self._length = 0
        self._ends: Ends | None = None

    def read_event(self, data: bytes) -> bool:
        """Learn from the whole body; return whether it was JSON. Must not raise."""
        raise NotImplementedError

    def read_fragment(self, head: bytes, tail: bytes) -> None:
        """Learn from both ends of a body that was too long to be held. Must not raise."""

    def feed(self, data: bytes) -> None:
        """Read the next bytes of the response. Never raises."""
        if self._ends:
            self._ends.add(data)
            return
        self._parts.append(data)
        self._length += len(data)
        if self._length > BODY_LIMIT:
            self._ends = Ends()
            for part in self._parts:
                self._ends.add(part)
            self._parts.clear()

    def end(self) -> None:
        """Read what is left once the response has ended."""
        if self._ends:
            head, tail = self._ends.close()
            self._ends = None
            self.read_fragment(head, tail)
            self.finished = tail.rstrip(b" \t\r\n").endswith(b"}")
        elif self._parts:
            body = b"".join(self._parts)
            self._parts.clear()
            self.finished = self.read_event(body)
