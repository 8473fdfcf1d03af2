"""Reads responses of Gemini's generateContent, whole and streamed. A stream is a series of whole responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from wirekey.core.metering.lenient_json import decode_leniently
from wirekey.features.translation import neutral as n
from wirekey.features.translation.citations import grounding_citations
from wirekey.features.translation.failures import GENERATED, TOO_LONG, TRUNCATED, failure_of_event
from wirekey.features.translation.framing import SseEvents
from wirekey.features.translation.logprobs import read_google
from wirekey.features.translation.reply import finish_with_calls

if TYPE_CHECKING:
    from collections.abc import Iterator

_FILTERED = (
    "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "NO_IMAGE",
)  # fmt: skip
_FINISH = {"STOP": n.Finish.END, "MAX_TOKENS": n.Finish.LIMIT, **dict.fromkeys(_FILTERED, n.Finish.FILTERED)}


class _FunctionCall(msgspec.Struct):
    name: str
    id: str | None = None
    args: Raw = Raw(b"{}")  # never decoded, so that its numbers keep their digits


class _Blob(msgspec.Struct, rename="camel"):
    mime_type: str = ""
    data: str = ""


class _Part(msgspec.Struct, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: _FunctionCall | None = None
    inline_data: _Blob | None = None


class _Content(msgspec.Struct):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None
    index: int | None = None
    grounding_metadata: dict[str, Any] | None = None
    logprobs_result: dict[str, Any] | None = None


class _Response(msgspec.Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    prompt_feedback: dict[str, Any] | None = None
    usage_metadata: dict[str, Any] | None = None
    model_version: str | None = None
    response_id: str | None = None
    error: dict[str, Any] | None = None


_DECODER = msgspec.json.Decoder(_Response)
_EVENT_DECODER: msgspec.json.Decoder[_Response | None] = msgspec.json.Decoder(_Response | None)


def read_usage(usage: dict[str, Any] | None) -> n.TokenUsage:
    """Return the tokens of `usageMetadata`. Some models count their thoughts among the candidates' tokens already."""
    prompt, candidates = n.token_count(usage, "promptTokenCount"), n.token_count(usage, "candidatesTokenCount")
    thoughts, total = n.token_count(usage, "thoughtsTokenCount"), n.token_count(usage, "totalTokenCount")
    tools = n.token_count(usage, "toolUsePromptTokenCount") or 0
    inside = thoughts and total is not None and total == (prompt or 0) + tools + (candidates or 0)
    output = None
    if candidates is not None or thoughts is not None:
        output = (candidates or 0) + (0 if inside else thoughts or 0)
    return n.TokenUsage(
        input=None if prompt is None else prompt + tools,
        cached=n.token_count(usage, "cachedContentTokenCount"),
        output=output,
        reasoning=thoughts,
        input_audio=_audio(usage, "promptTokensDetails", "toolUsePromptTokensDetails"),
        output_audio=_audio(usage, "candidatesTokensDetails"),
    )


def _audio(usage: object, *names: str) -> int | None:
    """Return the tokens of audio in these lists of tokens by modality. None: they name no audio."""
    lists = [usage.get(name) for name in names] if isinstance(usage, dict) else []
    parts = [part for found in lists if isinstance(found, list) for part in found if isinstance(part, dict)]
    counts = [n.token_count(part, "tokenCount") for part in parts if part.get("modality") == "AUDIO"]
    return sum(count or 0 for count in counts) if counts else None


def read_response(data: bytes) -> n.Answer:
    """Return a whole response in the neutral form. Raises msgspec.DecodeError if it cannot be read."""
    body = _DECODER.decode(data)
    choices = [_choice(candidate) for candidate in body.candidates or []]
    if choices:
        blocks, finish, native = choices[0]
    elif body.prompt_feedback and body.prompt_feedback.get("blockReason"):
        blocks, finish, native = (), n.Finish.FILTERED, str(body.prompt_feedback["blockReason"])
    else:
        blocks, finish, native = (), n.Finish.OTHER, ""
    others = tuple((found, reason) for found, reason, _ in choices[1:])
    usage = read_usage(body.usage_metadata)
    return n.Answer(body.response_id, body.model_version, blocks, finish, usage, native_finish=native, others=others)


def _choice(candidate: _Candidate) -> tuple[tuple[Any, ...], n.Finish, str]:
    blocks: list[Any] = []
    for part in (candidate.content.parts if candidate.content else None) or []:
        state = part.thought_signature
        if part.text is not None and part.thought:
            blocks.append(n.Reasoning(part.text, state, n.ModelMaker.GEMINI))
            continue
        if state:
            attached = "call" if part.function_call else "text"
            blocks.append(n.Reasoning(None, state, n.ModelMaker.GEMINI, attached=attached))  # type: ignore[arg-type]
        if part.function_call:
            blocks.append(_call(part.function_call))
        elif part.inline_data:
            blocks.append(n.Media("image", part.inline_data.mime_type, data=part.inline_data.data))
        elif part.text:
            blocks.append(n.Text(part.text))
    reason = candidate.finish_reason or ""
    merged = _texts_joined(blocks)
    last = next((at for at in reversed(range(len(merged))) if isinstance(merged[at], n.Text)), None)
    if candidate.grounding_metadata and last is not None:
        text = merged[last].text
        merged[last] = n.Text(text, annotations=grounding_citations(candidate.grounding_metadata, text))
    if candidate.logprobs_result and last is not None:
        merged[last] = replace(merged[last], logprobs=read_google(candidate.logprobs_result))
    return tuple(merged), finish_with_calls(_FINISH.get(reason, n.Finish.OTHER), merged), reason


def _texts_joined(blocks: list[Any]) -> list[Any]:
    found: list[Any] = []
    for block in blocks:
        if isinstance(block, n.Text) and found and isinstance(found[-1], n.Text):
            found[-1] = n.Text(found[-1].text + block.text)
        else:
            found.append(block)
    return found


def _call(call: _FunctionCall) -> n.ToolCall:
    return n.ToolCall(call.id or "", call.name, bytes(call.args).decode())


class GeminiEventReader:
    """Reads the responses of a stream. A change of the kind of part begins a block; a call is a block of its own."""

    def __init__(self) -> None:
        self.frames = SseEvents()
        self.begun = False
        self.kind: str | None = None
        self.index = -1
        self.calls = False
        self.finish: str | None = None
        self.blocked = False
        self.done = False

    def text_of(self, data: bytes) -> None:
        """Return None: each chunk also has token counts."""

    def feed(self, data: bytes) -> Iterator[n.Event]:
        """Yield the events that the next bytes complete."""
        self.frames.feed(data)
        return self._read()

    def end(self) -> Iterator[n.Event]:
        """Yield the last events of a stream that ended cleanly."""
        self.frames.end()
        yield from self._read()
        if self.done:
            return
        self.done = True
        if self.finish is None and not self.blocked:
            yield TRUNCATED
            return
        finish = n.Finish.FILTERED if self.blocked else _FINISH.get(self.finish or "", n.Finish.OTHER)
        if self.calls and finish in {n.Finish.END, n.Finish.OTHER}:
            finish = n.Finish.CALLS
        yield from (*self._close(), n.Stop(finish, native=self.finish), n.End())

    def _read(self) -> Iterator[n.Event]:
        for data in self.frames.take():
            if self.done:
                break
            chunk = decode_leniently(_EVENT_DECODER, data)
            if chunk is None:
                continue
            if chunk.error is not None:
                self.done = True
                yield failure_of_event("gemini", chunk.error)
                return
            yield from self._chunk(chunk)
        if self.frames.broken and not self.done:
            self.done = True
            yield TOO_LONG

    def _chunk(self, chunk: _Response) -> list[n.Event]:
        found: list[n.Event] = []
        if not self.begun:
            self.begun = True
            found.append(n.Begin(chunk.response_id, chunk.model_version))
        if chunk.prompt_feedback and chunk.prompt_feedback.get("blockReason"):
            self.blocked = True
        for candidate in chunk.candidates or []:
            if candidate.index:
                continue
            logprobs = read_google(candidate.logprobs_result)
            for part in (candidate.content.parts if candidate.content else None) or []:
                found += self._part(part, logprobs)
                logprobs = logprobs if part.thought or not part.text else ()
                if self.done:
                    return found
            if candidate.grounding_metadata and self.kind == "text":
                cited = grounding_citations(candidate.grounding_metadata)
                found += [n.CitationDelta(self.index, one) for one in cited]
            self.finish = candidate.finish_reason or self.finish
        usage = read_usage(chunk.usage_metadata)
        if usage != n.TokenUsage():
            found.append(n.UsageUpdate(usage))
        return found

    def _part(self, part: _Part, logprobs: tuple[n.TokenLogprob, ...]) -> list[n.Event]:
        state = part.thought_signature
        if part.function_call:
            self.calls = True
            found = self._close()
            if state:
                found += self._state(n.Reasoning(None, state, n.ModelMaker.GEMINI, attached="call"))
            call = _call(part.function_call)
            self.index += 1
            found.append(n.BlockBegin(self.index, "call", call.id, call.name))
            return [*found, n.Delta(self.index, call.arguments), n.BlockEnd(self.index)]
        if part.inline_data:
            self.done = True
            return [*self._close(), GENERATED]
        kind = "reasoning" if part.thought else "text"
        found = []
        if state and not part.thought:
            found += [*self._close(), *self._state(n.Reasoning(None, state, n.ModelMaker.GEMINI, attached="text"))]
        if part.text:
            if self.kind != kind:
                found += self._close()
                self.index += 1
                self.kind = kind
                found.append(n.BlockBegin(self.index, kind))  # type: ignore[arg-type]
            found.append(n.Delta(self.index, part.text, () if part.thought else logprobs))
        if state and part.thought and self.kind == "reasoning":
            found.append(n.StateDelta(self.index, n.Reasoning(part.text, state, n.ModelMaker.GEMINI)))
        return found

    def _state(self, reasoning: n.Reasoning) -> list[n.Event]:
        self.index += 1
        return [n.BlockBegin(self.index, "reasoning"), n.StateDelta(self.index, reasoning), n.BlockEnd(self.index)]

    def _close(self) -> list[n.Event]:
        if self.kind is None:
            return []
        self.kind = None
        return [n.BlockEnd(self.index)]
