"""Reads OpenAI's responses: chat, completions, responses, embeddings, images, audio; whole and as events."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from wirekey.core.metering.deltas import starts_of
from wirekey.core.metering.json_response import DECODE_ERRORS, JsonReader, Tokens, is_json, word
from wirekey.core.metering.lenient_json import decode_leniently
from wirekey.core.metering.long_strings import without_long_strings
from wirekey.core.metering.oversize import last_object, last_text
from wirekey.core.metering.sse import SseReader
from wirekey.core.operation import Kind, with_modifier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.core.operation import Facts, Operation, ResponseReader, Usage

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
UNFINISHED = ("queued", "in_progress")
"""The status of a response that the provider still writes, in the background."""

PAID_ITEMS = {
    "web_search_call": "web_search",
    "file_search_call": "file_search",
    "code_interpreter_call": "code_interpreter",
    "image_generation_call": "image_generation",
}
"""Type of an item of the output → the tool, each use of which costs a fee."""
FREE_ACTIONS = ("open_page", "find", "find_in_page")
"""Actions of a web search that cost no fee."""
_ABSENT = msgspec.Raw(b"null")

CHUNKED = ("chat.completions", "completions")
SILENT = ("responses.input_tokens", "moderations")
"""Operations whose responses cost no tokens and have no finish reason."""


class _Lives(msgspec.Struct):
    """Tokens written to the cache, by how long they stay there."""

    ttl_12h_tokens: Tokens | None = None


class _Details(msgspec.Struct):
    cached_tokens: Tokens | None = None
    cache_write_tokens: Tokens | None = None
    cache_write_tokens_details: _Lives | None = None
    reasoning_tokens: Tokens | None = None
    audio_tokens: Tokens | None = None
    image_tokens: Tokens | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None


class _Action(msgspec.Struct):
    type: str | None = None


class _Item(msgspec.Struct):
    """An item of the output. Only its kind is of interest, and what is counted of it."""

    type: str | None = None
    action: _Action | str | None = None
    container_id: str | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    finish_reason: str | None = None


class _Error(msgspec.Struct):
    type: str | None = None
    code: str | int | None = None


class _Incomplete(msgspec.Struct):
    reason: str | None = None


class _Response(msgspec.Struct):
    """The members of interest of any response or event; an event of the Responses API holds a response."""

    type: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: _Error | str | None = None
    code: str | int | None = None
    status: str | None = None
    incomplete_details: _Incomplete | None = None
    service_tier: str | None = None
    output: msgspec.Raw = _ABSENT
    response: _Response | None = None


_decoder = msgspec.json.Decoder(_Response)
_items = msgspec.json.Decoder(list[_Item])
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
    """Any of OpenAI's responses that is one JSON object, errors included."""

    def read_event(self, data: bytes) -> bool:
        """Learn from the whole body and return whether it is JSON. Never raises."""
        try:
            response = _decoder.decode(data)
        except DECODE_ERRORS:
            _record_fragment(self.usage, data, data)
            return is_json(data)
        _record_response(self.usage, response)
        self.error_type = _error_type(response)
        return True

    def read_fragment(self, head: bytes, tail: bytes) -> None:
        """Learn from the two ends of an event that was too long to be held. Never raises."""
        _record_fragment(self.usage, head, tail)


class ChunkStream(SseReader):
    """Events of chat completions and completions: each a chunk, `[DONE]` after the last."""

    texts = starts_of("content", "text", "arguments", "refusal", "reasoning", "reasoning_content", "thinking")

    def interested(self, data: bytes) -> bool:
        """Return whether an event, or one of several, may hold something to learn."""
        data = without_long_strings(data)
        if b"[DONE]" in data:
            return True
        # These searches take a third of the time, and find out for nearly all chunks that both members are null.
        if (
            data.count(b'finish_reason"') == data.count(b'finish_reason":null')
            and data.count(b'"usage"') == data.count(b'"usage":null')
            and b'"error"' not in data
        ):
            return False
        return _CHUNK_OF_INTEREST.search(data) is not None

    def read_event(self, data: bytes) -> None:
        """Learn from one event. Never raises."""
        if data.startswith(b"[DONE]"):
            self.finished = True
            return
        try:
            response = decode_leniently(_decoder, data)
        except DECODE_ERRORS:
            return
        _record_response(self.usage, response)
        self.finished = self.finished or self.usage.finish_reason is not None
        self.error_type = self.error_type or _error_type(response)

    def read_fragment(self, head: bytes, tail: bytes) -> None:
        """Learn from the two ends of an event that was too long to be held. Never raises."""
        _record_fragment(self.usage, head, tail)
        self.finished = self.finished or self.usage.finish_reason is not None


class TypedStream(SseReader):
    """Events that name their type: those of responses, images and audio. One of LAST_EVENTS holds everything."""

    texts = starts_of("delta")

    def interested(self, data: bytes) -> bool:
        """Return whether an event, or one of several, may hold something to learn."""
        return _EVENT_OF_INTEREST.search(without_long_strings(data)) is not None

    def read_event(self, data: bytes) -> None:
        """Learn from one event. Never raises."""
        try:
            response = decode_leniently(_decoder, data)
        except DECODE_ERRORS:
            if _EVENT_OF_INTEREST.search(data[:256]):
                self.read_fragment(data, data)
            return
        if response.type == "error" or response.error is not None:
            self.error_type = self.error_type or _error_type(response) or "error"
        if response.type in LAST_EVENTS:
            self.finished = True
            inner = response.response or response
            _record_response(self.usage, inner)
            self.error_type = self.error_type or _error_type(inner)

    def read_fragment(self, head: bytes, tail: bytes) -> None:
        """Learn from the two ends of an event that was too long to be held. Never raises."""
        event = last_text(head[:256], "type")
        if event not in LAST_EVENTS:
            return
        self.finished = True
        _record_fragment(self.usage, head, tail)
        if event == "response.completed":
            self.usage.finish_reason = COMPLETED


def _record_response(usage: Usage, response: _Response) -> None:
    usage.model = usage.model or word(response.model)
    for choice in response.choices or ():
        if choice.finish_reason and (choice.index == 0 or usage.finish_reason is None):
            usage.finish_reason = word(choice.finish_reason)
    if response.incomplete_details and response.incomplete_details.reason:
        usage.finish_reason = word(response.incomplete_details.reason)
    elif response.status and response.choices is None:
        usage.finish_reason = word(response.status)
    if response.usage and response.status not in UNFINISHED:
        _record_usage(usage, response.usage)
    if tier := word(response.service_tier):
        usage.modifiers = with_modifier(usage.modifiers, "service_tier", tier)
    if response.output != _ABSENT:
        _record_items(usage, response.output)


def _record_items(usage: Usage, output: msgspec.Raw) -> None:
    """Record the uses of tools with a fee. A container of the code interpreter may serve several uses."""
    try:
        items = _items.decode(output)
    except DECODE_ERRORS:
        return
    found: dict[str, int] = {}
    containers = set()
    for item in items:
        tool = PAID_ITEMS.get(item.type or "")
        if tool is None or (isinstance(item.action, _Action) and item.action.type in FREE_ACTIONS):
            continue
        if item.container_id is not None and item.container_id in containers:
            continue
        containers.add(item.container_id)
        found[tool] = found.get(tool, 0) + 1
    usage.tool_uses = tuple(found.items())


def _record_usage(usage: Usage, counts: _Usage) -> None:
    before = counts.prompt_tokens_details or counts.input_tokens_details
    after = counts.completion_tokens_details or counts.output_tokens_details
    usage.input_tokens = counts.input_tokens if counts.prompt_tokens is None else counts.prompt_tokens
    usage.output_tokens = counts.output_tokens if counts.completion_tokens is None else counts.completion_tokens
    usage.cached_input_tokens = before.cached_tokens if before else None
    usage.cache_write_tokens = before.cache_write_tokens if before else None
    usage.reasoning_tokens = after.reasoning_tokens if after else None
    usage.audio_input_tokens = before.audio_tokens if before else None
    usage.audio_output_tokens = after.audio_tokens if after else None
    usage.image_input_tokens = before.image_tokens if before else None
    usage.image_output_tokens = after.image_tokens if after else None
    if before and before.cache_write_tokens_details and before.cache_write_tokens_details.ttl_12h_tokens:
        usage.modifiers = with_modifier(usage.modifiers, "cache_ttl", "12h")


def _record_fragment(usage: Usage, head: bytes, tail: bytes) -> None:
    usage.model = usage.model or last_text(head, "model") or last_text(tail, "model")
    usage.finish_reason = usage.finish_reason or last_text(tail, "finish_reason") or last_text(head, "finish_reason")
    if tier := last_text(tail, "service_tier") or last_text(head, "service_tier"):
        usage.modifiers = with_modifier(usage.modifiers, "service_tier", tier)
    for part in (tail, head):
        if found := last_object(part, "usage"):
            try:
                _record_usage(usage, _usage_decoder.decode(found))
            except DECODE_ERRORS:
                continue
            return


def _error_type(response: _Response) -> str | None:
    error = response.error
    if isinstance(error, _Error):
        return word(error.type) or word(str(error.code)) or "error" if error.code or error.type else "error"
    if error is not None:
        return "error"
    if response.type == "error":
        return word(str(response.code)) if response.code else "error"
    return None


class OpenAiResponses:
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
        if operation.name in SILENT or (operation.kind is not Kind.INFERENCE and operation.name != "responses.get"):
            return None
        if media.startswith("text/event-stream") or (facts.stream and not media):
            return ChunkStream() if operation.name in CHUNKED else TypedStream()
        return OpenAiJson() if "json" in media else None
