"""Every page in docs/coming-from has a test module that runs its rows, and each row counts."""

from __future__ import annotations

import importlib

import pytest

from tests.coming_from.pages import Row, rows_of, run_row
from tests.docs.pages import CHECKOUT

PAGES = sorted((CHECKOUT / "docs" / "coming-from").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_a_module_that_runs_its_rows(page):
    module = importlib.import_module(f"tests.coming_from.test_{page.stem.replace('-', '_')}")
    assert page == CHECKOUT / module.PAGE
    assert len(rows_of(module.PAGE)) >= 10


def test_a_row_without_a_check_fails():
    with pytest.raises(AssertionError, match="no check runs the row"):
        run_row(Row("`NEW_SETTING`", "`something`"), {}, None)
