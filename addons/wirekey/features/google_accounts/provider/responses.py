"""Responses of Code Assist: Gemini's, each in the envelope `{"response": {…}, "traceId"}`."""

from __future__ import annotations

import msgspec

from wirekey.core.metering.json_response import DECODE_ERRORS
from wirekey.features.google_accounts.provider.requests import COUNT
from wirekey.providers.gemini.responses import GeminiArrayReader, GeminiJsonReader, GeminiResponses, GeminiSseReader


class _Envelope(msgspec.Struct):
    response: msgspec.Raw


_envelope = msgspec.json.Decoder(_Envelope)


def content_of(data: bytes) -> bytes:
    """Return what the envelope holds. An error, or anything else without one, stays as it is."""
    try:
        return bytes(_envelope.decode(data).response)
    except DECODE_ERRORS:
        return data


class EnvelopeJsonReader(GeminiJsonReader):
    """A ResponseReader of one response, and of errors."""

    def read_event(self, data: bytes) -> bool:
        """Learn from the whole body and return whether it is JSON. Never raises."""
        return super().read_event(content_of(data))


class EnvelopeSseReader(GeminiSseReader):
    """A ResponseReader of a stream of events."""

    def read_event(self, data: bytes) -> None:
        """Learn from one event. Never raises."""
        super().read_event(content_of(data))


class EnvelopeArrayReader(GeminiArrayReader):
    """A ResponseReader of a stream as one JSON array."""

    def read_event(self, data: bytes) -> None:
        """Learn from one event. Never raises."""
        super().read_event(content_of(data))


class CodeAssistResponses(GeminiResponses):
    """Picks the reader of a response in an envelope."""

    uncounted = (COUNT,)
    sse, array, whole = EnvelopeSseReader, EnvelopeArrayReader, EnvelopeJsonReader
