"""What OpenAI's answers tell: chat, completions, responses, embeddings, images, audio; whole and as events."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from wirekey.metering.json_response import JsonReader, Tokens, is_json, word
from wirekey.metering.oversize import last_object, last_text
from wirekey.metering.sse import SseReader
from wirekey.operation import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.operation import Facts, Operation, ResponseReader, Usage

LAST_EVENTS = (
    "response.completed",
    "response.incomplete",
    "response.failed",
    "image_generation.completed",
    "image_edit.completed",
    "transcript.text.done",
    "speech.audio.done",
)
COMPLETED = "completed"

CHUNKED = ("chat.completions", "completions")
TYPED = ("responses", "responses.get", "images.generations", "images.edits", "audio.speech", "audio.transcriptions")
SILENT = ("responses.input_tokens", "moderations")
"""Operations whose answers cost no tokens and end for no reason."""


class _Details(msgspec.Struct):
    cached_tokens: Tokens | None = None
    reasoning_tokens: Tokens | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    finish_reason: str | None = None


class _Error(msgspec.Struct):
    type: str | None = None
    code: str | int | None = None


class _Incomplete(msgspec.Struct):
    reason: str | None = None


class _Answer(msgspec.Struct):
    """The members of interest of any answer or event: an event of the Responses API holds an answer."""

    type: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: _Error | str | None = None
    code: str | int | None = None
    status: str | None = None
    incomplete_details: _Incomplete | None = None
    response: _Answer | None = None


_decoder = msgspec.json.Decoder(_Answer)
_usage_decoder = msgspec.json.Decoder(_Usage)

# Most chunks have both members, but null: only what says something is worth the parsing.
_CHUNK_OF_INTEREST = re.compile(
    rb'finish_reason"[ \t\r\n]*:[ \t\r\n]*"|"usage"[ \t\r\n]*:[ \t\r\n]*\{|"error"[ \t\r\n]*:[ \t\r\n]*["{]|\[DONE\]'
)
_EVENT_OF_INTEREST = re.compile(
    rb'"type"[ \t\r\n]*:[ \t\r\n]*"(?:error|'
    + "|".join(map(re.escape, LAST_EVENTS)).encode()
    + rb')"|"error"[ \t\r\n]*:[ \t\r\n]*["{]'
)


class OpenAiJson(JsonReader):
    """Any of OpenAI's answers that is one JSON object, an error among them."""

    def read_event(self, data: bytes) -> bool:
        try:
            answer = _decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            _glean(self.usage, data, data)
            return is_json(data)
        _take_answer(self.usage, answer)
        self.error_type = _error_word(answer)
        return True

    def read_fragment(self, head: bytes, tail: bytes) -> None:
        _glean(self.usage, head, tail)


class ChunkStream(SseReader):
    """Events of chat completions and completions: each a chunk, `[DONE]` after the last."""

    def interested(self, data: bytes) -> bool:
        return _CHUNK_OF_INTEREST.search(data) is not None

    def read_event(self, data: bytes) -> None:
        if data.startswith(b"[DONE]"):
            self.finished = True
            return
        try:
            answer = _decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        _take_answer(self.usage, answer)
        self.finished = self.finished or self.usage.finish_reason is not None
        self.error_type = self.error_type or _error_word(answer)

    def read_fragment(self, head: bytes, tail: bytes) -> None:
        _glean(self.usage, head, tail)
        self.finished = self.finished or self.usage.finish_reason is not None


class TypedStream(SseReader):
    """Events that name their type: those of responses, images and audio. One of LAST_EVENTS tells it all."""

    def interested(self, data: bytes) -> bool:
        return _EVENT_OF_INTEREST.search(data) is not None

    def read_event(self, data: bytes) -> None:
        try:
            answer = _decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            if _EVENT_OF_INTEREST.search(data[:256]):
                self.read_fragment(data, data)
            return
        if answer.type == "error" or answer.error is not None:
            self.error_type = self.error_type or _error_word(answer) or "error"
        if answer.type in LAST_EVENTS:
            self.finished = True
            inner = answer.response or answer
            _take_answer(self.usage, inner)
            self.error_type = self.error_type or _error_word(inner)

    def read_fragment(self, head: bytes, tail: bytes) -> None:
        event = last_text(head[:256], "type")
        if event not in LAST_EVENTS:
            return
        self.finished = True
        _glean(self.usage, head, tail)
        if event == "response.completed":
            self.usage.finish_reason = COMPLETED


def _take_answer(usage: Usage, answer: _Answer) -> None:
    usage.model = usage.model or word(answer.model)
    for choice in answer.choices or ():
        if choice.finish_reason and (choice.index == 0 or usage.finish_reason is None):
            usage.finish_reason = word(choice.finish_reason)
    if answer.incomplete_details and answer.incomplete_details.reason:
        usage.finish_reason = word(answer.incomplete_details.reason)
    elif answer.status and answer.choices is None:
        usage.finish_reason = word(answer.status)
    if answer.usage:
        _take_usage(usage, answer.usage)


def _take_usage(usage: Usage, said: _Usage) -> None:
    before = said.prompt_tokens_details or said.input_tokens_details
    after = said.completion_tokens_details or said.output_tokens_details
    usage.input_tokens = said.input_tokens if said.prompt_tokens is None else said.prompt_tokens
    usage.output_tokens = said.output_tokens if said.completion_tokens is None else said.completion_tokens
    usage.cached_input_tokens = before.cached_tokens if before else None
    usage.reasoning_tokens = after.reasoning_tokens if after else None


def _glean(usage: Usage, head: bytes, tail: bytes) -> None:
    usage.model = usage.model or last_text(head, "model") or last_text(tail, "model")
    usage.finish_reason = usage.finish_reason or last_text(tail, "finish_reason") or last_text(head, "finish_reason")
    for part in (tail, head):
        if found := last_object(part, "usage"):
            try:
                _take_usage(usage, _usage_decoder.decode(found))
            except msgspec.DecodeError:
                continue
            return


def _error_word(answer: _Answer) -> str | None:
    error = answer.error
    if isinstance(error, _Error):
        return word(error.type) or word(str(error.code)) or "error" if error.code or error.type else "error"
    if error is not None:
        return "error"
    if answer.type == "error":
        return word(str(answer.code)) if answer.code else "error"
    return None


class OpenAiResponses:
    """Picks the reader of a response."""

    def reader(
        self,
        operation: Operation,
        facts: Facts,
        status: int,
        content_type: str,
        headers: Mapping[str, str] | None = None,
    ) -> ResponseReader | None:
        media = content_type.lower()
        if operation.name in SILENT or (operation.kind is not Kind.INFERENCE and operation.name != "responses.get"):
            return None
        if media.startswith("text/event-stream") or (facts.stream and not media):
            return ChunkStream() if operation.name in CHUNKED else TypedStream()
        return OpenAiJson() if "json" in media else None
