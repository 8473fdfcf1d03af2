"""Reads responses of Bedrock's Converse, whole and streamed."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from wirekey.features.translation import neutral as n
from wirekey.features.translation.citations import converse_citations
from wirekey.features.translation.claude import ReasoningKeeper, redacted_reasoning
from wirekey.features.translation.failures import TOO_LONG, TRUNCATED, failure_of_event
from wirekey.features.translation.framing import FrameEvents, read_object
from wirekey.features.translation.reply import finish_with_calls

if TYPE_CHECKING:
    from collections.abc import Iterator

_FINISH = {
    "end_turn": n.Finish.END,
    "stop_sequence": n.Finish.STOP_SEQUENCE,
    "tool_use": n.Finish.CALLS,
    "max_tokens": n.Finish.LIMIT,
    "model_context_window_exceeded": n.Finish.WINDOW,
    "guardrail_intervened": n.Finish.FILTERED,
    "content_filtered": n.Finish.FILTERED,
}


def read_usage(usage: object) -> n.TokenUsage:
    """Return the tokens of a `usage` member. Bedrock counts the cached parts beside the input."""
    plain, read = n.token_count(usage, "inputTokens"), n.token_count(usage, "cacheReadInputTokens")
    written = n.token_count(usage, "cacheWriteInputTokens")
    total = None if plain is None else plain + (read or 0) + (written or 0)
    return n.TokenUsage(total, read, written, n.token_count(usage, "outputTokens"))


class _ToolUse(msgspec.Struct, rename="camel"):
    name: str
    tool_use_id: str = ""
    input: Raw = Raw(b"{}")  # never decoded, so that its numbers keep their digits


class _Block(msgspec.Struct, rename="camel"):
    text: str | None = None
    tool_use: _ToolUse | None = None
    reasoning_content: dict[str, Any] | None = None
    citations_content: dict[str, Any] | None = None


class _Message(msgspec.Struct):
    content: list[_Block] = []


class _Output(msgspec.Struct):
    message: _Message = msgspec.field(default_factory=_Message)


class _Response(msgspec.Struct, rename="camel"):
    output: _Output
    stop_reason: str = ""
    usage: Any = None


_decoder = msgspec.json.Decoder(_Response)


def read_response(data: bytes) -> n.Answer:
    """Return a whole response in the neutral form. Raises msgspec.DecodeError if it cannot be read."""
    body = _decoder.decode(data)
    blocks = tuple(found for block in body.output.message.content for found in _blocks(block))
    finish = finish_with_calls(_FINISH.get(body.stop_reason, n.Finish.OTHER), blocks)
    return n.Answer(None, None, blocks, finish, read_usage(body.usage), native_finish=body.stop_reason)


def _blocks(block: _Block) -> list[n.Text | n.Reasoning | n.ToolCall]:
    if block.text is not None:
        return [n.Text(block.text)]
    if (use := block.tool_use) is not None:
        return [n.ToolCall(use.tool_use_id, use.name, bytes(use.input).decode())]
    if reasoning := block.reasoning_content:
        if shown := reasoning.get("reasoningText"):
            return [n.Reasoning(shown.get("text") or None, shown.get("signature"), n.ModelMaker.CLAUDE)]
        return [redacted_reasoning(base64.b64decode(reasoning.get("redactedContent") or ""))]
    if cited := block.citations_content:
        text = "".join(part.get("text") or "" for part in cited.get("content") or [])
        return [n.Text(text, annotations=converse_citations(cited.get("citations")))]
    return []


class ConverseEventReader:
    """Reads the messages of a stream. Text and reasoning have no start event; their first delta is one."""

    def __init__(self) -> None:
        self.frames = FrameEvents()
        self.kinds: dict[int, str] = {}
        self.reasoning = ReasoningKeeper()
        self.begun = False
        self.calls = False
        self.stop: n.Stop | None = None
        self.done = False

    def text_of(self, data: bytes) -> None:
        """Return None: frames are read one way."""

    def feed(self, data: bytes) -> Iterator[n.Event]:
        """Yield the events that the next bytes complete."""
        self.frames.feed(data)
        for item in self.frames.take():
            if self.done:
                break
            payload = read_object(item.payload)
            if item.kind == "exception" or item.type.endswith("Exception"):
                self.done = True
                yield failure_of_event("converse", payload, item.type)
            else:
                yield from self._event(item.type, payload)
        if self.frames.broken and not self.done:
            self.done = True
            yield TOO_LONG

    def end(self) -> list[n.Event]:
        """Return the last events of a stream that ended cleanly: `metadata` may be missing, the reason may not."""
        if self.done:
            return []
        self.done = True
        return [self.stop, n.End()] if self.stop else [TRUNCATED]

    def _event(self, name: str, payload: dict[str, Any]) -> list[n.Event]:
        index = payload.get("contentBlockIndex") or 0
        match name:
            case "messageStart":
                self.begun = True
                return [n.Begin(None, None)]
            case "contentBlockStart":
                use = (payload.get("start") or {}).get("toolUse")
                if not use:
                    return []
                self.kinds[index], self.calls = "call", True
                return [n.BlockBegin(index, "call", use.get("toolUseId") or "", use.get("name") or "")]
            case "contentBlockDelta":
                return self._delta(index, payload.get("delta") or {})
            case "contentBlockStop":
                return self._end(index)
            case "messageStop":
                reason = payload.get("stopReason") or ""
                finish = _FINISH.get(reason, n.Finish.OTHER)
                if finish is n.Finish.END and self.calls:
                    finish = n.Finish.CALLS
                self.stop = n.Stop(finish, native=reason)
            case "metadata":
                self.done = True
                if self.stop is None:
                    return [TRUNCATED]
                return [n.UsageUpdate(read_usage(payload.get("usage"))), self.stop, n.End()]
        return []

    def _delta(self, index: int, delta: dict[str, Any]) -> list[n.Event]:
        if isinstance(text := delta.get("text"), str):
            return [*self._begin(index, "text"), n.Delta(index, text)] if text else []
        if (cited := delta.get("citation")) and self.kinds.get(index) == "text":
            return [n.CitationDelta(index, one) for one in converse_citations([cited])]
        if use := delta.get("toolUse"):
            return [n.Delta(index, use["input"])] if use.get("input") and index in self.kinds else []
        if reasoning := delta.get("reasoningContent"):
            found = self._begin(index, "reasoning")
            if text := reasoning.get("text"):
                self.reasoning.add_text(index, text)
                return [*found, n.Delta(index, text)]
            if signature := reasoning.get("signature"):
                self.reasoning.add_signature(index, signature)
            if redacted := reasoning.get("redactedContent"):
                self.reasoning.add_redacted(index, base64.b64decode(redacted))
            return found
        return []

    def _begin(self, index: int, kind: Any) -> list[n.Event]:
        if index in self.kinds:
            return []
        self.kinds[index] = kind
        return [n.BlockBegin(index, kind)]

    def _end(self, index: int) -> list[n.Event]:
        return self.reasoning.end(index) if self.kinds.pop(index, None) else []
