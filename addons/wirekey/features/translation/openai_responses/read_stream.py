"""Reads the stream of a response of OpenAI's Responses.

A part may come in pieces, in the event that it is done, in that of its item, or only in the last event: servers differ.
Each part is read once.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from wirekey.features.translation import neutral as n
from wirekey.features.translation.citations import openai_citations
from wirekey.features.translation.failures import TOO_LONG, TRUNCATED, failure_of_event
from wirekey.features.translation.framing import SseEvents, read_object
from wirekey.features.translation.logprobs import read_openai
from wirekey.features.translation.openai_responses.read_response import (
    finish_of,
    read_reasoning,
    read_usage,
    summary_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

type Key = tuple[int, int]
"""The index of an item, and of a part within it."""


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


@dataclass(slots=True)
class _OpenPart:
    """A part that is not done: the index of its block, and what of it was read."""

    index: int
    length: int = 0
    checksum: int = 0
    citations: int = 0

    def add(self, text: str) -> None:
        """Note a piece."""
        self.length += len(text)
        self.checksum = zlib.crc32(text.encode("utf-8", "surrogatepass"), self.checksum)

    def rest_of(self, text: str) -> str:
        """Return what is missing of the whole text. It is nothing if the pieces were not its beginning."""
        read = text[: self.length].encode("utf-8", "surrogatepass")
        return text[self.length :] if zlib.crc32(read) == self.checksum else ""


class _DoneItems:
    """The items that are done. All before the first open one count as one number."""

    def __init__(self) -> None:
        self.before = 0
        self.others: set[int] = set()

    def __contains__(self, item: int) -> bool:
        return item < self.before or item in self.others

    def add(self, item: int) -> None:
        """Note an item as done."""
        self.others.add(item)
        while self.before in self.others:
            self.others.remove(self.before)
            self.before += 1


class ResponsesEventReader:
    """Reads the events of a stream. The index of an item and of its part make the index of a block."""

    def __init__(self) -> None:
        self.frames = SseEvents()
        self.parts: dict[Key, _OpenPart] = {}
        self.done_parts: set[Key] = set()
        """Parts that are done, of items that are not."""
        self.done_items = _DoneItems()
        self.next_index = 0
        self.calls = False
        self.refused = False
        self.done = False

    def text_of(self, data: bytes) -> n.Delta | None:
        """Return the event of bytes that are one whole event with text and nothing else."""
        if (found := self.frames.only_event(data)) is None:
            return None
        try:
            event = _TEXT_EVENT.decode(found)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        part = self.parts.get((event.output_index, event.content_index))
        if part is None or not event.delta:
            return None
        part.add(event.delta)
        return n.Delta(part.index, event.delta)

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
        for data in self.frames.take():
            if self.done:
                break
            yield from self._event(read_object(data))
        if self.frames.broken and not self.done:
            self.done = True
            yield TOO_LONG

    def _event(self, event: dict[str, Any]) -> list[n.Event]:
        item, part = event.get("output_index") or 0, event.get("content_index") or 0
        match event.get("type"):
            case "response.created":
                response = event.get("response") or {}
                return [n.Begin(response.get("id"), response.get("model"))]
            case "response.output_item.added":
                return self._added(item, event.get("item") or {})
            case "response.output_text.delta" | "response.refusal.delta":
                self.refused = self.refused or event["type"] == "response.refusal.delta"
                return [*self._begin((item, part), "text"), *self._delta((item, part), event)]
            case "response.output_text.done" | "response.refusal.done":
                return self._text((item, part), event)
            case "response.reasoning_summary_text.delta" | "response.function_call_arguments.delta":
                return self._delta((item, 0), event)
            case "response.function_call_arguments.done" if (item, 0) in self.parts:
                return self._rest((item, 0), event.get("arguments"))
            case "response.reasoning_summary_part.added" if event.get("summary_index"):
                return self._delta((item, 0), {"delta": "\n\n"})
            case "response.output_text.annotation.added" if (item, part) in self.parts:
                return self._cited((item, part), [event.get("annotation")])
            case "response.content_part.done":
                return self._part_done((item, part), event.get("part") or {})
            case "response.output_item.done":
                return self._item_done(item, event.get("item") or {})
            case "response.completed" | "response.incomplete":
                return self._finish(event.get("response") or {})
            case "response.failed":
                self.done = True
                return [failure_of_event("openai.responses", (event.get("response") or {}).get("error") or {})]
            case "error":
                self.done = True
                return [failure_of_event("openai.responses", event.get("error") or event)]
        return []

    def _added(self, item: int, added: dict[str, Any]) -> list[n.Event]:
        if item in self.done_items:
            return []
        if added.get("type") == "function_call":
            return self._begin((item, 0), "call", added.get("call_id") or "", added.get("name") or "")
        return self._begin((item, 0), "reasoning") if added.get("type") == "reasoning" else []

    def _begin(self, key: Key, kind: Any, call: str | None = None, name: str | None = None) -> list[n.Event]:
        if key in self.parts:
            return []
        self.calls = self.calls or kind == "call"
        self.parts[key] = _OpenPart(self.next_index)
        self.next_index += 1
        return [n.BlockBegin(self.parts[key].index, kind, call, name)]

    def _delta(self, key: Key, event: dict[str, Any]) -> list[n.Event]:
        text = event.get("delta")
        if key not in self.parts or not isinstance(text, str) or not text:
            return []
        self.parts[key].add(text)
        return [n.Delta(self.parts[key].index, text, read_openai(event.get("logprobs")))]

    def _rest(self, key: Key, text: Any, logprobs: Any = None) -> list[n.Event]:
        """Return what is missing of an open part whose whole text is known."""
        part = self.parts[key]
        rest = part.rest_of(text) if isinstance(text, str) else ""
        if not rest:
            return []
        tokens = read_openai(logprobs) if not part.length else ()
        part.add(rest)
        return [n.Delta(part.index, rest, tokens)]

    def _text(self, key: Key, part: dict[str, Any]) -> list[n.Event]:
        """Return what is missing of a text or of a refusal in words."""
        text = part.get("text") or part.get("refusal")
        if key in self.done_parts or not isinstance(text, str) or not text:
            return []
        self.refused = self.refused or "refusal" in part
        return [*self._begin(key, "text"), *self._rest(key, text, part.get("logprobs"))]

    def _cited(self, key: Key, annotations: Any) -> list[n.Event]:
        part, cited = self.parts[key], openai_citations(annotations)
        part.citations += len(cited)
        return [n.CitationDelta(part.index, one) for one in cited]

    def _part_done(self, key: Key, part: dict[str, Any]) -> list[n.Event]:
        found = self._text(key, part)
        if key in self.parts:
            annotations = part.get("annotations")
            known = self.parts[key].citations
            found += self._cited(key, annotations[known:] if isinstance(annotations, list) else [])
            found += self._end(key)
            self.done_parts.add(key)
        return found

    def _item_done(self, item: int, done: dict[str, Any]) -> list[n.Event]:
        if item in self.done_items:
            return []
        found: list[n.Event] = []
        match done.get("type"):
            case "message":
                for number, part in enumerate(done.get("content") or []):
                    found += self._part_done((item, number), part)
            case "function_call":
                found = self._begin((item, 0), "call", done.get("call_id") or "", done.get("name") or "")
                found += self._rest((item, 0), done.get("arguments"))
            case "reasoning":
                found = self._begin((item, 0), "reasoning")
                found += self._rest((item, 0), summary_of(done))
                if done.get("encrypted_content"):
                    found.append(n.StateDelta(self.parts[item, 0].index, read_reasoning(done)))
        for key in [key for key in self.parts if key[0] == item]:
            found += self._end(key)
        self.done_parts = {key for key in self.done_parts if key[0] != item}
        self.done_items.add(item)
        return found

    def _end(self, key: Key) -> list[n.Event]:
        part = self.parts.pop(key, None)
        return [] if part is None else [n.BlockEnd(part.index)]

    def _finish(self, response: dict[str, Any]) -> list[n.Event]:
        found = [
            event for item, done in enumerate(response.get("output") or []) for event in self._item_done(item, done)
        ]
        self.done = True
        found += [n.BlockEnd(part.index) for part in self.parts.values()]
        stop = n.Stop(finish_of(response, calls=self.calls, refused=self.refused))
        return [*found, n.UsageUpdate(read_usage(response.get("usage"))), stop, n.End()]
