"""Reads responses of OpenAI's Chat Completions, whole and streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from wirekey.features.translation import neutral as n
from wirekey.features.translation.citations import openai_citations
from wirekey.features.translation.failures import TOO_LONG, TRUNCATED, failure_of_event
from wirekey.features.translation.framing import SseEvents, read_object
from wirekey.features.translation.logprobs import read_openai
from wirekey.features.translation.reply import finish_with_calls

if TYPE_CHECKING:
    from collections.abc import Iterator

_FINISH = {
    "stop": n.Finish.END,
    "length": n.Finish.LIMIT,
    "tool_calls": n.Finish.CALLS,
    "function_call": n.Finish.CALLS,
    "content_filter": n.Finish.FILTERED,
}


def read_usage(usage: object) -> n.TokenUsage:
    """Return the tokens of a `usage` member."""
    return n.TokenUsage(
        input=n.token_count(usage, "prompt_tokens"),
        cached=n.token_count(usage, "prompt_tokens_details", "cached_tokens"),
        written=n.token_count(usage, "prompt_tokens_details", "cache_write_tokens"),
        output=n.token_count(usage, "completion_tokens"),
        reasoning=n.token_count(usage, "completion_tokens_details", "reasoning_tokens"),
        input_audio=n.token_count(usage, "prompt_tokens_details", "audio_tokens"),
        output_audio=n.token_count(usage, "completion_tokens_details", "audio_tokens"),
    )


def read_response(data: bytes) -> n.Answer:
    """Return a whole response in the neutral form. Raises msgspec.DecodeError if it cannot be read."""
    body = msgspec.json.decode(data, type=dict[str, Any])
    choices = [_choice(choice) for choice in body.get("choices") or [] if isinstance(choice, dict)]
    blocks, finish = choices[0] if choices else ((), n.Finish.OTHER)
    return n.Answer(
        body.get("id"), body.get("model"), blocks, finish, read_usage(body.get("usage")), others=tuple(choices[1:])
    )


def _choice(choice: dict[str, Any]) -> tuple[tuple[Any, ...], n.Finish]:
    message = choice.get("message") or {}
    blocks: list[Any] = []
    said, text = _content(message.get("content"))
    thoughts = message.get("reasoning_content") or message.get("reasoning") or said
    if thoughts and isinstance(thoughts, str):
        blocks.append(n.Reasoning(thoughts))
    refusal = message.get("refusal")
    if text:
        cited, tokens = openai_citations(message.get("annotations")), _logprobs(choice)
        blocks.append(n.Text(text, annotations=cited, logprobs=tokens))
    if refusal:
        blocks.append(n.Text(refusal))
    calls = message.get("tool_calls") or []
    if legacy := message.get("function_call"):
        calls = [{"id": "", "function": legacy}]
    for call in calls:
        function = call.get("function") or {}
        blocks.append(n.ToolCall(call.get("id") or "", function.get("name") or "", function.get("arguments") or ""))
    finish = _FINISH.get(choice.get("finish_reason") or "", n.Finish.OTHER)
    return tuple(blocks), n.Finish.FILTERED if refusal else finish_with_calls(finish, blocks)


def _logprobs(choice: dict[str, Any]) -> tuple[n.TokenLogprob, ...]:
    found = choice.get("logprobs")
    return read_openai(found.get("content")) if isinstance(found, dict) else ()


def _content(content: object) -> tuple[str, str]:
    """Return the thoughts and the text of a content: a text, or a list of parts, as some servers have it."""
    if isinstance(content, str):
        return "", content
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    thoughts = (_content(part.get("thinking"))[1] for part in parts if part.get("type") == "thinking")
    return "".join(thoughts), "".join(text for part in parts if isinstance(text := part.get("text"), str))


class _TextDelta(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    content: str


class _TextChoice(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    delta: _TextDelta
    index: Literal[0] = 0
    logprobs: None = None
    finish_reason: None = None


class _TextChunk(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A chunk with a piece of text, and no member but these."""

    choices: tuple[_TextChoice]
    id: str | None = None
    object: str | None = None
    created: int | None = None
    model: str | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None
    obfuscation: str | None = None
    usage: None = None


_TEXT_CHUNK = msgspec.json.Decoder(_TextChunk)


class ChatEventReader:
    """Reads the events of a stream. Blocks may interleave: text and each call have an index of their own."""

    def __init__(self) -> None:
        self.frames = SseEvents()
        self.begun = False
        self.open: dict[tuple[str, int], int] = {}
        self.next_index = 0
        self.finish: str | None = None
        self.refused = False
        self.calls = False
        self.stopped = False
        self.done = False

    def text_of(self, data: bytes) -> n.Delta | None:
        """Return the event of bytes that are one whole chunk with text and nothing else."""
        index = self.open.get(("text", 0))
        if index is None or ("reasoning", 0) in self.open or (found := self.frames.only_event(data)) is None:
            return None
        try:
            text = _TEXT_CHUNK.decode(found).choices[0].delta.content
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        return n.Delta(index, text) if text else None

    def feed(self, data: bytes) -> Iterator[n.Event]:
        """Yield the events that the next bytes complete."""
        self.frames.feed(data)
        return self._read()

    def end(self) -> Iterator[n.Event]:
        """Yield the last events of a stream that ended cleanly."""
        self.frames.end()
        yield from self._read()
        if not self.done:
            yield from self._finish() if self.finish is not None else self._fail(TRUNCATED)

    def _read(self) -> Iterator[n.Event]:
        for data in self.frames.take():
            if self.done:
                break
            if data.strip() == b"[DONE]":
                yield from self._finish() if self.finish is not None else self._fail(TRUNCATED)
                break
            yield from self._chunk(read_object(data))
        if self.frames.broken and not self.done:
            yield from self._fail(TOO_LONG)

    def _fail(self, failure: n.Event) -> list[n.Event]:
        self.done = True
        return [failure]

    def _chunk(self, chunk: dict[str, Any]) -> list[n.Event]:
        error = chunk if chunk.get("object") == "error" else chunk.get("error")
        if isinstance(error, dict):
            return self._fail(failure_of_event("openai.chat", error))
        found: list[n.Event] = []
        if not self.begun and ("choices" in chunk or "usage" in chunk):
            self.begun = True
            found.append(n.Begin(chunk.get("id"), chunk.get("model")))
        for choice in chunk.get("choices") or []:
            if isinstance(choice, dict) and not choice.get("index"):
                found += self._delta(choice.get("delta") or {}, _logprobs(choice))
                self.finish = choice.get("finish_reason") or self.finish
        usage = read_usage(chunk.get("usage"))
        if usage != n.TokenUsage():
            found.append(n.UsageUpdate(usage))
        return found

    def _delta(self, delta: dict[str, Any], logprobs: tuple[n.TokenLogprob, ...]) -> list[n.Event]:
        found: list[n.Event] = []
        said, text = _content(delta.get("content"))
        thoughts = delta.get("reasoning_content") or delta.get("reasoning") or said
        if isinstance(thoughts, str) and thoughts:
            found += self._text("reasoning", thoughts)
        if text:
            found += self._text("text", text, logprobs)
        if isinstance(refusal := delta.get("refusal"), str) and refusal:
            self.refused = True
            found += self._text("text", refusal, logprobs)
        if ("text", 0) in self.open:
            cited = openai_citations(delta.get("annotations"))
            found += [n.CitationDelta(self.open["text", 0], one) for one in cited]
        calls = delta.get("tool_calls") or []
        if legacy := delta.get("function_call"):
            calls = [{"index": 0, "function": legacy}]
        for call in calls:
            found += self._call(call)
        return found

    def _text(self, kind: Any, text: str, logprobs: tuple[n.TokenLogprob, ...] = ()) -> list[n.Event]:
        found: list[n.Event] = []
        other = ("text" if kind == "reasoning" else "reasoning", 0)
        if other in self.open:
            found.append(n.BlockEnd(self.open.pop(other)))
        if (kind, 0) not in self.open:
            self.open[kind, 0] = self.next_index
            self.next_index += 1
            found.append(n.BlockBegin(self.open[kind, 0], kind))
        found.append(n.Delta(self.open[kind, 0], text, logprobs))
        return found

    def _call(self, call: dict[str, Any]) -> list[n.Event]:
        found: list[n.Event] = [
            n.BlockEnd(self.open.pop(key)) for key in (("reasoning", 0), ("text", 0)) if key in self.open
        ]
        function = call.get("function") or {}
        key = ("call", call.get("index") or 0)
        if key not in self.open:
            self.calls = True
            self.open[key] = self.next_index
            self.next_index += 1
            found.append(n.BlockBegin(self.open[key], "call", call.get("id") or "", function.get("name") or ""))
        if arguments := function.get("arguments"):
            found.append(n.Delta(self.open[key], arguments))
        return found

    def _finish(self) -> list[n.Event]:
        self.done = True
        found: list[n.Event] = [n.BlockEnd(index) for index in self.open.values()]
        finish = _FINISH.get(self.finish or "", n.Finish.OTHER)
        if self.refused:
            finish = n.Finish.FILTERED
        elif self.calls and finish in {n.Finish.END, n.Finish.OTHER}:
            finish = n.Finish.CALLS
        return [*found, n.Stop(finish, native=self.finish), n.End()]
