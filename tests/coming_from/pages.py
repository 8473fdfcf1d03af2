"""The tables of the pages in docs/coming-from, and the check that each row needs.

A page's test module has `CHECKS`: the first cell of a row → a function of the stage and the second cell that tries what
the row says. A row without a check fails, and so does a check without a row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.docs.pages import text_of

HEADER = "| there | here |"


@dataclass(frozen=True)
class Row:
    there: str
    here: str

    @property
    def name(self) -> str:
        return re.sub(r"[^A-Za-z0-9_]+", "-", self.there).strip("-")[:60]


type Check = Callable[[Any, str], None]


def rows_of(page: str) -> list[Row]:
    """Return the rows of all tables of a page. Every table has the same two columns."""
    rows, lines = [], text_of(page).splitlines()
    for number, line in enumerate(lines):
        if not line.startswith("|") or line.startswith("|---") or line == HEADER:
            continue
        above = [other for other in lines[:number] if other.startswith("|---")]
        assert above, f"{page}:{number + 1}: a table without {HEADER!r}"
        there, here = re.split(r"(?<!\\) \| ", line.strip("| "))
        rows.append(Row(there, here))
    assert rows, page
    return rows


def code_of(cell: str) -> list[str]:
    """Return the code spans of a cell."""
    return re.findall(r"`([^`]+)`", cell)


def run_row(row: Row, checks: Mapping[str, Check], stage: Any) -> None:
    assert row.there in checks, f"no check runs the row {row.there!r}"
    checks[row.there](stage, row.here)


def row_tests(page: str, checks: Mapping[str, Check]) -> tuple[Callable[[Any, Row], None], Callable[[], None]]:
    """Return the tests of a page: one that runs each row on the fixture `stage`, and one of what has no row."""

    @pytest.mark.parametrize("row", rows_of(page), ids=lambda row: row.name)
    def what_a_row_says_is_so(stage, row):
        stage.begin()
        run_row(row, checks, stage)

    def every_check_belongs_to_a_row():
        assert set(checks) == {row.there for row in rows_of(page)}

    return what_a_row_says_is_so, every_check_belongs_to_a_row
