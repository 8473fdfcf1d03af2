"""Reads Anthropic's responses. Input tokens are as Anthropic counts them: without those read from its cache."""

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
from wirekey.core.operation import with_modifier

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wirekey.core.operation import Facts, Operation, ResponseReader, Usage


COMPACTION = "compaction"
"""The kind of an iteration whose tokens the sums of a response leave out: it has summarised the conversation."""
OTHERS = ("advisor_message", "fallback_message")
"""The kinds of iterations of another model, whose tokens have prices of their own."""


class _Details(msgspec.Struct):
    thinking_tokens: Tokens | None = None


class _Lives(msgspec.Struct):
    """Tokens written to the cache, by how long they stay there."""

    ephemeral_1h_input_tokens: Tokens | None = None


class _Tools(msgspec.Struct):
    web_search_requests: Tokens | None = None


class _Counts(msgspec.Struct):
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    cache_read_input_tokens: Tokens | None = None
    cache_creation_input_tokens: Tokens | None = None
    cache_creation: _Lives | None = None


class _Iteration(_Counts):
    type: str | None = None
    model: str | None = None


class _Usage(_Counts):
    output_tokens_details: _Details | None = None
    server_tool_use: _Tools | None = None
    iterations: list[_Iteration] | None = None
    service_tier: str | None = None
    speed: str | None = None
    inference_geo: str | None = None


class _Delta(msgspec.Struct):
    stop_reason: str | None = None


class _Error(msgspec.Struct):
    type: str | None = None


class _Message(msgspec.Struct):
    """The members of interest of a message, of an event around one, and of an error."""

    type: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    usage: _Usage | None = None
    error: _Error | None = None
    message: _Message | str | None = None
    delta: _Delta | None = None


_decoder = msgspec.json.Decoder(_Message)
_usage_decoder = msgspec.json.Decoder(_Usage)

# Everything else in a stream is content: content_block_start, _delta, _stop, ping.
_OF_INTEREST = re.compile(rb'"type"[ \t\r\n]*:[ \t\r\n]*"(?:message_|error")')


class AnthropicJson(JsonReader):
    """A message, or an error."""

    def read_event(self, data: bytes) -> bool:
        """Learn from the whole body and return whether it is JSON. Never raises."""
        try:
            message = _decoder.decode(data)
        except DECODE_ERRORS:
            _record_fragment(self.usage, data, data)
            return is_json(data)
        _record_message(self.usage, message)
        if message.type == "error":
            self.error_type = _error_type(message)
        return True

    def read_fragment(self, head: bytes, tail: bytes) -> None:
        """Learn from the two ends of an event that was too long to be held. Never raises."""
        _record_fragment(self.usage, head, tail)


class MessageStream(SseReader):
    """Events of a message: message_start has the input, message_delta the output and the reason."""

    texts = starts_of("text", "partial_json", "thinking")

    def interested(self, data: bytes) -> bool:
        """Return whether an event, or one of several, may hold something to learn."""
        return _OF_INTEREST.search(without_long_strings(data)) is not None

    def read_event(self, data: bytes) -> None:
        """Learn from one event. Never raises."""
        try:
            event = decode_leniently(_decoder, data)
        except DECODE_ERRORS:
            return
        if event.type == "message_start" and isinstance(event.message, _Message):
            _record_message(self.usage, event.message)
        elif event.type == "message_delta":
            _record_message(self.usage, event)
        elif event.type == "message_stop":
            self.finished = True
        elif event.type == "error":
            self.error_type = self.error_type or _error_type(event)


def _record_message(usage: Usage, message: _Message) -> None:
    usage.model = usage.model or word(message.model)
    reason = message.delta.stop_reason if message.delta else message.stop_reason
    usage.finish_reason = word(reason) or usage.finish_reason
    if message.usage:
        _record_usage(usage, message.usage)


def _record_usage(usage: Usage, counts: _Usage) -> None:
    """Record counts. A later event repeats them in full, and may leave some out."""
    more = [each for each in counts.iterations or () if each.type == COMPACTION]
    long_written = _long_writes(usage, counts, more)
    for name, count in (
        ("input_tokens", _total(counts.input_tokens, (each.input_tokens for each in more))),
        ("output_tokens", _total(counts.output_tokens, (each.output_tokens for each in more))),
        (
            "cached_input_tokens",
            _total(counts.cache_read_input_tokens, (each.cache_read_input_tokens for each in more)),
        ),
        (
            "cache_write_tokens",
            _total(counts.cache_creation_input_tokens, (each.cache_creation_input_tokens for each in more)) or None,
        ),
        ("long_cache_write_tokens", long_written),
        ("reasoning_tokens", counts.output_tokens_details and counts.output_tokens_details.thinking_tokens),
    ):
        if count is not None:
            setattr(usage, name, count)
    for name in ("service_tier", "speed", "inference_geo"):
        if value := word(getattr(counts, name)):
            usage.modifiers = with_modifier(usage.modifiers, name, value)
    for each in counts.iterations or ():
        if each.type in OTHERS and each.model != usage.model:
            usage.modifiers = with_modifier(usage.modifiers, "other_model", word(each.model) or "unknown")
    searches = counts.server_tool_use.web_search_requests if counts.server_tool_use else None
    if searches:
        usage.tool_uses = (("web_search", searches),)


def _long_writes(usage: Usage, counts: _Counts, more: Iterable[_Counts]) -> int | None:
    """Return the tokens written for an hour. If only their sum has grown since, those that were added count too."""
    found = _total(_long_lived(counts), map(_long_lived, more))
    if found is None and usage.long_cache_write_tokens and counts.cache_creation_input_tokens is not None:
        grown = counts.cache_creation_input_tokens - (usage.cache_write_tokens or 0)
        found = usage.long_cache_write_tokens + max(0, grown)
    return found


def _long_lived(counts: _Counts) -> int | None:
    return counts.cache_creation.ephemeral_1h_input_tokens if counts.cache_creation else None


def _total(count: int | None, more: Iterable[int | None]) -> int | None:
    """Return a count with those of the iterations that it leaves out."""
    return None if count is None else count + sum(filter(None, more))


def _record_fragment(usage: Usage, head: bytes, tail: bytes) -> None:
    usage.model = usage.model or last_text(head, "model") or last_text(tail, "model")
    usage.finish_reason = usage.finish_reason or last_text(tail, "stop_reason") or last_text(head, "stop_reason")
    for part in (tail, head):
        if found := last_object(part, "usage"):
            try:
                _record_usage(usage, _usage_decoder.decode(found))
            except DECODE_ERRORS:
                continue
            return


def _error_type(event: _Message) -> str:
    return (event.error and word(event.error.type)) or "error"


class AnthropicResponses:
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
        if operation.name != "messages":
            return None
        if media.startswith("text/event-stream") or (facts.stream and not media):
            return MessageStream()
        return AnthropicJson() if "json" in media else None
