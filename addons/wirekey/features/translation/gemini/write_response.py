"""Writes responses of Gemini's generateContent, whole and streamed: server-sent events, or a JSON array."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Raw

from wirekey.features.translation import neutral as n
from wirekey.features.translation.event_writer import EventWriter
from wirekey.features.translation.failures import TOO_LONG
from wirekey.features.translation.held_bytes import held_bytes
from wirekey.features.translation.logprobs import write_google
from wirekey.features.translation.members import encode, object_text, raw_json
from wirekey.features.translation.reply import object_arguments

if TYPE_CHECKING:
    from wirekey.features.translation.reply import Reply

type Json = dict[str, object]

MAX_ARGUMENTS = 4 * 1024 * 1024
FINISH = {
    n.Finish.END: "STOP",
    n.Finish.STOP_SEQUENCE: "STOP",
    n.Finish.CALLS: "STOP",
    n.Finish.LIMIT: "MAX_TOKENS",
    n.Finish.WINDOW: "MAX_TOKENS",
    n.Finish.FILTERED: "SAFETY",
    n.Finish.OTHER: "OTHER",
}
_ERRORS = {
    401: (401, "UNAUTHENTICATED"), 402: (429, "RESOURCE_EXHAUSTED"), 403: (403, "PERMISSION_DENIED"),
    404: (404, "NOT_FOUND"), 408: (504, "DEADLINE_EXCEEDED"), 429: (429, "RESOURCE_EXHAUSTED"),
    503: (503, "UNAVAILABLE"), 504: (504, "DEADLINE_EXCEEDED"), 529: (503, "UNAVAILABLE"),
}  # fmt: skip


def error(failure: n.ProviderError) -> tuple[int, Json]:
    """Return the status and the body of an error, with the time to wait."""
    status, word = _ERRORS.get(failure.status, (400, "INVALID_ARGUMENT") if failure.is_callers else (500, "INTERNAL"))
    found: Json = {"code": status, "message": failure.message, "status": word}
    if failure.retry_after is not None:
        delay = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{failure.retry_after:g}s"}
        found["details"] = [delay]
    return status, {"error": found}


def write_usage(usage: n.TokenUsage) -> Json:
    """Return `usageMetadata`, with the tokens of thoughts beside those of the candidates. Unknown totals are 0."""
    thoughts = usage.reasoning or 0
    found: Json = {
        "promptTokenCount": usage.input or 0,
        "candidatesTokenCount": max((usage.output or 0) - thoughts, 0),
        "totalTokenCount": (usage.input or 0) + (usage.output or 0),
    }
    if usage.reasoning is not None:
        found["thoughtsTokenCount"] = usage.reasoning
    if usage.cached is not None:
        found["cachedContentTokenCount"] = usage.cached
    for name, audio in (("promptTokensDetails", usage.input_audio), ("candidatesTokensDetails", usage.output_audio)):
        if audio:  # Google names only what there is
            found[name] = [{"modality": "AUDIO", "tokenCount": audio}]
    return found


def write_response(answer: n.Answer, reply: Reply) -> Json:
    """Return the members of a whole response."""
    choices = [(answer.blocks, answer.finish), *answer.others]
    candidates: list[Json] = [
        {
            "content": {"role": "model", "parts": _parts(blocks, reply)},
            "finishReason": _reason(finish, answer.native_finish),
            "index": index,
            **write_google(tuple(token for block in blocks if isinstance(block, n.Text) for token in block.logprobs)),
        }
        for index, (blocks, finish) in enumerate(choices)
    ]
    return {
        "candidates": candidates,
        "usageMetadata": write_usage(answer.usage),
        "modelVersion": reply.model(answer.model),
        "responseId": reply.id("", answer.id),
    }


def _reason(finish: n.Finish, native: str | None) -> str:
    malformed = finish is n.Finish.OTHER and native == "malformed_tool_use"
    return "MALFORMED_FUNCTION_CALL" if malformed else FINISH[finish]


def carried_signature(reasoning: n.Reasoning, reply: Reply) -> str | None:
    """Return the state of reasoning as a signature, signed if it is not Gemini's own."""
    if reasoning.state is None or reply.is_own(reasoning):
        return reasoning.state
    return reply.reported(reply.states.signed_signature([reasoning]))


def call_signature(reply: Reply) -> str | None:
    """Return the signature of the first call of a response that has no reasoning state.

    Gemini refuses calls without a signature. By this one, Wirekey knows that another model made the call, if the
    conversation continues with Gemini.
    """
    return reply.states.signed_signature([])


def _parts(blocks: tuple[n.Block, ...], reply: Reply) -> list[Json]:
    parts: list[Json] = []
    signature: str | None = None
    called = False
    for block in blocks:
        match block:
            case n.Reasoning():
                state = carried_signature(block, reply)
                if block.text and reply.shows_thoughts:
                    parts.append(
                        {"text": block.text, "thought": True, **({"thoughtSignature": state} if state else {})}
                    )
                else:
                    signature = state or signature
                continue
            case n.Text(text=text) if text:
                part: Json = {"text": text}
            case n.ToolCall():
                part = _call_part(block, object_arguments(block), reply)
                signature = signature or (None if called else call_signature(reply))
                called = True
            case _:
                continue
        if signature:
            part["thoughtSignature"], signature = signature, None
        parts.append(part)
    if signature:
        parts.append({"text": "", "thoughtSignature": signature})
    return parts


def _call_part(call: n.ToolCall, arguments: Raw, reply: Reply) -> Json:
    found: Json = {"id": call.id} if call.id else {}
    return {"functionCall": {**found, "name": reply.tool_name(call.name), "args": arguments}}


class GeminiEventWriter(EventWriter):
    """Writes the responses of a stream: text as it comes, each call whole when its block ends.

    Without `alt=sse` in the client's query the stream is a JSON array.
    """

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.array = "alt=sse" not in reply.query.replace("%24", "$").replace("$alt", "alt").lower()
        self.written = False
        self.failed = False
        self.head: Json = {}
        self.kinds: dict[int, str] = {}
        self.calls: dict[int, tuple[n.ToolCall, list[str]]] = {}
        self.held = 0
        self.signature: str | None = None
        self.called = False

    def begin(self, event: n.Begin) -> bytes:
        """Keep what each response repeats."""
        self.head = {"modelVersion": self.reply.model(event.model), "responseId": self.reply.id("", event.id)}
        return b""

    def block_begin(self, event: n.BlockBegin) -> bytes:
        """Keep a call until its block ends."""
        self.kinds[event.index] = event.kind
        if event.kind == "call":
            self.calls[event.index] = n.ToolCall(event.id or "", event.name or "", ""), []
        return b""

    def state(self, event: n.StateDelta) -> bytes:
        """Keep the state of reasoning for the next part."""
        self.signature = carried_signature(event.reasoning, self.reply) or self.signature
        return b""

    def response(self, value: Json) -> bytes:
        """Return one response in the framing of the stream."""
        if not self.array:
            return b"data: " + encode(value) + b"\r\n\r\n"
        start = b",\r\n" if self.written else b"["
        self.written = True
        return start + encode(value)

    def part(self, part: Json, logprobs: tuple[n.TokenLogprob, ...] = ()) -> bytes:
        """Return one response with one part."""
        if self.signature and not part.get("thought"):
            part["thoughtSignature"], self.signature = self.signature, None
        content = {"role": "model", "parts": [part]}
        candidate = {"content": content, "index": 0, **write_google(logprobs)}
        return self.response({"candidates": [candidate], **self.head})

    def delta(self, event: n.Delta) -> bytes:
        """Return text as it comes, and hold the arguments of a call."""
        kind = self.kinds.get(event.index)
        if kind is None:
            return b""  # of no open block
        if kind == "call":
            self.held += held_bytes(event.text)
            if self.held > MAX_ARGUMENTS:
                return self.failure(TOO_LONG)
            self.calls[event.index][1].append(event.text)
            return b""
        if kind == "reasoning":
            return self.part({"text": event.text, "thought": True}) if self.reply.shows_thoughts else b""
        return self.part({"text": event.text}, event.logprobs)

    def block_end(self, event: n.BlockEnd) -> bytes:
        """Return a call, whole."""
        self.kinds.pop(event.index, None)
        if event.index not in self.calls:
            return b""
        call, pieces = self.calls.pop(event.index)
        text = "".join(pieces)
        self.held -= sum(map(held_bytes, pieces))
        whole = object_text(text)
        arguments = raw_json({"arguments": text}) if whole is None else Raw(whole.encode())
        if not self.called:
            self.signature = self.signature or call_signature(self.reply)
        self.called = True
        return self.part(_call_part(call, arguments, self.reply))

    def failure(self, event: n.ProviderError) -> bytes:
        """Return the error."""
        if self.failed:
            return b""
        self.failed = True
        end = b"]" if self.array else b""
        return self.response(error(event)[1]) + end

    def end(self) -> bytes:
        """Return the reason of the end and the usage."""
        if self.failed:
            return b""
        stop = self.stop_event or n.Stop(n.Finish.OTHER)
        parts: list[Json] = [{"text": "", "thoughtSignature": self.signature}] if self.signature else [{"text": ""}]
        candidate: Json = {
            "content": {"role": "model", "parts": parts},
            "finishReason": _reason(stop.finish, stop.native),
            "index": 0,
        }
        last = self.response({"candidates": [candidate], "usageMetadata": write_usage(self.usage), **self.head})
        return last + (b"]" if self.array else b"")
