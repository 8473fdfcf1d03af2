"""Names of models with a provider in front and parameters behind: `gemini:gemini-2.5-pro?temperature=0.7`. Pure.

What stands in the name wins over what the body says. Both are refused where they cannot be followed, never dropped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

import msgspec

from wirekey.providers.edits import with_edits
from wirekey.providers.protocol import Body
from wirekey.providers.request_json import one_of, read_body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from wirekey.providers.edits import Edit
    from wirekey.providers.protocol import Operation
    from wirekey.providers.request_json import JsonObject
    from wirekey.wire.request_body import RequestBody

type Value = int | float | str
type Members = dict[str, "bytes | Members"]

_PREFIX = re.compile(r"(openai|gemini|anthropic|bedrock):(?=.)")
_CAPITAL = re.compile(r"(?<=[a-z])([A-Z])")
_ALIASES = {"max_output_tokens": "max_tokens", "max_completion_tokens": "max_tokens", "effort": "reasoning_effort"}
_NUMBER = re.compile(r"-?\d{1,9}(?:\.\d{1,9})?")
_WHOLE = re.compile(r"-?\d{1,15}")


def _between(least: float, most: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        if not _NUMBER.fullmatch(text) or not least <= float(text) <= most:
            raise ValueError(f"must be a number from {least:g} to {most:g}")
        return float(text) if "." in text else int(text)

    return read


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not _WHOLE.fullmatch(text) or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return read


def _word(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text

    return read


READERS: dict[str, Callable[[str], Value]] = {
    "temperature": _between(0, 2),
    "top_p": _between(0, 1),
    "top_k": _whole(1, 10_000),
    "max_tokens": _whole(1, 10_000_000),
    "seed": _whole(-(2**31), 2**31 - 1),
    "presence_penalty": _between(-2, 2),
    "frequency_penalty": _between(-2, 2),
    "reasoning_effort": _word("none", "minimal", "low", "medium", "high", "xhigh"),
    "thinking_budget": _whole(-1, 1_000_000),
}
"""Parameters that a name may have, and how their text is read. Camel case is read, too: `topP`."""

_SAMPLING = ("temperature", "top_p")
_PENALTIES = ("seed", "presence_penalty", "frequency_penalty")
_CHAT = (*_SAMPLING, "max_tokens", *_PENALTIES, "reasoning_effort")
_GEMINI = (*_SAMPLING, "top_k", "max_tokens", *_PENALTIES, "thinking_budget")
ALLOWED: dict[tuple[str, str], tuple[str, ...]] = {
    ("openai", "chat.completions"): _CHAT,
    ("gemini", "chat.completions"): _CHAT,
    ("openai", "completions"): (*_SAMPLING, "max_tokens", *_PENALTIES),
    ("openai", "responses"): (*_SAMPLING, "max_tokens", "reasoning_effort"),
    ("anthropic", "messages"): (*_SAMPLING, "top_k", "max_tokens"),
    ("gemini", "generateContent"): _GEMINI,
    ("gemini", "streamGenerateContent"): _GEMINI,
    ("bedrock", "converse"): (*_SAMPLING, "max_tokens"),
    ("bedrock", "converse-stream"): (*_SAMPLING, "max_tokens"),
}
"""(provider, operation) → the parameters that its requests can say. Of other operations: none."""

_CAMEL = {
    "top_p": "topP",
    "top_k": "topK",
    "max_tokens": "maxOutputTokens",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}


class ModelNameError(ValueError):
    """The name cannot be followed. Its text begins with a verb: `has a parameter …`."""


@dataclass(frozen=True, slots=True)
class ModelName:
    """`name` is what the provider is asked for. Parameters are in the order in which they were written."""

    name: str
    provider: str | None = None
    parameters: tuple[tuple[str, Value], ...] = ()

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Read a name as it is written. Raises ModelNameError."""
        name, mark, query = text.partition("?")
        found = _PREFIX.match(name)
        bare = name[found.end() :] if found else name
        if not bare:
            raise ModelNameError("has parameters and no name before them")
        return cls(bare, found[1] if found else None, tuple(_parameters(query)) if mark else ())

    def __str__(self) -> str:
        prefix = f"{self.provider}:" if self.provider else ""
        written = "&".join(f"{name}={value}" for name, value in self.parameters)
        return f"{prefix}{self.name}" + (f"?{written}" if written else "")


def is_plain(text: str) -> bool:
    """Tell at little cost that a name has neither provider nor parameters."""
    return "?" not in text and (":" not in text or not _PREFIX.match(text))


def _parameters(query: str) -> Iterator[tuple[str, Value]]:
    seen = set()
    for piece in query.split("&"):
        written, _, value = piece.partition("=")
        folded = _CAPITAL.sub(r"_\1", written).lower()
        name = _ALIASES.get(folded, folded)
        if name not in READERS:
            raise ModelNameError(f"has a parameter {written[:32]!r}; there are {', '.join(READERS)}")
        if name in seen:
            raise ModelNameError(f"has the parameter {name} twice")
        seen.add(name)
        try:
            yield name, READERS[name](unquote(value))
        except ValueError as error:
            raise ModelNameError(f"has a parameter {name}, which {error}") from None


def check_parameters(provider: str, operation: Operation, parameters: tuple[tuple[str, Value], ...]) -> None:
    """Raise ModelNameError where requests of this operation cannot say one of them."""
    allowed = ALLOWED.get((provider, operation.name), ()) if operation.body is Body.JSON else ()
    for name, _ in parameters:
        if name not in allowed:
            there = f"; there are {', '.join(allowed)}" if allowed else ", nor any other"
            raise ModelNameError(f"has the parameter {name}, which {operation.name} does not take{there}")


def with_parameters(
    provider: str, operation: Operation, body: RequestBody, parameters: tuple[tuple[str, Value], ...]
) -> RequestBody:
    """Give the body with these parameters, all other bytes as they were. Raises ModelNameError."""
    if not parameters:
        return body
    check_parameters(provider, operation, parameters)
    request = read_body(body)
    wanted = _members(provider, operation, request, dict(parameters))
    return with_edits(body, _edits(request, 0, wanted))


def _members(provider: str, operation: Operation, body: JsonObject, values: Mapping[str, Value]) -> Members:
    """Give the members to set, each with its JSON, nested as they stand in the body."""
    written = {name: msgspec.json.encode(value) for name, value in values.items()}
    if operation.name == "chat.completions":
        return {_chat_limit(provider, body) if name == "max_tokens" else name: text for name, text in written.items()}
    if operation.name == "responses":
        names: Members = {}
        for name, text in written.items():
            if name == "reasoning_effort":
                names["reasoning"] = {"effort": text}
            else:
                names["max_output_tokens" if name == "max_tokens" else name] = text
        return names
    if provider == "gemini":
        return _for_gemini(body, written)
    if provider == "bedrock":
        renamed = {"top_p": "topP", "max_tokens": "maxTokens"}
        return {"inferenceConfig": {renamed.get(name, name): text for name, text in written.items()}}
    return dict(written)


def _chat_limit(provider: str, body: JsonObject) -> str:
    if "max_tokens" in body.values or provider == "gemini":
        return "max_tokens"
    return "max_completion_tokens"


def _for_gemini(body: JsonObject, written: Mapping[str, bytes]) -> Members:
    group = one_of(body, "generationConfig", "generation_config")
    inner = body.child(group)

    def spelled(camel: str) -> str:
        snake = _CAPITAL.sub(r"_\1", camel).lower()
        return one_of(inner, camel, snake) if inner and snake != camel else camel

    members: Members = {}
    for name, text in written.items():
        if name == "thinking_budget":
            thinking = inner.child(spelled("thinkingConfig")) if inner else None
            key = one_of(thinking, "thinkingBudget", "thinking_budget") if thinking else "thinkingBudget"
            members[spelled("thinkingConfig")] = {key: text}
        else:
            members[spelled(_CAMEL.get(name, name))] = text
    return {group: members}


def _edits(parent: JsonObject, offset: int, wanted: Members) -> Iterator[Edit]:
    spans = parent.spans
    added = []
    for key, value in wanted.items():
        if key not in spans:
            added.append(b'"%s":%s' % (key.encode(), _json(value)))
            continue
        start, end = spans[key]
        inner = parent.child(key) if isinstance(value, dict) else None
        if isinstance(value, dict) and inner is not None:
            yield from _edits(inner, offset + start, value)
        else:
            yield offset + start, offset + end, _json(value)
    if added:
        place = offset + parent.data.index(b"{") + 1
        yield place, place, b",".join(added) + (b"," if parent.values else b"")


def _json(value: bytes | Members) -> bytes:
    if isinstance(value, bytes):
        return value
    return b"{%s}" % b",".join(b'"%s":%s' % (key.encode(), _json(inner)) for key, inner in value.items())
