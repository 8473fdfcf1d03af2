"""Reads Bedrock's responses: Converse and the models' own bodies, whole and as frames of an event stream.

Of a stream the service adds up the tokens itself, in the last chunk (`amazon-bedrock-invocationMetrics`); of a
whole response it writes them into headers. They hold for every model; counts in the body fill what is missing.
"""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING

import msgspec

from wirekey.core.metering.deltas import starts_of
from wirekey.core.metering.eventstream import read_headers
from wirekey.core.metering.json_response import DECODE_ERRORS, JsonReader, Tokens, is_json, word
from wirekey.core.metering.lenient_json import decode_leniently
from wirekey.core.metering.oversize import last_object, last_text
from wirekey.core.operation import Usage, with_modifier
from wirekey.providers.bedrock.services import ACTIONS
from wirekey.providers.bedrock.stream import BedrockStream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.core.operation import Facts, Operation, ResponseReader

FINISH_REASONS = ("stop_reason", "stopReason", "finish_reason", "completionReason")
OWN_TEXTS = ("generation", "outputText", "completion")
"""Keys of the texts that models of one maker write."""
COUNT_LENGTH = 15
EVENT_STREAM = "application/vnd.amazon.eventstream"
_ABSENT = msgspec.Raw(b"null")


class _Lives(msgspec.Struct):
    """Tokens written to the cache, by how long they stay there, as Anthropic counts them."""

    ephemeral_1h_input_tokens: Tokens | None = None


class _Life(msgspec.Struct, rename="camel"):
    """Tokens written to the cache for some time, as Converse counts them."""

    ttl: str | None = None
    input_tokens: Tokens | None = None


class _Usage(msgspec.Struct):
    """In turn: Anthropic; Converse and Nova; Mistral and others who write as OpenAI does."""

    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    cache_read_input_tokens: Tokens | None = None
    cache_creation_input_tokens: Tokens | None = None
    input_tokens_: Tokens | None = msgspec.field(default=None, name="inputTokens")
    output_tokens_: Tokens | None = msgspec.field(default=None, name="outputTokens")
    cache_read_: Tokens | None = msgspec.field(default=None, name="cacheReadInputTokens")
    cache_write_: Tokens | None = msgspec.field(default=None, name="cacheWriteInputTokens")
    cache_write_count: Tokens | None = msgspec.field(default=None, name="cacheWriteInputTokenCount")
    cache_read_count: Tokens | None = msgspec.field(default=None, name="cacheReadInputTokenCount")
    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    cache_creation: _Lives | None = None
    cache_details: list[_Life] | None = msgspec.field(default=None, name="cacheDetails")


class _Metrics(msgspec.Struct, rename="camel"):
    input_token_count: Tokens | None = None
    output_token_count: Tokens | None = None
    cache_read_input_token_count: Tokens | None = None


class _End(msgspec.Struct):
    """How a generation ended, in each model's words."""

    stop_reason: str | None = None
    stop_reason_: str | None = msgspec.field(default=None, name="stopReason")
    finish_reason: str | None = None
    completion_reason: str | None = msgspec.field(default=None, name="completionReason")
    token_count: Tokens | None = msgspec.field(default=None, name="tokenCount")
    index: int | None = 0

    def reason(self) -> str | None:
        """Return why the generation ended, in the model's word."""
        return word(self.stop_reason or self.stop_reason_ or self.finish_reason or self.completion_reason)


class _Latency(msgspec.Struct):
    latency: str | None = None


class _Tier(msgspec.Struct):
    type: str | None = None


class _Start(msgspec.Struct):
    usage: _Usage | None = None
    model: str | None = None


class _Router(msgspec.Struct, rename="camel"):
    invoked_model_id: str | None = None


class _Trace(msgspec.Struct, rename="camel"):
    prompt_router: _Router | None = None


class _Response(_End):
    """The members of interest of any model's response, chunk or event."""

    model: str | None = None
    usage: _Usage | None = None
    metrics: _Metrics | None = msgspec.field(default=None, name="amazon-bedrock-invocationMetrics")
    trace: _Trace | None = None
    performance: _Latency | None = msgspec.field(default=None, name="performanceConfig")
    tier: _Tier | None = msgspec.field(default=None, name="serviceTier")
    # Anthropic
    message: msgspec.Raw = _ABSENT
    delta: msgspec.Raw = _ABSENT
    # Nova
    message_stop: _End | None = msgspec.field(default=None, name="messageStop")
    metadata: _Start | None = None
    # Titan, Llama
    input_text_tokens: Tokens | None = msgspec.field(default=None, name="inputTextTokenCount")
    output_text_tokens: Tokens | None = msgspec.field(default=None, name="totalOutputTextTokenCount")
    prompt_token_count: Tokens | None = None
    generation_token_count: Tokens | None = None
    # Titan, Mistral, Cohere, OpenAI
    results: list[_End] | None = None
    outputs: list[_End] | None = None
    generations: list[_End] | None = None
    choices: list[_End] | None = None


class _Final(msgspec.Struct):
    metrics: _Metrics | None = msgspec.field(default=None, name="amazon-bedrock-invocationMetrics")


_response = msgspec.json.Decoder(_Response)
_start = msgspec.json.Decoder(_Start)
_end = msgspec.json.Decoder(_End)
_final = msgspec.json.Decoder(_Final)
_usage = msgspec.json.Decoder(_Usage)

_SPACE = rb"[ \t\r\n]*"
_HEADERS_OF_INTEREST = re.compile(rb"messageStop|metadata|exception|error")
_CHUNK_OF_INTEREST = re.compile(
    rb'"(?:(?:%b)"%b:%b"|usage"%b:%b\{|amazon-bedrock-invocationMetrics")'
    % ("|".join(FINISH_REASONS).encode(), _SPACE, _SPACE, _SPACE, _SPACE)
)


class BedrockJson(JsonReader):
    """A ResponseReader of whole responses of converse and invoke, and of errors."""

    def __init__(self, headers: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._counted = usage_from_headers(headers or {})
        self.error_type = error_from_headers(headers or {})

    def read_event(self, data: bytes) -> bool:
        """Learn from the whole body and return whether it is JSON. Never raises."""
        try:
            _record_response(self.usage, _response.decode(data))
        except DECODE_ERRORS:
            self.read_fragment(data, data)
            return is_json(data)
        return True

    def read_fragment(self, head: bytes, tail: bytes) -> None:
        """Learn from the two ends of an event that was too long to be held. Never raises."""
        for piece in (head, tail):
            if found := last_object(piece, "usage"):
                try:
                    _record_usage(self.usage, _usage.decode(found))
                except DECODE_ERRORS:
                    continue
            for key in FINISH_REASONS:
                self.usage.finish_reason = last_text(piece, key) or self.usage.finish_reason

    def end(self) -> None:
        """Read what is left once the response has ended."""
        super().end()
        counted, usage = self._counted, self.usage
        if counted:
            # The usage in the body has precedence: it has more kinds of tokens.
            _count(counted, usage.input_tokens, usage.output_tokens, usage.cached_input_tokens)
            _count(usage, counted.input_tokens, counted.output_tokens, counted.cached_input_tokens)


class ConverseStream(BedrockStream):
    """A ResponseReader of converse-stream: `messageStop` says why, `metadata` after it how much."""

    texts = starts_of("text", "input")

    def read_event(self, headers: bytes, payload: bytes) -> None:
        """Learn from one event. Never raises."""
        if self.deltas is not None:
            self.deltas.feed(payload)
        if not _HEADERS_OF_INTEREST.search(headers) or self.failed(headers):
            return
        kind = read_headers(headers).get(":event-type")
        if kind not in ("messageStop", "metadata"):
            return
        try:
            _record_response(self.usage, decode_leniently(_response, payload))
        except DECODE_ERRORS:
            return
        self.finished = self.finished or kind == "messageStop"


class InvokeStream(BedrockStream):
    """A ResponseReader of invoke-with-response-stream: chunks of the model's own JSON, in base64."""

    texts = starts_of("text", "partial_json", "thinking", "content", "reasoning_content", "arguments", *OWN_TEXTS)

    def read_event(self, headers: bytes, payload: bytes) -> None:
        """Learn from one event. Never raises."""
        if self.failed(headers):
            return
        start = payload.find(b'"', payload.find(b'"bytes"') + len(b'"bytes"')) + 1
        try:
            chunk = binascii.a2b_base64(payload[start : payload.find(b'"', start)])
        except binascii.Error:
            return
        if self.deltas is not None:
            self.deltas.feed(chunk)
        if _CHUNK_OF_INTEREST.search(chunk):
            self.read_chunk(chunk)

    def read_chunk(self, chunk: bytes) -> None:
        """Learn from one chunk of the model's own JSON. Never raises."""
        try:
            response = decode_leniently(_response, chunk)
            _record_response(self.usage, response)
            metrics = response.metrics
        except DECODE_ERRORS:
            metrics = _read_metrics(chunk)
        if metrics:
            _record_metrics(self.usage, metrics)
        if metrics or self.usage.finish_reason:
            self.finished = True


class AgentStream(BedrockStream):
    """A ResponseReader of invoke-agent: no event is the last one by its name, and none counts tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.finished = True

    def read_event(self, headers: bytes, payload: bytes) -> None:
        """Look for an error in the headers. The payload is content and stays unread."""
        if self.failed(headers):
            self.finished = False


def usage_from_headers(headers: Mapping[str, str]) -> Usage | None:
    """Return the token counts in the response headers of invoke, or None if the headers have no count."""
    input_tokens, output_tokens, cached = (
        int(text) if text.isascii() and text.isdigit() and len(text) <= COUNT_LENGTH else None
        for name in ("input-token-count", "output-token-count", "cache-read-input-token-count")
        for text in (headers.get(f"x-amzn-bedrock-{name}", ""),)
    )
    if input_tokens is None and output_tokens is None and cached is None:
        return None
    return Usage(input_tokens, output_tokens, cached)


def error_from_headers(headers: Mapping[str, str]) -> str | None:
    """Read the name of an exception, behind which some services write its address after a colon."""
    return word(headers.get("x-amzn-errortype", "").partition(":")[0])


def _record_response(usage: Usage, response: _Response) -> None:
    if response.message is not _ABSENT:
        _record_start(usage, response.message)
    usage.model = word(response.model) or usage.model
    if response.trace and response.trace.prompt_router:
        usage.model = word(response.trace.prompt_router.invoked_model_id) or usage.model
    for name, value in (
        ("service_tier", response.tier and response.tier.type),
        ("latency", response.performance and response.performance.latency),
    ):
        if value and word(value):
            usage.modifiers = with_modifier(usage.modifiers, name, value)
    for found in (response.usage, response.metadata and response.metadata.usage):
        if found:
            _record_usage(usage, found)
    parts = response.results or response.outputs or response.generations or response.choices or []
    first = next((part for part in parts if not part.index), None)
    outputs = [part.token_count for part in parts if part.token_count is not None]
    _count(usage, response.input_text_tokens, response.output_text_tokens, None)
    _count(usage, response.prompt_token_count, response.generation_token_count, None)
    _count(usage, None, sum(outputs) if outputs else None, None)
    for end in (response, response.message_stop, first):
        if end and end.reason():
            usage.finish_reason = end.reason()
    if response.delta is not _ABSENT:
        _record_delta(usage, response.delta)


def _record_usage(usage: Usage, found: _Usage) -> None:
    _count(usage, found.input_tokens, found.output_tokens, found.cache_read_input_tokens)
    cached = found.cache_read_ if found.cache_read_ is not None else found.cache_read_count
    _count(usage, found.input_tokens_, found.output_tokens_, cached)
    _count(usage, found.prompt_tokens, found.completion_tokens, None)
    for written in (found.cache_creation_input_tokens, found.cache_write_, found.cache_write_count):
        if written:
            usage.cache_write_tokens = written
    if found.cache_creation and found.cache_creation.ephemeral_1h_input_tokens is not None:
        usage.long_cache_write_tokens = found.cache_creation.ephemeral_1h_input_tokens
    if found.cache_details is not None:
        usage.long_cache_write_tokens = sum(each.input_tokens or 0 for each in found.cache_details if each.ttl == "1h")


def _record_metrics(usage: Usage, metrics: _Metrics) -> None:
    _count(usage, metrics.input_token_count, metrics.output_token_count, metrics.cache_read_input_token_count)


def _record_start(usage: Usage, raw: msgspec.Raw) -> None:
    """Record Anthropic's message_start. Other models have something else under this name."""
    try:
        start = _start.decode(raw)
    except DECODE_ERRORS:
        return
    usage.model = word(start.model) or usage.model
    if start.usage:
        _record_usage(usage, start.usage)


def _record_delta(usage: Usage, raw: msgspec.Raw) -> None:
    try:
        usage.finish_reason = _end.decode(raw).reason() or usage.finish_reason
    except DECODE_ERRORS:
        return


def _read_metrics(chunk: bytes) -> _Metrics | None:
    try:
        return _final.decode(chunk).metrics
    except DECODE_ERRORS:
        return None


def _count(usage: Usage, input_tokens: int | None, output_tokens: int | None, cached: int | None) -> None:
    usage.input_tokens = usage.input_tokens if input_tokens is None else input_tokens
    usage.output_tokens = usage.output_tokens if output_tokens is None else output_tokens
    usage.cached_input_tokens = usage.cached_input_tokens if cached is None else cached


class BedrockResponses:
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
        if operation.name not in ACTIONS or operation.name == "count-tokens":
            return AgentStream() if operation.name == "invoke-agent" and media.startswith(EVENT_STREAM) else None
        if media.startswith(EVENT_STREAM):
            return ConverseStream() if operation.name == "converse-stream" else InvokeStream()
        return BedrockJson(headers) if "json" in media or usage_from_headers(headers or {}) else None
