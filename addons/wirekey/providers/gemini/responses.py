"""What Gemini's answers tell: whole, as server-sent events, and as one JSON array that grows.

Gemini repeats the token counts in every part of a stream, growing. Only the part that ends the answer is parsed;
of the others the counts' bytes are kept, the last ones only, and read at the end if the ending part never came.
`output_tokens` includes the tokens thought, and `input_tokens` those that tools put in, as both are billed so.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from wirekey.metering.json_array import JsonArrayReader
from wirekey.metering.json_response import JsonReader, Tokens, word
from wirekey.metering.oversize import last_object, last_text
from wirekey.metering.sse import SseReader
from wirekey.operation import Kind
from wirekey.providers.openai.responses import OpenAiResponses

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.operation import Facts, Operation, ResponseReader, Usage

COUNTS_LENGTH = 2048
OPENAI_NAMES = ("chat.completions", "embeddings", "images.generations")
"""Operations in OpenAI's format, below /openai/."""

_OPENAI = OpenAiResponses()


class _Candidate(msgspec.Struct, rename="camel"):
    index: int = 0
    finish_reason: str | None = None


class _Counts(msgspec.Struct, rename="camel"):
    prompt_token_count: Tokens | None = None
    tool_use_prompt_token_count: Tokens | None = None
    cached_content_token_count: Tokens | None = None
    candidates_token_count: Tokens | None = None
    thoughts_token_count: Tokens | None = None


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class _Error(msgspec.Struct):
    status: str | None = None


class _Answer(msgspec.Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    usage_metadata: _Counts | None = None
    prompt_feedback: _Feedback | None = None
    model_version: str | None = None
    error: _Error | None = None


_answer = msgspec.json.Decoder(_Answer)
_answers = msgspec.json.Decoder(list[_Answer])
_counts = msgspec.json.Decoder(_Counts)


_ENDS = re.compile(rb'"(?:finishReason|blockReason|error)"')


class GeminiJsonReader(JsonReader):
    """An ResponseReader of generateContent and its like, and of errors, which streams give in an array."""

    def read_event(self, data: bytes) -> bool:
        try:
            answers = _answers.decode(data) if data.lstrip()[:1] == b"[" else [_answer.decode(data)]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            _glean(self.usage, data, data)
            return _is_json(data)
        for answer in answers:
            _note(self.usage, answer)
            self.error_type = _error_word(answer) or self.error_type
        return True

    def read_fragment(self, head: bytes, tail: bytes) -> None:
        _glean(self.usage, head, tail)


class _PartReader:
    """What the two stream readers have in common: learning from the parts of an answer."""

    usage: Usage
    finished: bool
    error_type: str | None
    _late: bytes | None = None

    def interested(self, data: bytes) -> bool:
        """Find what ends an answer; token counts that stand alone are put by here, which spares all else."""
        if _ENDS.search(data):
            return True
        start = data.rfind(b'"usageMetadata"')
        if start >= 0:
            self._late = data[start : start + COUNTS_LENGTH]
            if self.usage.model is None:
                self.usage.model = last_text(data, "modelVersion")
        return False

    def read_event(self, data: bytes) -> None:
        try:
            answer = _answer.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.read_fragment(data, data)
            return
        if answer.usage_metadata:
            self._late = None
        _note(self.usage, answer)
        self.error_type = _error_word(answer) or self.error_type
        if self.usage.finish_reason:
            self.finished = True

    def read_fragment(self, head: bytes, tail: bytes) -> None:
        self._late = None
        _glean(self.usage, head, tail)
        if self.usage.finish_reason:
            self.finished = True

    def read_late_counts(self) -> None:
        if self._late:
            # An event may have its data in several lines.
            _glean_counts(self.usage, self._late.replace(b"\ndata:", b"\n"))
            self._late = None


class GeminiSseReader(_PartReader, SseReader):
    """An ResponseReader of streamGenerateContent?alt=sse."""

    def end(self) -> None:
        super().end()
        self.read_late_counts()

    def _take(self, event: bytes) -> None:
        # Google ends a failed stream with a bare JSON error, without `data:`.
        if event.startswith(b"{"):
            self.read_event(event)
        else:
            super()._take(event)


class GeminiArrayReader(_PartReader, JsonArrayReader):
    """An ResponseReader of streamGenerateContent without alt=sse."""

    def end(self) -> None:
        super().end()
        self.read_late_counts()


def _note(usage: Usage, answer: _Answer) -> None:
    if answer.usage_metadata:
        _note_counts(usage, answer.usage_metadata)
    usage.model = word(answer.model_version) or usage.model
    for candidate in answer.candidates or ():
        if candidate.index == 0 and candidate.finish_reason:
            usage.finish_reason = word(candidate.finish_reason)
    if answer.prompt_feedback and answer.prompt_feedback.block_reason:
        usage.finish_reason = word(answer.prompt_feedback.block_reason)


def _error_word(answer: _Answer) -> str | None:
    return None if answer.error is None else word(answer.error.status) or "UNKNOWN"


def _note_counts(usage: Usage, counts: _Counts) -> None:
    usage.input_tokens = _sum(counts.prompt_token_count, counts.tool_use_prompt_token_count)
    usage.output_tokens = _sum(counts.candidates_token_count, counts.thoughts_token_count)
    usage.cached_input_tokens = counts.cached_content_token_count
    usage.reasoning_tokens = counts.thoughts_token_count


def _sum(first: int | None, second: int | None) -> int | None:
    return None if first is None and second is None else (first or 0) + (second or 0)


def _glean(usage: Usage, head: bytes, tail: bytes) -> None:
    for piece in (head, tail):
        _glean_counts(usage, piece)
        usage.finish_reason = last_text(piece, "finishReason") or usage.finish_reason
        usage.model = last_text(piece, "modelVersion") or usage.model


def _glean_counts(usage: Usage, piece: bytes) -> None:
    found = last_object(piece, "usageMetadata")
    if found is None:
        return
    try:
        _note_counts(usage, _counts.decode(found))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


class GeminiResponses:
    """Picks the reader of a response."""

    def reader(
        self,
        operation: Operation,
        facts: Facts,
        status: int,
        content_type: str,
        headers: Mapping[str, str] | None = None,
    ) -> ResponseReader | None:
        if operation.kind is not Kind.INFERENCE or operation.name == "countTokens":
            return None
        if operation.name in OPENAI_NAMES:
            return _OPENAI.reader(operation, facts, status, content_type, headers)
        kind = media_type(content_type)
        if kind == "text/event-stream":
            return GeminiSseReader()
        if kind != "application/json":
            return None
        return GeminiArrayReader() if operation.stream and status == 200 else GeminiJsonReader()


def media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()
