"""The promises are those of the page, and a promise is held only if its tests pass and count."""

from __future__ import annotations

import pytest

from tests.promises import __main__ as command
from tests.promises.__main__ import line, main
from tests.promises.measuring import CHECKOUT, Measured, environment, result
from tests.promises.page import PAGE, row, rows, with_row
from tests.promises.table import PROMISES, Promise

PROMISE = Promise(4, "All is well.", ("tests/x.py",), ("calls", "longest"), largest=frozenset({"longest"}))
REPORT = """<testsuites><testsuite>
<testcase name="a"><properties>
<property name="calls" value="2"/><property name="longest" value="7"/></properties></testcase>
<testcase name="b"><properties>
<property name="calls" value="1998"/><property name="longest" value="5"/></properties>{}</testcase>
</testsuite></testsuites>"""


def test_numbers_are_added_up_or_the_largest_is_taken():
    found = result(PROMISE, REPORT.format(""), 0, 1.5)
    assert found == Measured(True, 2, {"calls": 2000, "longest": 7}, 1.5)
    assert line(PROMISE, found) == " 4 held     2,000 calls, 7 longest (2 tests, 2 s)"


@pytest.mark.parametrize("mark", ["<failure/>", "<error/>", "<skipped/>"])
def test_a_promise_with_a_test_that_fails_or_is_skipped_is_not_held(mark):
    assert not result(PROMISE, REPORT.format(mark), 0, 0).held


@pytest.mark.parametrize(
    ("report", "status"),
    [
        (REPORT.format(""), 1),
        (REPORT.format("").replace("longest", "other"), 0),
        ("<testsuites/>", 0),
        ("<testsuites/>", 4),
    ],
)
def test_a_promise_whose_tests_do_not_run_or_count_nothing_is_not_held(report, status):
    assert not result(PROMISE, report, status, 0).held


def test_the_page_has_each_promise_in_its_words():
    found = rows(PAGE.read_text())
    assert list(found) == [promise.number for promise in PROMISES]
    for promise in PROMISES:
        assert found[promise.number].startswith(f"| {promise.number} | {promise.text} | ")
        assert f"| `--only {promise.number}` |" in found[promise.number]


def test_the_tests_of_each_promise_exist_and_count_what_it_shows():
    for promise in PROMISES:
        paths = [CHECKOUT / name for name in promise.tests]
        files = [file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path])]
        assert all(path.exists() for path in paths)
        text = "".join(file.read_text() for file in files)
        assert not [name for name in promise.counted if f'record_property("{name}"' not in text]
        assert not [name for name in promise.long if name != "WIREKEY_TEST_SECONDS" and f'"{name}"' not in text]


def test_the_long_form_sets_variables_that_are_not_set_already(monkeypatch):
    promise = Promise(4, "", (), (), {"WIREKEY_A": "100", "WIREKEY_B": "200"})
    monkeypatch.setenv("WIREKEY_A", "7")
    monkeypatch.delenv("WIREKEY_B", raising=False)
    assert [environment(promise, long=True).get(name) for name in promise.long] == ["7", "200"]
    assert [environment(promise, long=False).get(name) for name in promise.long] == ["7", None]
    assert environment(promise, long=False)["WIREKEY_NO_SKIPS"] == "1"


def test_a_row_is_replaced():
    page = "| # |\n|---|\n| 4 | Old. | not measured | `--only 4` | |\n| 10 | Other. | | | |\n"
    new = row(4, "All is well.", "2,000 calls", "today")
    assert with_row(page, 4, new) == page.replace("| 4 | Old. | not measured | `--only 4` | |", new)
    with pytest.raises(KeyError):
        with_row(page, 5, new)


def test_the_command_prints_a_line_each_and_fails_if_one_is_not_held(monkeypatch, capsys):
    monkeypatch.setattr(command, "measure", lambda promise, long: Measured(promise.number != 4, 3, {"calls": 5}, 1))
    assert main(["--only", "2"]) == 0
    assert main(["--only", "2", "--only", "4"]) == 1
    assert capsys.readouterr().out.endswith(" 2 held     5 calls (3 tests, 1 s)\n 4 NOT HELD 5 calls (3 tests, 1 s)\n")
