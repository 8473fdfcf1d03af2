"""The changes that mutation testing makes, and that a change is noticed by a test that runs it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from tests.mutation.mutants import mutants, mutated
from tests.mutation.trial import ALL_PASSED, forked, outcome

MODULE = "wirekey.core.header_fields"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = a == b", ["x = a != b"]),
        ("x = a < b", ["x = a <= b"]),
        ("x = a and b", ["x = a or b"]),
        ("x = not a", ["x = a"]),
        ("x = a + b", ["x = a - b"]),
        ("x = 1", ["x = 2", "x = 0"]),
        ("x = True", ["x = False"]),
        ("x: Literal[1]", []),
        ("if a:\n    b()", ["if not a:\n    b()", "if a:\n    pass"]),
        ("def f():\n    return a", ["def f():\n    return None"]),
        ('def f():\n    """Say 1."""\n    return None', []),
        ("raise a", ["pass"]),
        ("if TYPE_CHECKING:\n    import a", []),
        ("@f(1)\nclass A:\n    pass", []),
    ],
)
def test_each_place_has_its_changes(source, expected):
    assert [mutated(source, each.site) for each in mutants(source)] == expected


def test_a_change_is_named_with_its_line():
    (found,) = mutants("a = b\nx = a == b")
    assert (found.line, found.change) == (2, "`a == b` becomes `a != b`")


def test_a_process_that_hangs_is_ended():
    assert forked(lambda: [1], 20) == [1]
    assert forked(lambda: time.sleep(60), 0.2) == -1


def test_a_mutant_that_a_test_runs_is_found(tmp_path):
    test = tmp_path / "test_it.py"
    test.write_text(
        f"from {MODULE} import by_name\n\ndef test_it():\n    assert by_name([(b'A', b'b')]) == {{'a': 'b'}}\n"
    )
    source = (Path(__file__).parents[2] / "addons/wirekey/core/header_fields.py").read_text()

    def in_a_new_process(changed: str) -> int:
        def work() -> int:
            for name in [name for name in sys.modules if name.startswith(MODULE)]:
                del sys.modules[name]
            return outcome([str(test)], MODULE, tmp_path / "header_fields.py", changed, 60)

        return forked(work, 120)

    assert in_a_new_process(source) == ALL_PASSED
    assert in_a_new_process(source.replace("field.lower()", "field.upper()")) != ALL_PASSED
