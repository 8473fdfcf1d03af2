"""`.env`: lines of NAME=VALUE, with `export`, quotes and comments as shells have them, without their expansions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wirekey.config.problems import Problem

if TYPE_CHECKING:
    from pathlib import Path

ENTRY = re.compile(
    r"""[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_]\w*)[ \t]*=[ \t]*
    (?:'(?P<single>[^']*)'|"(?P<double>(?:[^"\\]|\\.)*)"|(?P<bare>(?!['"])[^\r\n]*?))
    [ \t]*(?:(?:(?<=[ \t=])|(?<=['"]))\#[^\r\n]*)?(?=\r?\n|\Z)""",
    re.VERBOSE | re.ASCII | re.DOTALL,
)
SKIPPED = re.compile(r"[ \t]*(?:#[^\r\n]*)?(?=\r?\n|\Z)")
LINE = re.compile(r"[^\n]*")
ESCAPE = re.compile(r"\\(.)", re.DOTALL)
ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}


def parse_dotenv(text: str, path: Path) -> tuple[dict[str, str], list[Problem]]:
    """Read the entries and tell which lines are none. Quoted values may span lines. No line is repeated back."""
    entries: dict[str, str] = {}
    problems = []
    position = 0
    while position < len(text):
        if match := ENTRY.match(text, position):
            entries[match["name"]] = value_of(match)
        elif not (match := SKIPPED.match(text, position)):
            message = "is not NAME=VALUE. Write it so, close its quotes, or begin it with # to skip it"
            problems.append(Problem(path, text.count("\n", 0, position) + 1, "", message))
            match = LINE.match(text, position)
            assert match
        position = match.end() + 1
        if text[match.end() : match.end() + 1] == "\r":
            position += 1
    return entries, problems


def value_of(match: re.Match[str]) -> str:
    if match["single"] is not None:
        return match["single"]
    if match["double"] is not None:
        return ESCAPE.sub(lambda escape: ESCAPED.get(escape[1], escape[1]), match["double"])
    return match["bare"].rstrip()
