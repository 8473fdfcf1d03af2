"""Reads Gemini's responses: whole, as server-sent events, and as one JSON array that grows.

Gemini repeats the token counts in every part of a stream, growing. Only the part that ends the response is parsed;
of the others the counts' bytes are kept, the last ones only, and read at the end if the ending part never came.
`output_tokens` includes the tokens thought, and `input_tokens` those that tools put in, as both are billed so.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from wirekey.core.metering.json_array import JsonArrayReader
from wirekey.core.metering.json_response import DECODE_ERRORS, JsonReader, Tokens, word
from wirekey.core.metering.lenient_json import decode_leniently
from wirekey.core.metering.long_strings import without_long_strings
from wirekey.core.metering.oversize import last_object, last_text
from wirekey.core.metering.sse import SseReader
from wirekey.core.operation import Kind, with_modifier
from wirekey.providers.openai.responses import OpenAiResponses

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wirekey.core.operation import Facts, Operation, ResponseReader, Usage

COUNTS_LENGTH = 2048
OPENAI_NAMES = ("chat.completions", "embeddings", "images.generations")
"""Operations in OpenAI's format, below /openai/."""

_OPENAI = OpenAiResponses()
_ABSENT = msgspec.Raw(b"null")
NO_TEXTS = (
    *("thoughtSignature", "data", "mimeType", "role", "finishReason", "finishMessage", "modelVersion", "responseId"),
    *("trafficType", "createTime", "modality", "category", "probability", "severity", "uri", "fileUri", "title"),
)
"""Keys of texts that the model has not written. The arguments of a call may have any key."""
TRAFFIC = "on_demand_"
"""The beginning of a type of traffic in Google Cloud, before the tier of service."""


class _Candidate(msgspec.Struct, rename="camel"):
    index: int = 0
    finish_reason: str | None = None
    grounding_metadata: msgspec.Raw = _ABSENT


class _Grounding(msgspec.Struct, rename="camel"):
    web_search_queries: list[str] = []


class _Modality(msgspec.Struct, rename="camel"):
    modality: str | None = None
    token_count: Tokens | None = None


class _Counts(msgspec.Struct, rename="camel"):
    prompt_token_count: Tokens | None = None
    tool_use_prompt_token_count: Tokens | None = None
    cached_content_token_count: Tokens | None = None
    candidates_token_count: Tokens | None = None
    thoughts_token_count: Tokens | None = None
    prompt_tokens_details: list[_Modality] = []
    tool_use_prompt_tokens_details: list[_Modality] = []
    candidates_tokens_details: list[_Modality] = []
    traffic_type: str | None = None


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class _Error(msgspec.Struct):
    status: str | None = None


class _Response(msgspec.Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    usage_metadata: _Counts | None = None
    prompt_feedback: _Feedback | None = None
    model_version: str | None = None
    error: _Error | None = None


_response = msgspec.json.Decoder(_Response)
_responses = msgspec.json.Decoder(list[_Response])
_counts = msgspec.json.Decoder(_Counts)
_grounding = msgspec.json.Decoder(_Grounding)


_ENDS = re.compile(rb'"(?:finishReason|blockReason|error|webSearchQueries)"')


class GeminiJsonReader(JsonReader):
    """A ResponseReader of generateContent and its like, and of errors, which streams give in an array."""

    def read_event(self, data: bytes) -> bool:
        """Learn from the whole body and return whether it is JSON. Never raises."""
        try:
            responses = _responses.decode(data) if data.lstrip()[:1] == b"[" else [_response.decode(data)]
        except DECODE_ERRORS:
            _record_fragment(self.usage, data, data)
            return _is_json(data)
        for response in responses:
            _record_response(self.usage, response)
            self.error_type = _error_type(response) or self.error_type
        return True

    def read_fragment(self, head: bytes, tail: bytes) -> None:
        """Learn from the two ends of an event that was too long to be held. Never raises."""
        _record_fragment(self.usage, head, tail)


class _PartReader:
    """Base of the two stream readers. It reads the parts of a response."""

    usage: Usage
    finished: bool
    error_type: str | None
    _late: bytes | None = None
    texts: re.Pattern[bytes] | None = re.compile(
        rb'"(?!%b)[^"\\]*"[ \t\r\n]*:[ \t\r\n]*"' % "|".join(f'{key}"' for key in NO_TEXTS).encode()
    )

    def interested(self, data: bytes) -> bool:
        """Find what ends an response; token counts that stand alone are put by here, which spares all else."""
        data = without_long_strings(data)
        if _ENDS.search(data):
            return True
        start = data.rfind(b'"usageMetadata"')
        if start >= 0:
            self._late = data[start : start + COUNTS_LENGTH]
            if self.usage.model is None:
                self.usage.model = last_text(data, "modelVersion")
        return False

    def read_event(self, data: bytes) -> None:
        """Learn from one event. Never raises."""
        try:
            response = decode_leniently(_response, data)
        except DECODE_ERRORS:
            self.read_fragment(data, data)
            return
        if response.usage_metadata:
            self._late = None
        _record_response(self.usage, response)
        self.error_type = _error_type(response) or self.error_type
        if self.usage.finish_reason:
            self.finished = True

    def read_fragment(self, head: bytes, tail: bytes) -> None:
        """Learn from the two ends of an event that was too long to be held. Never raises."""
        self._late = None
        _record_fragment(self.usage, head, tail)
        if self.usage.finish_reason:
            self.finished = True

    def read_late_counts(self) -> None:
        """Read the counts that were kept, if the part that ends the response never came."""
        if self._late:
            # An event may have its data in several lines.
            _record_counts_in(self.usage, self._late.replace(b"\ndata:", b"\n"))
            self._late = None


class GeminiSseReader(_PartReader, SseReader):
    """A ResponseReader of streamGenerateContent?alt=sse."""

    def end(self) -> None:
        """Read what is left once the response has ended."""
        super().end()
        self.read_late_counts()

    def _read_raw(self, event: bytes) -> None:
        # Google ends a failed stream with a bare JSON error, without `data:`.
        if event.startswith(b"{"):
            self.read_event(event)
        else:
            super()._read_raw(event)


class GeminiArrayReader(_PartReader, JsonArrayReader):
    """A ResponseReader of streamGenerateContent without alt=sse."""

    def end(self) -> None:
        """Read what is left once the response has ended."""
        super().end()
        self.read_late_counts()


def _record_response(usage: Usage, response: _Response) -> None:
    if response.usage_metadata:
        _record_counts(usage, response.usage_metadata)
    usage.model = word(response.model_version) or usage.model
    for candidate in response.candidates or ():
        if candidate.index == 0 and candidate.finish_reason:
            usage.finish_reason = word(candidate.finish_reason)
    _record_searches(usage, response.candidates or ())
    if response.prompt_feedback and response.prompt_feedback.block_reason:
        usage.finish_reason = word(response.prompt_feedback.block_reason)


def _record_searches(usage: Usage, candidates: Iterable[_Candidate]) -> None:
    """Record the searches of a response. Each part of a stream repeats those before it, or leaves them out."""
    found = 0
    for candidate in candidates:
        if candidate.grounding_metadata != _ABSENT:
            try:
                found += len(_grounding.decode(candidate.grounding_metadata).web_search_queries)
            except DECODE_ERRORS:
                continue
    if found > (dict(usage.tool_uses).get("web_search") or 0):
        usage.tool_uses = (("web_search", found),)


def _error_type(response: _Response) -> str | None:
    return None if response.error is None else word(response.error.status) or "UNKNOWN"


def _record_counts(usage: Usage, counts: _Counts) -> None:
    usage.input_tokens = _sum(counts.prompt_token_count, counts.tool_use_prompt_token_count)
    usage.output_tokens = _sum(counts.candidates_token_count, counts.thoughts_token_count)
    usage.cached_input_tokens = counts.cached_content_token_count
    usage.reasoning_tokens = counts.thoughts_token_count
    read, written = (
        [*counts.prompt_tokens_details, *counts.tool_use_prompt_tokens_details],
        counts.candidates_tokens_details,
    )
    usage.audio_input_tokens, usage.audio_output_tokens = _of(read, "AUDIO"), _of(written, "AUDIO")
    usage.image_input_tokens, usage.image_output_tokens = _of(read, "IMAGE"), _of(written, "IMAGE")
    usage.video_input_tokens, usage.video_output_tokens = _of(read, "VIDEO"), _of(written, "VIDEO")
    if traffic := word(counts.traffic_type):
        usage.modifiers = with_modifier(usage.modifiers, "service_tier", traffic.lower().removeprefix(TRAFFIC))


def _of(details: list[_Modality], modality: str) -> int | None:
    """Return the tokens of one modality; None if no count says so."""
    counts = [each.token_count for each in details if each.modality == modality and each.token_count is not None]
    return sum(counts) if counts else None


def _sum(first: int | None, second: int | None) -> int | None:
    return None if first is None and second is None else (first or 0) + (second or 0)


def _record_fragment(usage: Usage, head: bytes, tail: bytes) -> None:
    for piece in (head, tail):
        _record_counts_in(usage, piece)
        usage.finish_reason = last_text(piece, "finishReason") or usage.finish_reason
        usage.model = last_text(piece, "modelVersion") or usage.model


def _record_counts_in(usage: Usage, piece: bytes) -> None:
    found = last_object(piece, "usageMetadata")
    if found is None:
        return
    try:
        _record_counts(usage, _counts.decode(found))
    except DECODE_ERRORS:
        return


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except DECODE_ERRORS:
        return False
    return True


class GeminiResponses:
    """Picks the reader of a response."""

    uncounted: tuple[str, ...] = ("countTokens", "interactions.create")
    """Operations whose responses are not read."""
    sse, array, whole = GeminiSseReader, GeminiArrayReader, GeminiJsonReader

    def response_reader(
        self,
        operation: Operation,
        facts: Facts,
        status: int,
        content_type: str,
        headers: Mapping[str, str] | None = None,
    ) -> ResponseReader | None:
        """Return a reader for a response, or None if nothing can be learned from it."""
        if operation.kind is not Kind.INFERENCE or operation.name in self.uncounted:
            return None
        if operation.name in OPENAI_NAMES:
            return _OPENAI.response_reader(operation, facts, status, content_type, headers)
        kind = media_type(content_type)
        if kind == "text/event-stream":
            return self.sse()
        if kind != "application/json":
            return None
        return self.array() if operation.stream and status == 200 else self.whole()


def media_type(content_type: str) -> str:
    """Return the media type of a Content-Type, in lower case."""
    return content_type.partition(";")[0].strip().lower()
