"""Reads `.env`: lines of NAME=VALUE with `export`, quotes and comments as in shells, but without expansions."""

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
    """Return the entries, and the problems of lines that are not entries. Quoted values may span lines.

    The problems never contain text of the file.
    """
    entries: dict[str, str] = {}
    problems = []
    position = 0
    while position < len(text):
        if match := ENTRY.match(text, position):
            entries[match["name"]] = entry_value(match)
        elif not (match := SKIPPED.match(text, position)):
            message = "is not NAME=VALUE. Correct the line, close its quotes, or start it with # to make it a comment"
            problems.append(Problem(path, text.count("\n", 0, position) + 1, "", message))
            match = LINE.match(text, position)
            assert match
        position = match.end() + 1
        if text[match.end() : match.end() + 1] == "\r":
            position += 1
    return entries, problems


def entry_value(match: re.Match[str]) -> str:
    """Return the value of an entry without quotes and escapes."""
    if match["single"] is not None:
        return match["single"]
    if match["double"] is not None:
        return ESCAPE.sub(lambda escape: ESCAPED.get(escape[1], escape[1]), match["double"])
    return match["bare"].rstrip()
