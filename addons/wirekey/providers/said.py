"""The pieces of text in the JSON of a response, whole or one of a stream, at the places that a format names."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class SaidKind(StrEnum):
    """The kind of a piece."""

    TEXT = "Text"
    REASONING = "Reasoning"
    TOOL = "Tool called"
    ARGUMENTS = "Tool arguments"
    REFUSAL = "Refusal"
    END = "End"  # why the response ends
    OTHER = "Other"  # neither text nor reasoning: a call, media, an error, a further choice
    BLOCK = "Block"  # several of these, depending on its members


type Places = Mapping[str, SaidKind | Places]
"""The members of a document. `*` is each member of an array, a number one of them. `type=value` is the object itself,
if its type has this value."""


class SaidPiece(NamedTuple):
    """The value at one place of a document: text, or JSON of any type. `number`: its place among several."""

    kind: SaidKind
    number: int
    value: Any


NUMBERS = ("index", "contentBlockIndex", "output_index")
KINDS = ("type", "event_type")


def pieces_in(places: Places, document: Any) -> list[SaidPiece]:
    """Return the pieces of a document, without empty ones. It may be any JSON."""
    found: list[SaidPiece] = []
    _collect(places, document, 0, found)
    return found


def _collect(places: Places | SaidKind, value: Any, number: int, found: list[SaidPiece]) -> None:
    if isinstance(places, SaidKind):
        pieces = pieces_of_block(value) if places is SaidKind.BLOCK else ((places, value),)
        found += [SaidPiece(kind, number, each) for kind, each in pieces if each]
    elif isinstance(value, dict) and "*" not in places:
        number = next((own for name in NUMBERS if type(own := value.get(name)) is int), number)
        for name, member in value.items():
            if name in places:
                _collect(places[name], member, number, found)
        for name in KINDS:
            if (kind := f"{name}={value.get(name)}") in places:
                _collect(places[kind], value, number, found)
    elif isinstance(value, list) and "*" in places:
        for place, member in enumerate(value):
            _collect(places["*"], member, number, found)
            if (own := f"{place}") in places:
                _collect(places[own], member, number, found)
    elif value is not None:
        found.append(SaidPiece(SaidKind.OTHER, number, value))


def pieces_of_block(block: Any) -> Iterator[tuple[SaidKind, Any]]:
    """Yield what a block of a message is, in any format."""
    if not isinstance(block, dict):
        yield SaidKind.OTHER, True
        return
    kind, text = block.get("type"), block.get("text")
    if kind in {"thinking", "redacted_thinking"} or block.get("thought") is True:
        yield SaidKind.REASONING, block.get("thinking") or text
    elif "reasoningContent" in block:
        thought = block["reasoningContent"]
        yield SaidKind.REASONING, thought.get("text") if isinstance(thought, dict) else None
    elif isinstance(text, str) and kind in {None, "text"}:
        yield SaidKind.TEXT, text
    elif kind is not None or not block.keys() <= {"text", "thoughtSignature"}:
        call = block.get("toolUse") or block.get("functionCall")
        call = call if isinstance(call, dict) else block
        yield from ((SaidKind.TOOL, call.get("name")), (SaidKind.ARGUMENTS, call.get("args") or call.get("input")))
        yield SaidKind.OTHER, True
