"""The table of docs/promises.md."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "promises.md"
_ROW = re.compile(r"^\| (\d+) \|.*$", re.MULTILINE)
NEVER = "not measured"


def row(number: int, text: str, figure: str, when: str) -> str:
    """Return a row of the table: the promise, its number with the command, and when it was measured."""
    return f"| {number} | {text} | {figure} | `--only {number}` | {when} |"


def rows(page: str) -> dict[int, str]:
    """Return number → row of the page."""
    return {int(match[1]): match[0] for match in _ROW.finditer(page)}


def with_row(page: str, number: int, new: str) -> str:
    """Return the page with one row replaced. Raises KeyError if it has no row of this number."""
    return page.replace(rows(page)[number], new)
