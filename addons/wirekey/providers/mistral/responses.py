"""Reads Mistral's responses, which are OpenAI's with the tier of service beside the token counts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from wirekey.core.metering.json_response import DECODE_ERRORS, word
from wirekey.core.metering.lenient_json import decode_leniently
from wirekey.core.metering.long_strings import without_long_strings
from wirekey.core.operation import Kind, with_modifier
from wirekey.providers.openai.responses import ChunkStream, OpenAiJson, TypedStream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.core.operation import Facts, Operation, ResponseReader, Usage

CHUNKED = ("chat.completions", "fim.completions")
SILENT = ("responses.input_tokens", "moderations", "chat.moderations", "classifications", "chat.classifications")
"""Operations whose responses cost no tokens and have no finish reason."""
_ERROR = re.compile(rb'"object"[ \t\r\n]*:[ \t\r\n]*"[Ee]rror"')


class _Usage(msgspec.Struct):
    service_tier: str | None = None


class _Response(msgspec.Struct):
    """The members that OpenAI's responses lack. `object` and `type` are those of an error."""

    object: str | None = None
    type: str | None = None
    usage: _Usage | None = None


_decoder = msgspec.json.Decoder(_Response)


class MistralJson(OpenAiJson):
    """Any of Mistral's responses that is one JSON object, errors included."""

    def read_event(self, data: bytes) -> bool:
        """Learn from the whole body and return whether it is JSON. Never raises."""
        is_read = super().read_event(data)
        self.error_type = self.error_type or _read_own(self.usage, data)
        return is_read


class MistralStream(ChunkStream):
    """Events of a chat or of a completion. The last chunk has the token counts, beside its choices."""

    def interested(self, data: bytes) -> bool:
        """Return whether an event, or one of several, may hold something to learn."""
        return super().interested(data) or _ERROR.search(without_long_strings(data)) is not None

    def read_event(self, data: bytes) -> None:
        """Learn from one event. Never raises."""
        super().read_event(data)
        self.error_type = self.error_type or _read_own(self.usage, data)


def _read_own(usage: Usage, data: bytes) -> str | None:
    """Record the tier of service, and return the type of an error."""
    if b'"service_tier"' not in data and not _ERROR.search(data):
        return None
    try:
        response = decode_leniently(_decoder, data)
    except DECODE_ERRORS:
        return None
    if response.usage and (tier := word(response.usage.service_tier)):
        usage.modifiers = with_modifier(usage.modifiers, "service_tier", tier)
    return (word(response.type) or "error") if (response.object or "").lower() == "error" else None


class MistralResponses:
    """Picks the reader of a response."""

    def response_reader(
        self,
        operation: Operation,
        facts: Facts,
        status: int,
        content_type: str,
        headers: Mapping[str, str] | None = None,
    ) -> ResponseReader | None:
        """Return a reader for a response, or None if nothing can be learned from it."""
        media = content_type.lower()
        if operation.name in SILENT or operation.kind is not Kind.INFERENCE:
            return None
        if media.startswith("text/event-stream") or (facts.stream and not media):
            if operation.name in CHUNKED:
                return MistralStream()
            return TypedStream() if operation.name == "responses" else None
        return MistralJson() if "json" in media else None
