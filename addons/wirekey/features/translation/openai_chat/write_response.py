"""Writes responses of OpenAI's Chat Completions, whole and streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.features.translation import neutral as n
from wirekey.features.translation.citations import chat_annotation, chat_annotations
from wirekey.features.translation.event_writer import EventWriter
from wirekey.features.translation.framing import sse
from wirekey.features.translation.held_bytes import HELD_BLOCK, held_bytes
from wirekey.features.translation.logprobs import write_chat
from wirekey.features.translation.members import encode
from wirekey.features.translation.openai import error
from wirekey.features.translation.reply import joined_reasoning, joined_text, text_arguments
from wirekey.features.translation.state import MAX_INFLATED_BYTES

if TYPE_CHECKING:
    from wirekey.features.translation.reply import Reply

type Json = dict[str, object]

FINISH = {
    n.Finish.END: "stop",
    n.Finish.STOP_SEQUENCE: "stop",
    n.Finish.CALLS: "tool_calls",
    n.Finish.LIMIT: "length",
    n.Finish.WINDOW: "length",
    n.Finish.FILTERED: "content_filter",
    n.Finish.OTHER: "stop",
}


def write_usage(usage: n.TokenUsage) -> Json:
    """Return the `usage` member. Unknown parts are left out; unknown totals are 0."""
    found: Json = {
        "prompt_tokens": usage.input or 0,
        "completion_tokens": usage.output or 0,
        "total_tokens": (usage.input or 0) + (usage.output or 0),
    }
    prompt = {
        "cached_tokens": usage.cached,
        "cache_write_tokens": usage.written,
        "audio_tokens": usage.input_audio,
    }
    completion = {"reasoning_tokens": usage.reasoning, "audio_tokens": usage.output_audio}
    for name, details in (("prompt_tokens_details", prompt), ("completion_tokens_details", completion)):
        if known := {part: count for part, count in details.items() if count is not None}:
            found[name] = known
    return found


def write_response(answer: n.Answer, reply: Reply) -> Json:
    """Return the members of a whole response."""
    choices = [(answer.blocks, answer.finish), *answer.others]
    return {
        "id": reply.id("chatcmpl-", answer.id),
        "object": "chat.completion",
        "created": reply.created,
        "model": reply.model(answer.model),
        "choices": [_choice(index, blocks, finish, answer, reply) for index, (blocks, finish) in enumerate(choices)],
        "usage": write_usage(answer.usage),
    }


def _choice(index: int, blocks: tuple[n.Block, ...], finish: n.Finish, answer: n.Answer, reply: Reply) -> Json:
    calls = _calls(blocks, reply)
    text = joined_text(blocks)
    message: Json = {"role": "assistant", "content": text or (None if calls else ""), "refusal": None}
    if (thoughts := joined_reasoning(blocks)) and reply.shows_thoughts:
        message["reasoning_content"] = thoughts
    if cited := list(chat_annotations(blocks)):
        message["annotations"] = cited
    if calls and reply.conversation.legacy_functions:
        message["function_call"] = calls[0]["function"]
    elif calls:
        message["tool_calls"] = calls
    tokens = tuple(token for block in blocks if isinstance(block, n.Text) for token in block.logprobs)
    found: Json = {
        "index": index,
        "message": message,
        "logprobs": write_chat(tokens),
        "finish_reason": FINISH[finish],
    }
    if calls and reply.conversation.legacy_functions and finish is n.Finish.CALLS:
        found["finish_reason"] = "function_call"
    if finish is n.Finish.OTHER and answer.native_finish:
        found["native_finish_reason"] = answer.native_finish
    return found


def _calls(blocks: tuple[n.Block, ...], reply: Reply) -> list[Json]:
    found: list[Json] = []
    states: list[n.Reasoning] = []
    for block in blocks:
        if isinstance(block, n.Reasoning) and block.state is not None:
            states.append(block)
        elif isinstance(block, n.ToolCall):
            found.append(
                {
                    "id": _call_id(block.id, states, reply),
                    "type": "function",
                    "function": {"name": reply.tool_name(block.name), "arguments": text_arguments(block)},
                }
            )
            states = []
    return found


def _call_id(given: str, states: list[n.Reasoning], reply: Reply) -> str:
    """Return the id of a call, with the state of the reasoning before it: the only place that clients send back."""
    found = given or f"call_{reply.make_id()}"
    return (reply.reported(reply.states.signed_id(found, states)) or found) if states else found


class ChatEventWriter(EventWriter):
    """Writes the chunks of a stream. Calls may interleave, as they have an index."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.head: Json = {}
        self.before_text = self.after_text = b""
        """The bytes of a chunk around its text, which are the same in each."""
        self.kinds: dict[int, str] = {}
        self.calls: dict[int, int] = {}
        self.call_count = 0
        self.empty: set[int] = set()
        self.states: list[n.Reasoning] = []
        self.held = 0
        """Bytes of these states."""
        self.start = self.length = 0
        """Characters before the open text, and in all texts: the places of citations."""

    def begin(self, event: n.Begin) -> bytes:
        """Return the first chunk, with the role."""
        self.head = {
            "id": self.reply.id("chatcmpl-", event.id),
            "object": "chat.completion.chunk",
            "created": self.reply.created,
            "model": self.reply.model(event.model),
        }
        before, name, after = self.chunk({"content": ""}).partition(b'"delta":{"content":')
        self.before_text, self.after_text = before + name, after.removeprefix(b'""')
        return self.chunk({"role": "assistant", "content": ""})

    def chunk(
        self,
        delta: Json,
        finish: str | None = None,
        native: str | None = None,
        logprobs: tuple[n.TokenLogprob, ...] = (),
    ) -> bytes:
        """Return one chunk with one choice. `native` is the provider's word for a finish that OpenAI does not know."""
        choice: Json = {"index": 0, "delta": delta, "logprobs": write_chat(logprobs), "finish_reason": finish}
        if native:
            choice["native_finish_reason"] = native
        more: Json = {"usage": None} if self.reply.conversation.include_usage else {}
        return sse({**self.head, "choices": [choice], **more})

    def block_begin(self, event: n.BlockBegin) -> bytes:
        """Return the first chunk of a call; text and reasoning begin with their first delta."""
        self.kinds[event.index] = event.kind
        self.start = self.length
        if event.kind != "call":
            return b""
        name = self.reply.tool_name(event.name or "")
        identifier = _call_id(event.id or "", self.states, self.reply)
        if self.held > MAX_INFLATED_BYTES:
            self.reply.reported(None)
        self.states, self.held = [], 0
        self.calls[event.index] = self.call_count
        self.call_count += 1
        self.empty.add(event.index)
        return self.call_chunk(
            event.index, {"id": identifier, "type": "function", "function": {"name": name, "arguments": ""}}
        )

    def call_chunk(self, index: int, call: Json) -> bytes:
        """Return a chunk with one piece of a call."""
        if self.reply.conversation.legacy_functions:
            return self.chunk({"function_call": call["function"]})
        return self.chunk({"tool_calls": [{"index": self.calls[index], **call}]})

    def delta(self, event: n.Delta) -> bytes:
        """Return one chunk with text."""
        kind = self.kinds.get(event.index)
        if kind is None:
            return b""  # of no open block
        if kind == "call":
            if not event.text.isspace():
                self.empty.discard(event.index)
            return self.call_chunk(event.index, {"function": {"arguments": event.text}})
        if kind == "reasoning":
            return self.chunk({"reasoning_content": event.text}) if self.reply.shows_thoughts else b""
        self.length += len(event.text)
        if event.logprobs:
            return self.chunk({"content": event.text}, logprobs=event.logprobs)
        return b"%b%b%b" % (self.before_text, encode(event.text), self.after_text)

    def cited(self, event: n.CitationDelta) -> bytes:
        """Return a chunk with a source of the text."""
        return self.chunk({"annotations": [chat_annotation(event.citation, self.start, self.length)]})

    def state(self, event: n.StateDelta) -> bytes:
        """Keep the state of reasoning until the next call, whose id carries it."""
        if event.reasoning.state is None:
            return b""
        self.held += HELD_BLOCK + held_bytes(event.reasoning.state) + held_bytes(event.reasoning.text or "")
        if self.held > MAX_INFLATED_BYTES:
            self.states = []  # more than an id can carry
        else:
            self.states.append(event.reasoning)
        return b""

    def block_end(self, event: n.BlockEnd) -> bytes:
        """Return the arguments of a call that has none."""
        found = b""
        if event.index in self.empty:
            self.empty.discard(event.index)
            found = self.call_chunk(event.index, {"function": {"arguments": "{}"}})
        self.kinds.pop(event.index, None)
        self.calls.pop(event.index, None)
        return found

    def stop(self, event: n.Stop) -> bytes:
        """Return the chunk with the reason of the end."""
        finish = FINISH[event.finish]
        if finish == "tool_calls" and self.reply.conversation.legacy_functions:
            finish = "function_call"
        native = event.native if event.finish is n.Finish.OTHER else None
        return self.chunk({}, finish, native)

    def failure(self, event: n.ProviderError) -> bytes:
        """Return the error."""
        return sse(error(event)[1])

    def ping(self) -> bytes:
        """Return a comment."""
        return b": ping\n\n"

    def end(self) -> bytes:
        """Return the usage, if the client asked for it, and the end."""
        usage = b""
        if self.reply.conversation.include_usage:
            usage = sse({**self.head, "choices": [], "usage": write_usage(self.usage)})
        return usage + b"data: [DONE]\n\n"
