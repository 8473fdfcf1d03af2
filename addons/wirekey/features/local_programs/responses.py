"""Writes what a program says as a response in Gemini's format, whole or as a stream. Pure."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

_encode = msgspec.json.Encoder().encode

FINISH_REASONS: Mapping[str, str] = MappingProxyType(
    {"end_turn": "STOP", "max_tokens": "MAX_TOKENS", "max_turn_requests": "MAX_TOKENS", "refusal": "SAFETY"}
)
"""Stop reason of the protocol → finish reason of Gemini."""
STATUSES: Mapping[int, str] = MappingProxyType(
    {
        400: "INVALID_ARGUMENT",
        401: "UNAUTHENTICATED",
        403: "PERMISSION_DENIED",
        404: "NOT_FOUND",
        429: "RESOURCE_EXHAUSTED",
        502: "INTERNAL",
        503: "UNAVAILABLE",
        504: "DEADLINE_EXCEEDED",
    }
)


def piece(model: str, text: str = "", *, is_thought: bool = False, finish: str | None = None) -> dict[str, object]:
    """Return a response, or one event of a stream. Token counts are not known, so they are left out."""
    part: dict[str, object] = {"text": text, "thought": True} if is_thought else {"text": text}
    candidate: dict[str, object] = {"content": {"parts": [part], "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": model}


def whole(model: str, thoughts: str, text: str, finish: str) -> bytes:
    """Return a whole response."""
    parts: list[dict[str, object]] = [{"text": thoughts, "thought": True}] if thoughts else []
    content = {"parts": [*parts, {"text": text}], "role": "model"}
    candidate = {"content": content, "finishReason": finish, "index": 0}
    return bytes(_encode({"candidates": [candidate], "modelVersion": model}))


def error(status: int, message: str) -> dict[str, object]:
    """Return an error in Gemini's format. `message` has no content of the program."""
    return {"error": {"code": status, "message": message, "status": STATUSES.get(status, "UNKNOWN")}}


class StreamWriter:
    """Writes the events of a stream: server-sent events, or one JSON array."""

    def __init__(self, *, as_array: bool) -> None:
        self.as_array = as_array
        self._is_first = True

    @property
    def content_type(self) -> str:
        """The Content-Type of the stream."""
        return "application/json; charset=UTF-8" if self.as_array else "text/event-stream"

    def event(self, document: dict[str, object]) -> bytes:
        """Return the bytes of one event."""
        data = _encode(document)
        if not self.as_array:
            return b"data: %s\r\n\r\n" % data
        opening, self._is_first = (b"[" if self._is_first else b",\r\n"), False
        return opening + data

    def end(self) -> bytes:
        """Return the last bytes of the stream."""
        if not self.as_array:
            return b""
        return b"[]" if self._is_first else b"]"
