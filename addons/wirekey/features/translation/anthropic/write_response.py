"""Writes responses of Anthropic's Messages, whole and streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.features.translation import neutral as n
from wirekey.features.translation.event_writer import NumberedBlockWriter
from wirekey.features.translation.framing import sse
from wirekey.features.translation.reply import object_arguments

if TYPE_CHECKING:
    from wirekey.features.translation.reply import Reply

type Json = dict[str, object]

FINISH = {
    n.Finish.END: "end_turn",
    n.Finish.STOP_SEQUENCE: "stop_sequence",
    n.Finish.CALLS: "tool_use",
    n.Finish.LIMIT: "max_tokens",
    n.Finish.WINDOW: "model_context_window_exceeded",
    n.Finish.FILTERED: "refusal",
    n.Finish.OTHER: "end_turn",
}
_ERRORS = {
    401: (401, "authentication_error"), 402: (402, "billing_error"), 403: (403, "permission_error"),
    404: (404, "not_found_error"), 408: (504, "timeout_error"), 413: (413, "request_too_large"),
    429: (429, "rate_limit_error"), 503: (529, "overloaded_error"), 504: (504, "timeout_error"),
    529: (529, "overloaded_error"),
}  # fmt: skip


def error(failure: n.ProviderError) -> tuple[int, Json]:
    """Return the status and the body of an error."""
    other = (400, "invalid_request_error") if failure.is_callers else (500, "api_error")
    status, kind = _ERRORS.get(failure.status, other)
    return status, {"type": "error", "error": {"type": kind, "message": failure.message}}


def write_usage(usage: n.TokenUsage) -> Json:
    """Return the `usage` member, with the cached parts beside the input. Unknown totals are 0."""
    found: Json = {"input_tokens": max((usage.input or 0) - (usage.cached or 0) - (usage.written or 0), 0)}
    if usage.cached is not None:
        found["cache_read_input_tokens"] = usage.cached
    if usage.written is not None:
        found["cache_creation_input_tokens"] = usage.written
    found["output_tokens"] = usage.output or 0
    if usage.reasoning is not None:
        found["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return found


def write_response(answer: n.Answer, reply: Reply) -> Json:
    """Return the members of a whole response."""
    return {
        "id": reply.id("msg_", answer.id),
        "type": "message",
        "role": "assistant",
        "model": reply.model(answer.model),
        "content": [found for block in answer.blocks for found in _block(block, reply)],
        "stop_reason": FINISH[answer.finish],
        "stop_sequence": answer.stop_sequence,
        "usage": write_usage(answer.usage),
    }


def _block(block: n.Block, reply: Reply) -> list[Json]:
    match block:
        case n.Text():
            return [{"type": "text", "text": block.text}] if block.text else []
        case n.Reasoning():
            if reply.shows_whole(block):
                return [{"type": "thinking", "thinking": block.text or "", "signature": reply.carried_or_mark(block)}]
            state = reply.carried(block)
            return [{"type": "redacted_thinking", "data": state}] if state else []
        case n.ToolCall():
            found: Json = {
                "type": "tool_use",
                "id": block.id or f"toolu_{reply.make_id()}",
                "name": reply.tool_name(block.name),
                "input": object_arguments(block),
            }
            return [found]
    return []


class AnthropicEventWriter(NumberedBlockWriter):
    """Writes the events of a stream: one block after the other, each with the next index."""

    def event(self, name: str, members: Json) -> bytes:
        """Return one event."""
        return sse({"type": name, **members}, name)

    def begin(self, event: n.Begin) -> bytes:
        """Return the start of the message, with the usage as far as it is known."""
        message: Json = {
            "id": self.reply.id("msg_", event.id),
            "type": "message",
            "role": "assistant",
            "model": self.reply.model(event.model),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": write_usage(self.usage),
        }
        return self.event("message_start", {"message": message})

    def start(self, block: Json) -> bytes:
        """Return the start of a block."""
        self.open = True
        return self.event("content_block_start", {"index": self.number, "content_block": block})

    def block_begin(self, event: n.BlockBegin) -> bytes:
        """Return the start of a block. Reasoning begins with its first text or with its state."""
        self.kind = event.kind
        if event.kind == "text":
            return self.start({"type": "text", "text": ""})
        if event.kind == "call":
            return self.start(
                {
                    "type": "tool_use",
                    "id": event.id or f"toolu_{self.reply.make_id()}",
                    "name": self.reply.tool_name(event.name or ""),
                    "input": {},
                }
            )
        return b""

    def delta(self, event: n.Delta) -> bytes:
        """Return a piece of the open block."""
        started = b""
        if self.kind == "reasoning":
            if not self.reply.shows_thoughts:
                return b""
            if not self.open:
                self.unsigned = True
                started = self.start({"type": "thinking", "thinking": "", "signature": ""})
            delta: Json = {"type": "thinking_delta", "thinking": event.text}
        elif self.kind == "call":
            delta = {"type": "input_json_delta", "partial_json": event.text}
        else:
            delta = {"type": "text_delta", "text": event.text}
        return started + self.event("content_block_delta", {"index": self.number, "delta": delta})

    def signature(self, signature: str | None) -> bytes:
        """Return the signature of the open block."""
        delta: Json = {"type": "signature_delta", "signature": signature}
        return self.event("content_block_delta", {"index": self.number, "delta": delta})

    def thought(self, text: str) -> bytes:
        """Return the start of a block of thinking with its whole text."""
        started = self.start({"type": "thinking", "thinking": "", "signature": ""})
        delta: Json = {"type": "thinking_delta", "thinking": text}
        return started + (self.event("content_block_delta", {"index": self.number, "delta": delta}) if text else b"")

    def redacted(self, reasoning: n.Reasoning, state: str) -> bytes:
        """Return the start of a block of redacted thinking."""
        return self.start({"type": "redacted_thinking", "data": state})

    def block_stop(self) -> bytes:
        """Return the end of the open block."""
        return self.event("content_block_stop", {"index": self.number})

    def ping(self) -> bytes:
        """Return a ping."""
        return self.event("ping", {})

    def failure(self, event: n.ProviderError) -> bytes:
        """Return the error event."""
        return sse(error(event)[1], "error")

    def end(self) -> bytes:
        """Return the reason of the end, the usage, and the end."""
        stop = self.stop_event or n.Stop(n.Finish.OTHER)
        delta: Json = {"stop_reason": FINISH[stop.finish], "stop_sequence": stop.stop_sequence}
        closed = self.close()
        described = self.event("message_delta", {"delta": delta, "usage": write_usage(self.usage)})
        return closed + described + self.event("message_stop", {})
