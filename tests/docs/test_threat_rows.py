"""The table in docs/security.md has a row, and a test that exists, for each attack of the second round."""

import re

import pytest

from tests.docs.pages import CHECKOUT, text_of

TABLE_ROW = re.compile(r"^\| R(\d+) \|.*\| (.*) \|$", re.MULTILINE)
TEST = re.compile(r"^\s*(?:async )?def (test_R(\d+)_\w+)", re.MULTILINE)
ELSEWHERE = {15}
"""Rows that are no part of this table."""
ROWS = dict(TABLE_ROW.findall(text_of("docs/security.md")))
TESTS = {
    found[1]: found[2]
    for path in (CHECKOUT / "tests" / "threats").glob("test_*.py")
    for found in TEST.finditer(path.read_text(encoding="utf-8"))
}


@pytest.mark.parametrize("number", sorted({*map(int, ROWS), *range(1, 30)} - ELSEWHERE))
def test_each_attack_has_a_row_that_names_its_test(number):
    assert str(number) in ROWS
    named = re.findall(r"`(test_\w+)`", ROWS[str(number)])
    assert named
    assert {TESTS.get(name) for name in named} == {str(number)}


def test_the_rows_are_in_order():
    found = [int(number) for number, _ in TABLE_ROW.findall(text_of("docs/security.md"))]
    assert found == sorted(set(found))
