"""Writes responses of Bedrock's Converse, whole and streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.features.translation import neutral as n
from wirekey.features.translation.claude import redacted_content
from wirekey.features.translation.event_writer import NumberedBlockWriter
from wirekey.features.translation.framing import frame
from wirekey.features.translation.media import base64_of_text
from wirekey.features.translation.reply import object_arguments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.features.translation.reply import Reply

type Json = dict[str, object]

FINISH = {
    n.Finish.END: "end_turn",
    n.Finish.STOP_SEQUENCE: "stop_sequence",
    n.Finish.CALLS: "tool_use",
    n.Finish.LIMIT: "max_tokens",
    n.Finish.WINDOW: "model_context_window_exceeded",
    n.Finish.FILTERED: "content_filtered",
    n.Finish.OTHER: "end_turn",
}
_STREAM_EXCEPTIONS = {
    "ValidationException": "validationException",
    "ThrottlingException": "throttlingException",
    "ServiceUnavailableException": "serviceUnavailableException",
    "InternalServerException": "internalServerException",
}
_ERRORS = {
    401: (403, "UnrecognizedClientException"), 402: (400, "ServiceQuotaExceededException"),
    403: (403, "AccessDeniedException"), 404: (404, "ResourceNotFoundException"), 408: (408, "ModelTimeoutException"),
    429: (429, "ThrottlingException"), 503: (503, "ServiceUnavailableException"), 504: (408, "ModelTimeoutException"),
    529: (503, "ServiceUnavailableException"),
}  # fmt: skip


def error_type(failure: n.ProviderError) -> tuple[int, str]:
    """Return the status and the type of an error."""
    other = (400, "ValidationException") if failure.is_callers else (500, "InternalServerException")
    return _ERRORS.get(failure.status, other)


def error(failure: n.ProviderError) -> tuple[int, Json]:
    """Return the status and the body of an error, which has no type."""
    return error_type(failure)[0], {"message": failure.message}


def error_headers(failure: n.ProviderError) -> Mapping[str, str]:
    """Return the header with the type of an error."""
    return {"x-amzn-errortype": error_type(failure)[1]}


def write_usage(usage: n.TokenUsage) -> Json:
    """Return the `usage` member, with the cached parts beside the input. Unknown totals are 0."""
    plain = max((usage.input or 0) - (usage.cached or 0) - (usage.written or 0), 0)
    found: Json = {
        "inputTokens": plain,
        "outputTokens": usage.output or 0,
        "totalTokens": (usage.input or 0) + (usage.output or 0),
    }
    if usage.cached is not None:
        found["cacheReadInputTokens"] = usage.cached
    if usage.written is not None:
        found["cacheWriteInputTokens"] = usage.written
    return found


def write_response(answer: n.Answer, reply: Reply) -> Json:
    """Return the members of a whole response."""
    content = [found for block in answer.blocks for found in _block(block, reply)]
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": _stop_reason(answer.finish, answer.native_finish),
        "usage": write_usage(answer.usage),
        "metrics": {"latencyMs": 0},
    }


def _stop_reason(finish: n.Finish, native: str | None) -> str:
    malformed = finish is n.Finish.OTHER and native == "MALFORMED_FUNCTION_CALL"
    return "malformed_tool_use" if malformed else FINISH[finish]


def _block(block: n.Block, reply: Reply) -> list[Json]:
    match block:
        case n.Text():
            return [{"text": block.text}] if block.text else []
        case n.Reasoning():
            if reply.shows_whole(block):
                shown: Json = {"text": block.text or "", "signature": reply.carried_or_mark(block)}
                return [{"reasoningContent": {"reasoningText": shown}}]
            state = reply.carried(block)
            own = redacted_content(block) if reply.is_own(block) else base64_of_text(state or "")
            return [{"reasoningContent": {"redactedContent": own}}] if state else []
        case n.ToolCall():
            use: Json = {
                "toolUseId": block.id or f"tooluse_{reply.make_id()}",
                "name": reply.tool_name(block.name),
                "input": object_arguments(block),
            }
            return [{"toolUse": use}]
    return []


class ConverseEventWriter(NumberedBlockWriter):
    """Writes the messages of a stream: one block after the other, a start for calls only, the usage last."""

    def begin(self, event: n.Begin) -> bytes:  # the message has neither id nor model
        """Return the start of the message."""
        return frame("messageStart", {"role": "assistant"})

    def block_begin(self, event: n.BlockBegin) -> bytes:
        """Return the start of a call; text and reasoning begin with their first delta."""
        self.kind = event.kind
        if event.kind != "call":
            return b""
        self.open = True
        use = {
            "toolUseId": event.id or f"tooluse_{self.reply.make_id()}",
            "name": self.reply.tool_name(event.name or ""),
        }
        return frame("contentBlockStart", {"contentBlockIndex": self.number, "start": {"toolUse": use}})

    def block_delta(self, delta: Json) -> bytes:
        """Return a piece of the open block."""
        self.open = True
        return frame("contentBlockDelta", {"contentBlockIndex": self.number, "delta": delta})

    def delta(self, event: n.Delta) -> bytes:
        """Return a piece of text, of reasoning or of the arguments of a call."""
        if self.kind == "reasoning":
            if not self.reply.shows_thoughts:
                return b""
            self.unsigned = True
            return self.block_delta({"reasoningContent": {"text": event.text}})
        return self.block_delta({"toolUse": {"input": event.text}} if self.kind == "call" else {"text": event.text})

    def signature(self, signature: str | None) -> bytes:
        """Return the signature of the open block."""
        return self.block_delta({"reasoningContent": {"signature": signature}})

    def thought(self, text: str) -> bytes:
        """Return the start of a block of reasoning with its whole text."""
        return self.block_delta({"reasoningContent": {"text": text}}) if text else b""

    def redacted(self, reasoning: n.Reasoning, state: str) -> bytes:
        """Return the start of a block of redacted reasoning."""
        own = redacted_content(reasoning) if self.reply.is_own(reasoning) else base64_of_text(state)
        return self.block_delta({"reasoningContent": {"redactedContent": own}})

    def block_stop(self) -> bytes:
        """Return the end of the open block."""
        return frame("contentBlockStop", {"contentBlockIndex": self.number})

    def failure(self, event: n.ProviderError) -> bytes:
        """Return the exception."""
        _, kind = error_type(event)
        name = _STREAM_EXCEPTIONS.get(kind, "internalServerException")
        return frame(name, {"message": event.message}, "exception")

    def end(self) -> bytes:
        """Return the reason of the end, and the usage."""
        stop = self.stop_event or n.Stop(n.Finish.OTHER)
        metadata = {"usage": write_usage(self.usage), "metrics": {"latencyMs": 0}}
        return (
            self.close()
            + frame("messageStop", {"stopReason": _stop_reason(stop.finish, stop.native)})
            + frame("metadata", metadata)
        )
