"""Reads responses of OpenAI's Responses, whole and streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from wirekey.translation.citations import openai_citations
from wirekey.translation.failures import TOO_LONG, TRUNCATED, failure_of_event
from wirekey.translation.framing import SseEvents, read_object
from wirekey.translation.logprobs import read_openai
from wirekey.translation.neutral import (
    Answer,
    Begin,
    BlockBegin,
    BlockEnd,
    CitationDelta,
    Delta,
    End,
    Event,
    Finish,
    Format,
    ModelMaker,
    ProviderError,
    Reasoning,
    StateDelta,
    Stop,
    Text,
    TokenUsage,
    ToolCall,
    UsageUpdate,
    token_count,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_INCOMPLETE = {"max_output_tokens": Finish.LIMIT, "content_filter": Finish.FILTERED}


def read_usage(usage: object) -> TokenUsage:
    """Return the tokens of a `usage` member."""
    return TokenUsage(
        token_count(usage, "input_tokens"),
        token_count(usage, "input_tokens_details", "cached_tokens"),
        token_count(usage, "input_tokens_details", "cache_write_tokens"),
        token_count(usage, "output_tokens"),
        token_count(usage, "output_tokens_details", "reasoning_tokens"),
    )


def read_response(data: bytes) -> Answer | ProviderError:
    """Return a whole response in the neutral form, or the error that it holds. Raises msgspec.DecodeError."""
    body = msgspec.json.decode(data, type=dict[str, Any])
    if body.get("status") == "failed":
        return failure_of_event(Format.RESPONSES, body.get("error") or {})
    blocks: list[Any] = []
    refused = False
    for item in body.get("output") or []:
        found, refusal = _item(item)
        blocks += found
        refused = refused or refusal
    finish = _finish(body, calls=any(isinstance(block, ToolCall) for block in blocks), refused=refused)
    return Answer(body.get("id"), body.get("model"), tuple(blocks), finish, read_usage(body.get("usage")))


def _finish(body: dict[str, Any], *, calls: bool, refused: bool) -> Finish:
    if body.get("status") == "incomplete":
        reason = (body.get("incomplete_details") or {}).get("reason") or ""
        return _INCOMPLETE.get(reason, Finish.OTHER)
    if refused:
        return Finish.FILTERED
    return Finish.CALLS if calls else Finish.END


def _item(item: dict[str, Any]) -> tuple[list[Any], bool]:
    match item.get("type"):
        case "message":
            blocks, refused = [], False
            for part in item.get("content") or []:
                if part.get("type") == "refusal":
                    refused = True
                    blocks.append(Text(part.get("refusal") or ""))
                elif part.get("type") == "output_text":
                    cited, tokens = openai_citations(part.get("annotations")), read_openai(part.get("logprobs"))
                    blocks.append(Text(part.get("text") or "", annotations=cited, logprobs=tokens))
            return blocks, refused
        case "function_call":
            return [ToolCall(item.get("call_id") or "", item.get("name") or "", item.get("arguments") or "")], False
        case "reasoning":
            return [_reasoning(item)], False
    return [], False


def _reasoning(item: dict[str, Any]) -> Reasoning:
    text = "\n\n".join(part.get("text") or "" for part in item.get("summary") or [])
    return Reasoning(text or None, item.get("encrypted_content"), ModelMaker.OPENAI, item=item.get("id"))


class _TextEvent(
    msgspec.Struct, tag_field="type", tag="response.output_text.delta", forbid_unknown_fields=True, gc=False
):
    """An event with a piece of text, and no member but these."""

    delta: str
    output_index: int
    content_index: int
    item_id: str | None = None
    sequence_number: int | None = None
    logprobs: tuple[()] | None = None
    obfuscation: str | None = None


_TEXT_EVENT = msgspec.json.Decoder(_TextEvent)


class ResponsesEventReader:
    """Reads the events of a stream. The index of an item and of its part make the index of a block."""

    def __init__(self) -> None:
        self.frames = SseEvents()
        self.blocks: dict[tuple[int, int], int] = {}
        self.next_index = 0
        self.calls = False
        self.refused = False
        self.done = False

    def text_of(self, data: bytes) -> Delta | None:
        """Return the event of bytes that are one whole event with text and nothing else."""
        if (found := self.frames.only_event(data)) is None:
            return None
        try:
            event = _TEXT_EVENT.decode(found)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        index = self.blocks.get((event.output_index, event.content_index))
        return Delta(index, event.delta) if event.delta and index is not None else None

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield the events that the next bytes complete."""
        self.frames.feed(data)
        return self._read()

    def end(self) -> Iterator[Event]:
        """Yield the last events of a stream that ended cleanly."""
        self.frames.end()
        yield from self._read()
        if not self.done:
            self.done = True
            yield TRUNCATED

    def _read(self) -> Iterator[Event]:
        for data in self.frames.take():
            if self.done:
                break
            yield from self._event(read_object(data))
        if self.frames.broken and not self.done:
            self.done = True
            yield TOO_LONG

    def _event(self, event: dict[str, Any]) -> list[Event]:
        item, part = event.get("output_index") or 0, event.get("content_index") or 0
        match event.get("type"):
            case "response.created":
                response = event.get("response") or {}
                return [Begin(response.get("id"), response.get("model"))]
            case "response.output_item.added":
                added = event.get("item") or {}
                if added.get("type") == "function_call":
                    self.calls = True
                    return self._begin((item, 0), "call", added.get("call_id") or "", added.get("name") or "")
                return self._begin((item, 0), "reasoning") if added.get("type") == "reasoning" else []
            case "response.output_text.delta" | "response.refusal.delta":
                self.refused = self.refused or event["type"] == "response.refusal.delta"
                return [*self._begin((item, part), "text"), *self._delta((item, part), event)]
            case "response.reasoning_summary_text.delta" | "response.function_call_arguments.delta":
                return self._delta((item, 0), event)
            case "response.reasoning_summary_part.added" if event.get("summary_index"):
                return self._delta((item, 0), {"delta": "\n\n"})
            case "response.output_text.annotation.added" if (item, part) in self.blocks:
                cited = openai_citations([event.get("annotation")])
                return [CitationDelta(self.blocks[item, part], one) for one in cited]
            case "response.content_part.done":
                return self._end((item, part))
            case "response.output_item.done":
                return self._item_done(item, event.get("item") or {})
            case "response.completed" | "response.incomplete":
                return self._finish(event.get("response") or {})
            case "response.failed":
                self.done = True
                return [failure_of_event(Format.RESPONSES, (event.get("response") or {}).get("error") or {})]
            case "error":
                self.done = True
                return [failure_of_event(Format.RESPONSES, event.get("error") or event)]
        return []

    def _begin(self, key: tuple[int, int], kind: Any, call: str | None = None, name: str | None = None) -> list[Event]:
        if key in self.blocks:
            return []
        self.blocks[key] = self.next_index
        self.next_index += 1
        return [BlockBegin(self.blocks[key], kind, call, name)]

    def _delta(self, key: tuple[int, int], event: dict[str, Any]) -> list[Event]:
        text = event.get("delta")
        if key not in self.blocks or not isinstance(text, str) or not text:
            return []
        return [Delta(self.blocks[key], text, read_openai(event.get("logprobs")))]

    def _item_done(self, item: int, done: dict[str, Any]) -> list[Event]:
        found: list[Event] = []
        if done.get("type") == "reasoning" and (item, 0) in self.blocks and done.get("encrypted_content"):
            found.append(StateDelta(self.blocks[item, 0], _reasoning(done)))
        for key in [key for key in self.blocks if key[0] == item]:
            found += self._end(key)
        return found

    def _end(self, key: tuple[int, int]) -> list[Event]:
        index = self.blocks.pop(key, None)
        return [] if index is None else [BlockEnd(index)]

    def _finish(self, response: dict[str, Any]) -> list[Event]:
        self.done = True
        usage = UsageUpdate(read_usage(response.get("usage")))
        ends: list[Event] = [BlockEnd(index) for index in self.blocks.values()]
        return [*ends, usage, Stop(_finish(response, calls=self.calls, refused=self.refused)), End()]
