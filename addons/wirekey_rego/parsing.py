"""Parses modules with the library, in either version of the language, and reads the library's errors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from wirekey_rego.errors import CompileError, RegoProblem
from wirekey_rego.library import RegorusEngine, RegorusError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey_rego.syntax import Node

_PLACE = re.compile(r"--> (.+?):(\d+):(\d+)\n")
_MESSAGE = re.compile(r"^(?:error: |: )(.+)$", re.MULTILINE)
_V1_WORDS = re.compile(r"^[^#\n]*(?:\bif\b|\bcontains\b\s+\w)", re.MULTILINE)

_trees = msgspec.json.Decoder(list[dict[str, Any]])


def parse_modules(modules: Mapping[str, str]) -> list[Node]:
    """Return the syntax trees of modules in either version of the language. Raises CompileError."""
    parser = RegorusEngine()
    problems = [problem for name, text in modules.items() if (problem := add_module(parser, name, text))]
    if problems:
        raise CompileError(problems)
    return _trees.decode(parser.call("get_ast_as_json"))


def add_module(parser: RegorusEngine, name: str, text: str) -> RegoProblem | None:
    """Parse a module. Return its problem, or None."""
    try:
        parser.call("add_policy", name, text)
    except RegorusError as error:
        if _V1_WORDS.search(text) or not add_v0_module(parser, name, text):
            return problem_of(error)
    return None


def add_v0_module(parser: RegorusEngine, name: str, text: str) -> bool:
    """Parse a module as Rego v0, in which rules have no `if`. Return whether it is valid."""
    parser.call("set_rego_v0", True)
    try:
        parser.call("add_policy", name, text)
    except RegorusError:
        return False
    finally:
        parser.call("set_rego_v0", False)
    return True


def problem_of(error: RegorusError) -> RegoProblem:
    """Return position and message of the library's error text, without its picture of the line."""
    text = str(error).partition("\nStack backtrace:")[0]
    place, message = _PLACE.search(text), _MESSAGE.search(text)
    sentence = message[1] if message else " ".join(text.split())
    # It may quote what a caller sent.
    sentence = "".join(character if character.isprintable() else " " for character in sentence[:300])
    if place:
        return RegoProblem(place[1], int(place[2]), int(place[3]), sentence)
    return RegoProblem("policy", None, None, sentence)
