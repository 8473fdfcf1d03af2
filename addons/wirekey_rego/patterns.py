r"""Regular expressions that mean the same to OPA (Go's RE2) and to the engine (Rust's regex). Pure.

`\w` is ASCII in Go and Unicode in Rust, so it is written out; what only one of the two has is refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLASSES = {"d": "0-9", "w": "0-9A-Za-z_", "s": r"\t\n\f\r "}
_SAME = frozenset("nrtfv")
_QUANTIFIER = re.compile(r"\{(\d{1,3})(?:,(\d{0,3}))?\}")
_GROUP = re.compile(r"\((?:\?:|\?i\)|\?i:|\?P<[A-Za-z]\w*>)?", re.ASCII)


class PatternError(Exception):
    """A pattern that may match something different than in OPA. The message completes "this pattern …"."""


def translated(pattern: str) -> str:
    """Return the pattern for the engine. Raises PatternError."""
    return "".join(pieces(pattern))


def pieces(pattern: str) -> Iterator[str]:
    """Yield the pattern in translated pieces. Raises PatternError."""
    at, repeated = 0, True
    while at < len(pattern):
        character = pattern[at]
        was_repeated, repeated = repeated, False
        if character == "\\":
            piece, length = escape(pattern, at)
        elif character == "[":
            piece, length = character_class(pattern, at)
        elif character in "*+?{":
            piece, length = quantifier(pattern, at)
            if was_repeated:
                raise PatternError(f"repeats nothing, or a repetition, at character {at + 1}. Use a group")
            repeated = True
        elif character == "(":
            found = _GROUP.match(pattern, at)
            assert found
            piece, length, repeated = found[0], len(found[0]), True
            if pattern[found.end() : found.end() + 1] == "?":
                raise PatternError(f"has an unknown group at character {at + 1}")
        elif character in "]}":
            raise PatternError(f"has a single {character} at character {at + 1}. Write \\{character}")
        else:
            piece, length = character, 1
            repeated = character in "|^$"
        yield piece
        at += length


def quantifier(pattern: str, at: int) -> tuple[str, int]:
    """Return a quantifier and its length. Raises PatternError."""
    piece = pattern[at]
    if piece == "{":
        found = _QUANTIFIER.match(pattern, at)
        if not found or (found[2] and int(found[2]) < int(found[1])):
            raise PatternError(f"has a single {{ at character {at + 1}. Write \\{{")
        piece = found[0]
    if pattern[at + len(piece) : at + len(piece) + 1] == "?":
        piece += "?"
    return piece, len(piece)


def escape(pattern: str, at: int) -> tuple[str, int]:
    """Return an escape, translated, and its length in the source. Raises PatternError."""
    letter = pattern[at + 1 : at + 2]
    if letter.lower() in _CLASSES and letter:
        return f"[{'^' if letter.isupper() else ''}{_CLASSES[letter.lower()]}]", 2
    if letter in ("b", "B"):
        return f"(?-u:\\{letter})" if letter == "b" else refuse_escape(letter), 2
    if letter in _SAME or (letter.isascii() and letter.isprintable() and letter and not letter.isalnum()):
        return re.escape(letter) if letter in " <>-~&#" else f"\\{letter}", 2
    return refuse_escape(letter), 2


def refuse_escape(letter: str) -> str:
    """Raise PatternError for an escape."""
    raise PatternError(f"has \\{letter}, which may match something different. List the characters")


def character_class(pattern: str, at: int) -> tuple[str, int]:
    """Return a character class, translated, and its length in the source. Raises PatternError."""
    start, piece = at, "["
    at += 1
    if pattern[at : at + 1] == "^":
        piece, at = "[^", at + 1
    first = at
    while at < len(pattern) and pattern[at] != "]":
        character = pattern[at]
        if character == "[" or pattern[at : at + 2] in ("&&", "~~", "--"):
            raise PatternError(f"has {pattern[at : at + 2]} in a class. Escape it with \\")
        if character == "\\":
            letter = pattern[at + 1 : at + 2]
            if letter in _CLASSES:
                piece += _CLASSES[letter]
            elif letter in _SAME or (letter and letter.isascii() and letter.isprintable() and not letter.isalnum()):
                piece += f"\\{letter}"
            else:
                refuse_escape(letter)
            at += 2
            continue
        piece += character
        at += 1
    if at == first or at >= len(pattern):
        raise PatternError(f"has a class without characters or end, at character {start + 1}")
    return piece + "]", at + 1 - start
