"""Reads responses of Anthropic's Messages, whole and streamed; in the frames of InvokeModel, too."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from wirekey.core.metering.lenient_json import decode_leniently
from wirekey.features.translation import neutral as n
from wirekey.features.translation.citations import web_citations
from wirekey.features.translation.claude import ReasoningKeeper
from wirekey.features.translation.failures import TOO_LONG, TRUNCATED, failure_of_event
from wirekey.features.translation.framing import FrameEvents, SseEvents, read_object
from wirekey.features.translation.reply import finish_with_calls

if TYPE_CHECKING:
    from collections.abc import Iterator

_FINISH = {
    "end_turn": n.Finish.END,
    "stop_sequence": n.Finish.STOP_SEQUENCE,
    "tool_use": n.Finish.CALLS,
    "max_tokens": n.Finish.LIMIT,
    "model_context_window_exceeded": n.Finish.WINDOW,
    "refusal": n.Finish.FILTERED,
}


def read_usage(usage: object) -> n.TokenUsage:
    """Return the tokens of a `usage` member. Anthropic counts the cached parts beside the input."""
    plain, read = n.token_count(usage, "input_tokens"), n.token_count(usage, "cache_read_input_tokens")
    written = n.token_count(usage, "cache_creation_input_tokens")
    return n.TokenUsage(
        input=None if plain is None else plain + (read or 0) + (written or 0),
        cached=read,
        written=written,
        output=n.token_count(usage, "output_tokens"),
        reasoning=n.token_count(usage, "output_tokens_details", "thinking_tokens"),
    )


class _Block(msgspec.Struct):
    type: str
    id: str | None = None
    name: str | None = None
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    input: Raw = Raw(b"{}")  # never decoded, so that its numbers keep their digits
    citations: list[Any] | None = None


class _Message(msgspec.Struct):
    content: list[_Block]
    id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: Any = None


_decoder = msgspec.json.Decoder(_Message)


def read_response(data: bytes) -> n.Answer:
    """Return a whole response in the neutral form. Raises msgspec.DecodeError if it cannot be read."""
    body = _decoder.decode(data)
    blocks = tuple(found for block in body.content for found in _blocks(block))
    reason = body.stop_reason or ""
    finish = finish_with_calls(_FINISH.get(reason, n.Finish.OTHER), blocks)
    return n.Answer(body.id, body.model, blocks, finish, read_usage(body.usage), body.stop_sequence, reason)


def _blocks(block: _Block) -> list[n.Text | n.Reasoning | n.ToolCall]:
    match block.type:
        case "text":
            return [n.Text(block.text or "", annotations=web_citations(block.citations))]
        case "thinking":
            return [n.Reasoning(block.thinking or None, block.signature, n.ModelMaker.CLAUDE)]
        case "redacted_thinking":
            return [n.Reasoning(None, block.data, n.ModelMaker.CLAUDE, redacted=True)]
        case "tool_use":
            arguments = bytes(block.input).decode()
            return [n.ToolCall(block.id or "", block.name or "", arguments)]
    return []


class _TextDelta(msgspec.Struct, tag_field="type", tag="text_delta", forbid_unknown_fields=True, gc=False):
    text: str


class _TextEvent(msgspec.Struct, tag_field="type", tag="content_block_delta", forbid_unknown_fields=True, gc=False):
    """An event with a piece of text, and no member but these."""

    index: int
    delta: _TextDelta


_TEXT_EVENT = msgspec.json.Decoder(_TextEvent)


class _Start(msgspec.Struct):
    content_block: _Block


_START = msgspec.json.Decoder(_Start)


class AnthropicEventReader:
    """Reads the events of a stream: server-sent events, or the frames of InvokeModel."""

    def __init__(self, frames: SseEvents | FrameEvents | None = None) -> None:
        self.frames = frames or SseEvents()
        self.kinds: dict[int, str] = {}
        self.whole: set[int] = set()
        """Open calls whose arguments came whole, with their start, as other servers of the format send them."""
        self.reasoning = ReasoningKeeper()
        self.usage: dict[str, Any] = {}
        self.calls = False
        self.stop: n.Stop | None = None
        self.done = False

    def text_of(self, data: bytes) -> n.Delta | None:
        """Return the event of bytes that are one whole event with text and nothing else."""
        frames = self.frames
        if not isinstance(frames, SseEvents) or (found := frames.only_event(data)) is None:
            return None
        try:
            event = _TEXT_EVENT.decode(found)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        text = event.delta.text
        return n.Delta(event.index, text) if text and event.index in self.kinds else None

    def feed(self, data: bytes) -> Iterator[n.Event]:
        """Yield the events that the next bytes complete."""
        self.frames.feed(data)
        return self._read()

    def end(self) -> Iterator[n.Event]:
        """Yield the last events of a stream that ended cleanly."""
        self.frames.end()
        yield from self._read()
        if not self.done:
            self.done = True
            yield TRUNCATED

    def _read(self) -> Iterator[n.Event]:
        for item in self.frames.take():
            if self.done:
                break
            data = item if isinstance(item, bytes) else _unwrapped(item.payload)
            event = read_object(data)
            if not isinstance(item, bytes) and item.kind == "exception":
                event = {"type": "error", "error": {"type": item.type, **event}}
            yield from self._event(event, data)
        if self.frames.broken and not self.done:
            self.done = True
            yield TOO_LONG

    def _event(self, event: dict[str, Any], data: bytes) -> list[n.Event]:
        match event.get("type"):
            case "message_start":
                message = event.get("message") or {}
                self.usage.update(_known(message.get("usage")))
                return [n.Begin(message.get("id"), message.get("model"), read_usage(self.usage))]
            case "content_block_start":
                return self._begin(event.get("index") or 0, event.get("content_block") or {}, data)
            case "content_block_delta":
                return self._delta(event.get("index") or 0, event.get("delta") or {})
            case "content_block_stop":
                return self._end(event.get("index") or 0)
            case "message_delta":
                self.usage.update(_known(event.get("usage")))
                delta = event.get("delta") or {}
                if reason := delta.get("stop_reason"):
                    finish = _FINISH.get(reason, n.Finish.OTHER)
                    if finish is n.Finish.END and self.calls:
                        finish = n.Finish.CALLS
                    self.stop = n.Stop(finish, delta.get("stop_sequence"), reason)
                return [n.UsageUpdate(read_usage(self.usage))]
            case "message_stop":
                self.done = True
                return [self.stop, n.End()] if self.stop else [TRUNCATED]
            case "ping":
                return [n.Ping()]
            case "error":
                self.done = True
                return [failure_of_event("anthropic", event.get("error") or {})]
        return []

    def _begin(self, index: int, block: dict[str, Any], data: bytes) -> list[n.Event]:
        match block.get("type"):
            case "text":
                self.kinds[index] = "text"
                found: list[n.Event] = [n.BlockBegin(index, "text")]
                return [*found, n.Delta(index, block["text"])] if block.get("text") else found
            case "thinking":
                self.kinds[index] = "reasoning"
                self.reasoning.add_signature(index, block.get("signature") or "")
                return [n.BlockBegin(index, "reasoning"), *self._think(index, block.get("thinking") or "")]
            case "redacted_thinking":
                self.kinds[index] = "reasoning"
                state = n.Reasoning(None, block.get("data"), n.ModelMaker.CLAUDE, redacted=True)
                return [n.BlockBegin(index, "reasoning"), n.StateDelta(index, state)]
            case "tool_use":
                self.kinds[index], self.calls = "call", True
                begun: list[n.Event] = [n.BlockBegin(index, "call", block.get("id") or "", block.get("name") or "")]
                if not block.get("input"):
                    return begun
                self.whole.add(index)
                arguments = bytes(decode_leniently(_START, data).content_block.input).decode()
                return [*begun, n.Delta(index, arguments)]
        return []

    def _delta(self, index: int, delta: dict[str, Any]) -> list[n.Event]:
        if index not in self.kinds:
            return []
        match delta.get("type"):
            case "text_delta":
                return [n.Delta(index, delta["text"])] if delta.get("text") else []
            case "thinking_delta":
                return self._think(index, delta.get("thinking") or "")
            case "signature_delta":
                self.reasoning.add_signature(index, delta.get("signature") or "")
            case "citations_delta":
                return [n.CitationDelta(index, one) for one in web_citations([delta.get("citation")])]
            case "input_json_delta" if index not in self.whole:
                return [n.Delta(index, delta["partial_json"])] if delta.get("partial_json") else []
        return []

    def _think(self, index: int, text: str) -> list[n.Event]:
        if not text:
            return []
        self.reasoning.add_text(index, text)
        return [n.Delta(index, text)]

    def _end(self, index: int) -> list[n.Event]:
        self.whole.discard(index)
        return self.reasoning.end(index) if self.kinds.pop(index, None) else []


def _known(usage: object) -> dict[str, Any]:
    return {name: value for name, value in usage.items() if value is not None} if isinstance(usage, dict) else {}


def _unwrapped(payload: bytes) -> bytes:
    """Return the event in a frame of InvokeModel: base64 in the member `bytes`. Raises ValueError if it is not."""
    inner = read_object(payload).get("bytes")
    return payload if inner is None else base64.b64decode(inner, validate=True)
