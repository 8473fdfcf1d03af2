"""Writes the stream of a response of OpenAI's Responses.

Every item is announced, filled and finished, and the last event repeats them all, as the SDK's types demand. For that
the writer holds the output of one response, up to 16 MiB.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wirekey.features.translation import neutral as n
from wirekey.features.translation.citations import annotation
from wirekey.features.translation.event_writer import EventWriter
from wirekey.features.translation.failures import TOO_LONG
from wirekey.features.translation.framing import sse
from wirekey.features.translation.held_bytes import HELD_BLOCK, HELD_TOKEN, held_bytes
from wirekey.features.translation.logprobs import write_event
from wirekey.features.translation.openai import error
from wirekey.features.translation.openai_responses.write_response import (
    call_item,
    finished,
    message_item,
    reasoning_item,
    response_head,
)

if TYPE_CHECKING:
    from wirekey.features.translation.reply import Reply

type Json = dict[str, object]


@dataclass(slots=True)
class _OpenItem:
    """The item that is open: its kind, its id, and the text that the last event repeats."""

    kind: str
    id: str
    pieces: list[str] = field(default_factory=list)
    call: n.ToolCall | None = None
    state: str | None = None
    citations: list[n.Citation] = field(default_factory=list)
    logprobs: list[n.TokenLogprob] = field(default_factory=list)
    length: int = 0
    held: int = 0
    announced: bool = False

    @property
    def text(self) -> str:
        """The whole text so far."""
        return "".join(self.pieces)


class ResponsesEventWriter(EventWriter):
    """Writes the events of a stream, with a sequence number each. Blocks must not interleave."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.head: Json = {}
        self.sequence = 0
        self.output: list[Json] = []
        self.item: _OpenItem | None = None
        self.held = 0
        self.failed = False

    def event(self, name: str, members: Json) -> bytes:
        """Return one event."""
        value = {"type": name, **members, "sequence_number": self.sequence}
        self.sequence += 1
        return sse(value, name)

    def write(self, event: n.Event) -> bytes:
        """Return the bytes of one event, or nothing after an error."""
        return b"" if self.failed else super().write(event)

    def ping(self) -> bytes:
        """Return a comment."""
        return b": ping\n\n"

    def hold(self, size: int) -> bool:
        """Count bytes that are held until the last event, and return whether they stay inside the bound."""
        self.held += size
        return self.held <= self.reply.max_held

    def begin(self, event: n.Begin) -> bytes:
        """Return the first two events, with the response as far as it is known."""
        self.head = response_head(self.reply.id("resp_", event.id), self.reply.model(event.model), self.reply)
        created = self.event("response.created", {"response": self.head})
        return created + self.event("response.in_progress", {"response": self.head})

    def place(self) -> Json:
        """Return the members that say which item an event belongs to."""
        assert self.item
        return {"item_id": self.item.id, "output_index": len(self.output)}

    def added(self, item: Json) -> bytes:
        """Return the event that announces the open item."""
        assert self.item
        self.item.announced = True
        return self.event("response.output_item.added", {"output_index": len(self.output), "item": item})

    def block_begin(self, event: n.BlockBegin) -> bytes:
        """Return the announcement of an item. Reasoning is announced with its first text or its state."""
        if not self.hold(HELD_BLOCK):
            return self.failure(TOO_LONG)
        if event.kind == "reasoning":
            self.item = _OpenItem("reasoning", f"rs_{self.reply.make_id()}")
            return b""
        if event.kind == "text":
            self.item = _OpenItem("text", f"msg_{self.reply.make_id()}")
            item: Json = {
                "id": self.item.id,
                "type": "message",
                "status": "in_progress",
                "role": "assistant",
                "content": [],
            }
            part: Json = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            added = self.added(item)
            return added + self.event("response.content_part.added", {**self.place(), "content_index": 0, "part": part})
        call = n.ToolCall(event.id or f"call_{self.reply.make_id()}", event.name or "", "")
        self.item = _OpenItem("call", f"fc_{self.reply.make_id()}", call=call)
        item = {**call_item(self.item.id, call, self.reply), "status": "in_progress"}
        item["input" if "input" in item else "arguments"] = ""
        return self.added(item)

    def delta(self, event: n.Delta) -> bytes:
        """Return a piece of the open item."""
        item = self.item
        assert item
        size = held_bytes(event.text)
        item.held += size
        size += sum(HELD_TOKEN * (1 + len(token.top)) for token in event.logprobs)
        if not self.hold(size):
            return self.failure(TOO_LONG)
        if item.kind == "reasoning":
            return self.thought(event.text)
        item.pieces.append(event.text)
        item.length += len(event.text)
        if item.kind == "text":
            item.logprobs += event.logprobs
            tokens = write_event(event.logprobs)
            members: Json = {**self.place(), "content_index": 0, "delta": event.text, "logprobs": tokens}
            return self.event("response.output_text.delta", members)
        assert item.call
        if self.reply.is_custom(self.reply.tool_name(item.call.name)):
            return b""
        return self.event("response.function_call_arguments.delta", {**self.place(), "delta": event.text})

    def thought(self, text: str) -> bytes:
        """Return a piece of the summary of reasoning, if the client asked for it."""
        item = self.item
        assert item
        if not self.reply.shows_thoughts:
            return b""
        started = b"" if item.announced else self.added(reasoning_item(item.id, None, None))
        if not item.pieces:
            part: Json = {"type": "summary_text", "text": ""}
            started += self.event(
                "response.reasoning_summary_part.added", {**self.place(), "summary_index": 0, "part": part}
            )
        item.pieces.append(text)
        members: Json = {**self.place(), "summary_index": 0, "delta": text}
        return started + self.event("response.reasoning_summary_text.delta", members)

    def state(self, event: n.StateDelta) -> bytes:
        """Keep the state of reasoning for the end of its item."""
        if self.item and self.item.kind == "reasoning":
            self.item.state = self.reply.carried(event.reasoning) or self.item.state
        return b""

    def cited(self, event: n.CitationDelta) -> bytes:
        """Return the event of a source of the open text."""
        item = self.item
        if item is None or item.kind != "text":
            return b""
        if not self.hold(HELD_BLOCK + held_bytes(event.citation.url) + held_bytes(event.citation.title)):
            return self.failure(TOO_LONG)
        place = {**self.place(), "content_index": 0, "annotation_index": len(item.citations)}
        item.citations.append(event.citation)
        shown = annotation(event.citation, 0, item.length)
        return self.event("response.output_text.annotation.added", {**place, "annotation": shown})

    def block_end(self, event: n.BlockEnd) -> bytes:  # one item is open at a time
        """Return the end of the open item."""
        item = self.item
        if item is None:
            return b""
        match item.kind:
            case "text":
                done = message_item(item.id, item.text, tuple(item.citations), tuple(item.logprobs))
                found, part = b"", done["content"][0]  # type: ignore[index]
                members: Json = {**self.place(), "content_index": 0}
                found += self.event(
                    "response.output_text.done", {**members, "text": item.text, "logprobs": write_event(item.logprobs)}
                )
                found += self.event("response.content_part.done", {**members, "part": part})
            case "call":
                done, found = self.call_done(item)
            case _:
                if not item.pieces and not item.state:
                    self.item = None
                    return b""
                done, found = self.reasoning_done(item)
        found += self.event("response.output_item.done", {"output_index": len(self.output), "item": done})
        self.output.append(done)
        self.held += held_bytes(item.text) - item.held  # the pieces are one text now
        self.item = None
        return found

    def call_done(self, item: _OpenItem) -> tuple[Json, bytes]:
        """Return a finished call and its last events."""
        assert item.call
        call = n.ToolCall(item.call.id, item.call.name, item.text)
        done = call_item(item.id, call, self.reply)
        missing = b""
        if "arguments" in done:
            # Exactly what came in pieces: SDKs compare them.
            if not item.text.strip():
                item.pieces.append("{}")
                missing = self.event("response.function_call_arguments.delta", {**self.place(), "delta": "{}"})
            done["arguments"] = item.text
        if "input" in done:
            text = done["input"]
            delta = self.event("response.custom_tool_call_input.delta", {**self.place(), "delta": text})
            return done, delta + self.event("response.custom_tool_call_input.done", {**self.place(), "input": text})
        members: Json = {**self.place(), "name": done["name"], "arguments": done["arguments"]}
        return done, missing + self.event("response.function_call_arguments.done", members)

    def reasoning_done(self, item: _OpenItem) -> tuple[Json, bytes]:
        """Return finished reasoning and its last events."""
        done = reasoning_item(item.id, item.text or None, item.state or self.reply.unsigned_mark)
        found = b"" if item.announced else self.added(reasoning_item(item.id, None, None))
        if item.pieces:
            members: Json = {**self.place(), "summary_index": 0}
            part: Json = {"type": "summary_text", "text": item.text}
            found += self.event("response.reasoning_summary_text.done", {**members, "text": item.text})
            found += self.event("response.reasoning_summary_part.done", {**members, "part": part})
        return done, found

    def failure(self, event: n.ProviderError) -> bytes:
        """Return the error, and the failed response."""
        self.failed = True
        found = error(event)[1]["error"]
        assert isinstance(found, dict)
        members: Json = {"code": found["code"], "message": found["message"], "param": None}
        response = {
            **self.head, "status": "failed", "output": self.output,
            "error": {"code": found["code"] or "server_error", "message": found["message"]},
        }  # fmt: skip
        return self.event("error", members) + self.event("response.failed", {"response": response})

    def end(self) -> bytes:
        """Return the last event, with the whole response."""
        stop = self.stop_event or n.Stop(n.Finish.OTHER)
        response = finished(self.head, self.output, stop.finish, self.usage)
        return self.event(f"response.{response['status']}", {"response": response})
