"""What the check of branches counts, and when it fails."""

from __future__ import annotations

import pytest

from tests.branches.__main__ import CHECKOUT, SOURCE, missing, too_many
from tests.branches.table import LEFT_OUT, OPEN, PACKAGES, TESTS

REPORT = {
    "files": {
        "addons/wirekey/core/a.py": {"missing_lines": [7], "missing_branches": [[6, 7], [9, 12], [9, -1]]},
        "addons/wirekey/core/b.py": {"missing_lines": [], "missing_branches": []},
    }
}


def test_a_branch_to_a_line_that_is_not_run_counts_once():
    assert missing(REPORT) == {"core/a.py": ["7", "9->12", "9->-1"]}


@pytest.mark.parametrize(
    ("missing_here", "allowed", "fails"), [(3, 3, False), (0, 0, False), (3, 0, True), (3, 2, True), (1, 2, False)]
)
def test_more_than_the_table_allows_fails(missing_here, allowed, fails):
    assert (too_many("core/a.py", missing_here, allowed) is not None) is fails


def test_the_table_names_packages_tests_and_files_that_exist():
    for name in PACKAGES:
        path = CHECKOUT / SOURCE / name.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file()
    assert all((CHECKOUT / name).exists() for name in TESTS)
    for name in LEFT_OUT:
        file, _, test = name.partition("::")
        assert f"def {test}(" in (CHECKOUT / file).read_text()
    assert all((CHECKOUT / SOURCE / file).is_file() for file in OPEN)
