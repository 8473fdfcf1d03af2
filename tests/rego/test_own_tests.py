"""A policy's own tests: which fail, and where they stand."""

import pytest

import wirekey_rego

POLICY = {
    "a.rego": 'package p.authz\ndeny contains "no" if input.model in data.p.lists.bad\n',
    "b.rego": 'package p.lists\nbad := {"bad"}\n',
}
TESTS = """package p.authz_test

import data.p.authz

test_bad_is_denied if authz.deny == {"no"} with input as {"model": "bad"}

test_good_is_not if count(authz.deny) == 0 with input as {"model": "good"}

test_the_list_counts if {
	authz.deny == {"no"} with input as {"model": "good"} with data.p.lists.bad as {"good"}
}

todo_test_later if false
"""


def problems(tests):
    return [str(problem) for problem in wirekey_rego.failed_tests(POLICY | {"a_test.rego": tests})]


def test_passing_tests_are_not_problems():
    assert problems(TESTS) == []


@pytest.mark.parametrize(
    ("test", "problem"),
    [
        ("test_x if false", "a_test.rego:3:1: the test test_x fails"),
        ("test_x := false", "a_test.rego:3:1: the test test_x fails"),
        ('test_x if startswith(data.p.authz.deny, "x")', "the test test_x fails: a_test.rego:3:"),
        ("test_x contains 1", "a_test.rego:3:1: the test test_x is not a test"),
        ("todo_test_x if false", None),
        ("helper if false", None),
    ],
)
def test_a_failing_test_is_reported_with_its_position(test, problem):
    found = problems(f"package p.authz_test\n\n{test}\n")
    assert (problem in found[0] and len(found) == 1) if problem else found == []


def test_the_tests_of_a_policy_that_cannot_be_compiled_are_not_run():
    with pytest.raises(wirekey_rego.CompileError, match=r"a_test\.rego:1:"):
        problems("package")
