"""The made-up text of a response, in pieces, and the token counts that it reports."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from wirekey_simulator.members import child

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey_simulator.behaviour import Behaviour

TEXT = "Hello from the simulator: nobody thought about this answer."
UNICODE = "Grüße, žluťoučký кот 世界 👋🏽 𝄞 naïve δοκιμή 🚀 終わり. "
FILLING = "all work and no play makes a simulated answer long; "
PIECE_BYTES = 1024
"""Bytes of a piece of text if the behaviour has a size and no number of events."""
BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Token counts. `input` includes `cached`; `output` includes `reasoning`."""

    input: int
    output: int
    cached: int
    reasoning: int

    @property
    def total(self) -> int:
        """Return the sum of input and output."""
        return self.input + self.output


def words(behaviour: Behaviour, default: str = TEXT) -> Iterator[str]:
    """Yield the text in the pieces that the behaviour asks for, one at a time, so that 1 GB is never held.

    With a size, exactly `size` bytes of UTF-8 in `events` pieces. Without a size, `events` words. Without either, the
    words of the default. No piece is empty, and there may be none.
    """
    if behaviour.size is not None:
        yield from _sized(behaviour.size, behaviour.events, UNICODE if behaviour.unicode else FILLING)
        return
    pieces = _words(UNICODE if behaviour.unicode else default)
    yield from pieces if behaviour.events is None else islice(cycle(pieces), behaviour.events)


def whole(behaviour: Behaviour, default: str = TEXT) -> str:
    """Return the whole text that the behaviour asks for."""
    return "".join(words(behaviour, default))


def limited(behaviour: Behaviour, most: Any, said: str = TEXT) -> tuple[Behaviour, bool]:
    """Cut the text at `most` tokens, and return whether it was cut. A text that a behaviour asks for is not cut."""
    asked = (behaviour.size, behaviour.events, behaviour.tokens) != (None, None, None)
    if asked or not isinstance(most, int) or not 0 < most < len(_words(said)):
        return behaviour, False
    return replace(behaviour, events=most), True


def counts(behaviour: Behaviour, request_json: Any) -> TokenCounts:
    """Return the counts that the behaviour asks for, else an estimate. The same request gets the same counts."""
    cached, reasoning = behaviour.cached_tokens or 0, behaviour.reasoning_tokens or 0
    given, made = behaviour.input_tokens, behaviour.tokens
    if made is None:
        made = _estimated_output(behaviour) + reasoning
    if given is None:
        given = input_tokens(request_json) + cached
    return TokenCounts(max(given, cached), max(made, reasoning), cached, reasoning)


def input_tokens(request_json: Any) -> int:
    """Estimate the tokens of a request by the characters in its strings."""
    return 1 + sum(map(len, _strings(request_json))) // BYTES_PER_TOKEN


def last_text(request_json: Any) -> str:
    """Return the last string under a key `text`, `content` or `parts`: the last user message.

    All providers keep their messages in order, in `messages`, `contents`, `input` or `prompt`.
    """
    turns = next((request_json[key] for key in ("messages", "contents", "input", "prompt") if key in request_json), "")
    turn = turns[-1] if isinstance(turns, list) and turns else turns
    if isinstance(turn, dict):
        turn = turn.get("content", turn.get("parts"))
    if isinstance(turn, list):
        turn = next((part["text"] for part in reversed(turn) if isinstance(part, dict) and "text" in part), "")
    return turn if isinstance(turn, str) else ""


def wants_tool_call(request_json: Any) -> bool:
    """Return whether the last user message asks for a tool call."""
    return "call a tool" in last_text(request_json).lower()


def tool_arguments(schema: Any) -> dict[str, Any]:
    """Return made-up arguments of a tool call that fit the tool's JSON schema. Types may be in either case."""
    properties = child(schema, "properties")
    return {name: _sample(kind) for name, kind in properties.items()} if isinstance(properties, dict) else {}


def _sample(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return "simulated"
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return schema["enum"][0]
    kind = schema.get("type", "string")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if str(kind).lower() == "object":
        return tool_arguments(schema)
    return {"integer": 1, "number": 1.5, "boolean": True, "array": [], "null": None}.get(str(kind).lower(), "simulated")


def _strings(value: Any) -> Iterator[str]:
    """Yield the strings of a JSON value. No recursion: requests may nest to any depth."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def _estimated_output(behaviour: Behaviour) -> int:
    if behaviour.size is not None:
        return behaviour.size // BYTES_PER_TOKEN
    return len(_words(TEXT)) if behaviour.events is None else behaviour.events


@lru_cache(maxsize=32)
def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\S+\s*", text))


def _sized(size: int, events: int | None, unit: str) -> Iterator[str]:
    number = -(-size // PIECE_BYTES) if events is None else min(events, size)
    for index in range(number):
        yield _filled(size * (index + 1) // number - size * index // number, unit)


@lru_cache(maxsize=8)
def _filled(size: int, unit: str) -> str:
    """Return exactly `size` bytes, with full stops where the next character would be too long."""
    times, rest = divmod(size, len(unit.encode()))
    part = unit.encode()[:rest].decode(errors="ignore")
    return unit * times + part + "." * (rest - len(part.encode()))
