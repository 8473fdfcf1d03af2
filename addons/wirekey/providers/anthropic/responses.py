"""What Anthropic's answers tell. Input tokens are as Anthropic counts them: without those read from its cache."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from wirekey.metering.json_response import JsonReader, Tokens, is_json, word
from wirekey.metering.oversize import last_object, last_text
from wirekey.metering.sse import SseReader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.operation import Facts, Operation, ResponseReader, Usage


class _Details(msgspec.Struct):
    thinking_tokens: Tokens | None = None


class _Usage(msgspec.Struct):
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    cache_read_input_tokens: Tokens | None = None
    cache_creation_input_tokens: Tokens | None = None
    output_tokens_details: _Details | None = None


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
        try:
            message = _decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            read_fragment(self.usage, data, data)
            return is_json(data)
        take(self.usage, message)
        if message.type == "error":
            self.error_type = error_word(message)
        return True

    def read_fragment(self, head: bytes, tail: bytes) -> None:
        read_fragment(self.usage, head, tail)


class MessageStream(SseReader):
    """Events of a message: message_start has the input, message_delta the output and the reason."""

    def interested(self, data: bytes) -> bool:
        return _OF_INTEREST.search(data) is not None

    def read_event(self, data: bytes) -> None:
        try:
            event = _decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if event.type == "message_start" and isinstance(event.message, _Message):
            take(self.usage, event.message)
        elif event.type == "message_delta":
            take(self.usage, event)
        elif event.type == "message_stop":
            self.finished = True
        elif event.type == "error":
            self.error_type = self.error_type or error_word(event)


def take(usage: Usage, message: _Message) -> None:
    usage.model = usage.model or word(message.model)
    reason = message.delta.stop_reason if message.delta else message.stop_reason
    usage.finish_reason = word(reason) or usage.finish_reason
    if message.usage:
        take_usage(usage, message.usage)


def take_usage(usage: Usage, said: _Usage) -> None:
    """Take the counts that were said; a later event says them anew, whole, and may leave some out."""
    for name, count in (
        ("input_tokens", said.input_tokens),
        ("output_tokens", said.output_tokens),
        ("cached_input_tokens", said.cache_read_input_tokens),
        ("cache_write_tokens", said.cache_creation_input_tokens or None),
        ("reasoning_tokens", said.output_tokens_details and said.output_tokens_details.thinking_tokens),
    ):
        if count is not None:
            setattr(usage, name, count)


def read_fragment(usage: Usage, head: bytes, tail: bytes) -> None:
    usage.model = usage.model or last_text(head, "model") or last_text(tail, "model")
    usage.finish_reason = usage.finish_reason or last_text(tail, "stop_reason") or last_text(head, "stop_reason")
    for part in (tail, head):
        if found := last_object(part, "usage"):
            try:
                take_usage(usage, _usage_decoder.decode(found))
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            return


def error_word(event: _Message) -> str:
    return (event.error and word(event.error.type)) or "error"


class AnthropicResponses:
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
        if operation.name != "messages":
            return None
        if media.startswith("text/event-stream") or (facts.stream and not media):
            return MessageStream()
        return AnthropicJson() if "json" in media else None
