"""Reads the text that a model said from the bytes of a whole response, streamed or not.

Only a response of text alone is a turn that a later request can be cut behind. One with a call of a tool is followed by
the result, which is never parted from it, so it is not read.
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, Any

import msgspec

from wirekey.core.metering.eventstream import EventStreamReader, read_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_decode = msgspec.json.Decoder().decode
_MALFORMED = (
    msgspec.MsgspecError, binascii.Error, AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError
)  # fmt: skip

ENDS = frozenset(
    {
        *("stop", "length"),  # OpenAI
        *("STOP", "MAX_TOKENS"),  # Gemini
        *("end_turn", "stop_sequence", "max_tokens"),  # Anthropic, Converse, Nova
    }
)
"""Finish reasons of a response from which the conversation continues. A filtered one is not stored."""


class NotText(Exception):  # noqa: N818  # not an error: the response is of a different kind
    """The response has more than text, or did not end as one from which the conversation continues."""


def read_answer(form: str, content_type: str, body: bytes) -> str | None:
    """Return the text of a response, or None if it has anything else, such as a call of a tool. Never raises.

    `form`: the client's format. `body`: the whole response as the client got it, decompressed.
    """
    try:
        said = [FOLDS[form](document) for document in documents(content_type, body)]
    except (NotText, *_MALFORMED):
        return None
    text = "".join(text for text, _ in said)
    ends = [end for _, end in said if end is not None]
    return text if text and ends and ENDS.issuperset(ends) else None


def documents(content_type: str, body: bytes) -> Iterator[Any]:
    """Yield the JSON documents of a response: one, or those of a stream's events."""
    media = content_type.partition(";")[0].strip().lower()
    if media == "text/event-stream":
        for line in body.split(b"\n"):
            data = line.removeprefix(b"data:").strip()
            if line.startswith(b"data:") and data != b"[DONE]":
                yield _decode(data)
    elif media == "application/vnd.amazon.eventstream":
        frames = Frames()
        frames.feed(body)
        yield from frames.found
    else:
        found = _decode(body)
        yield from found if isinstance(found, list) else [found]


class Frames(EventStreamReader):
    """Collects the JSON of AWS's event streams: an event under its type, or the model's own JSON in a chunk."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Any] = []

    def read_event(self, headers: bytes, payload: bytes) -> None:
        """Add one event. Raises ValueError if it is malformed or an exception."""
        fields = read_headers(headers)
        kind = fields.get(":event-type")
        if fields.get(":message-type") != "event" or kind is None:
            raise ValueError("not an event")
        document = _decode(payload)
        if kind == "chunk":
            self.found.append(_decode(binascii.a2b_base64(document["bytes"])))
        else:
            self.found.append({kind: document})


def fold_chat(document: Any) -> tuple[str, str | None]:
    """Return text and finish reason of a chat completion, or of one of its chunks. Raises NotText."""
    choices = document["choices"]
    if not choices:
        return "", None
    choice = choices[0]
    said = choice.get("message") or choice.get("delta") or {}
    others = ("tool_calls", "function_call", "refusal", "audio")
    if len(choices) > 1 or choice.get("index") or any(said.get(name) for name in others):
        raise NotText
    content = said.get("content") or ""
    if not isinstance(content, str):
        raise NotText
    return content, choice.get("finish_reason")


def fold_gemini(document: Any) -> tuple[str, str | None]:
    """Return text and finish reason of a response of Gemini, or of one of a stream. Raises NotText."""
    candidates = document.get("candidates") or []
    if document.get("error") or document.get("promptFeedback", {}).get("blockReason"):
        raise NotText
    if not candidates:
        return "", None
    candidate = candidates[0]
    if len(candidates) > 1 or candidate.get("index"):
        raise NotText
    parts = (candidate.get("content") or {}).get("parts") or []
    return "".join(map(text_of_block, parts)), candidate.get("finishReason")


def fold_anthropic(document: Any) -> tuple[str, str | None]:
    """Return text and stop reason of a message of Anthropic, or of an event of its stream. Raises NotText."""
    match document.get("type"):
        case "message":
            return "".join(map(text_of_block, document["content"])), document["stop_reason"]
        case "content_block_start":
            return text_of_block(document["content_block"]), None
        case "content_block_delta":
            return document["delta"].get("text") or "", None
        case "message_delta":
            return "", document["delta"].get("stop_reason")
        case "error":
            raise NotText
    return "", None


def fold_converse(document: Any) -> tuple[str, str | None]:
    """Return text and stop reason of a response of Converse or Nova, or of an event of its stream. Raises NotText."""
    if output := document.get("output"):
        return "".join(map(text_of_block, output["message"]["content"])), document["stopReason"]
    if "contentBlockStart" in document and "toolUse" in document["contentBlockStart"].get("start", {}):
        raise NotText
    if delta := document.get("contentBlockDelta"):
        return text_of_block(delta["delta"]), None
    if stop := document.get("messageStop"):
        return "", stop["stopReason"]
    return "", None


def fold_invoke(document: Any) -> tuple[str, str | None]:
    """Return text and stop reason of a model's own response on Bedrock, by its members. Raises NotText."""
    if "choices" in document:
        return fold_chat(document)
    return fold_anthropic(document) if "type" in document else fold_converse(document)


def text_of_block(block: Any) -> str:
    """Return the text of a block; "" for reasoning. Raises NotText for any other block."""
    kind = block.get("type")
    if kind in {"thinking", "redacted_thinking"} or block.get("thought") is True or "reasoningContent" in block:
        return ""
    if isinstance(block.get("text"), str) and kind in {None, "text"}:
        text: str = block["text"]
        return text
    if kind is None and set(block) <= {"thoughtSignature", "text"}:
        return ""
    raise NotText


FOLDS: dict[str, Callable[[Any], tuple[str, str | None]]] = {
    "openai.chat": fold_chat,
    "gemini": fold_gemini,
    "anthropic": fold_anthropic,
    "converse": fold_converse,
    "invoke": fold_invoke,
}
