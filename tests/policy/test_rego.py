"""Wirekey's use of the Rego front end: its rules, and errors that name the setting and the operator's files."""

import json

import pytest

from wirekey.core.policy.decision import DENIED, UndecidedError, parse_decision
from wirekey.core.policy.lint import lint
from wirekey.core.policy.modules import Modules, PolicyError, PolicyProblem
from wirekey.core.policy.rego import Rego, failed_tests

QUERY = "data.wirekey.authz"


def rego(*sources, query=QUERY, **files):
    named = {f"m{index}.rego": f"package wirekey.authz\n{source}\n" for index, source in enumerate(sources)}
    return Rego(Modules(named | {f"{name}.rego": text for name, text in files.items()}, {}, ""), query)


def test_a_boolean_denial_names_its_package_file_and_line():
    policy = rego('deny if input.model == "a"', '\ndeny := true if {\n\tinput.model == "b"\n}')
    documents = [json.loads(policy.evaluate(json.dumps({"model": model}).encode())) for model in "abc"]
    assert [parse_decision(document, None, needs_allow=False).reasons for document in documents] == [
        (f"{DENIED} (wirekey.authz, m0.rego:2)",),
        (f"{DENIED} (wirekey.authz, m1.rego:3)",),
        (),
    ]


def test_the_document_has_the_rules_that_decide_and_no_others():
    policy = rego('allow := true\nmax_tokens := 5\nmodel := "m"\nother := 1\ndeny contains "x"')
    assert json.loads(policy.evaluate(b"{}")) == {"deny": ["x"], "allow": True, "model": "m", "max_tokens": 5}


def test_an_error_at_evaluation_leaves_no_decision():
    with pytest.raises(UndecidedError, match=r"^m0\.rego:2:\d+: `startswith` expects string"):
        rego('deny if startswith(input.model, "x")').evaluate(b'{"model": 1}')


def test_all_problems_are_reported_with_the_setting_of_a_package_that_there_is_not():
    with pytest.raises(PolicyError) as raised:
        rego(a="package a\nx := y", b="package b.authz\nx := upper(input.m)", query="data.c")
    advice = "there is no package data.c. Set policy.query to the one that decides: data.b.authz, data.a"
    assert raised.value.problems[1:] == [PolicyProblem("policy.query", None, None, advice)]
    assert str(raised.value.problems[0]).startswith("b.rego:2:6: upper may give a different result")


def test_the_error_of_a_query_that_is_no_path_names_the_setting():
    with pytest.raises(PolicyError, match=r"^policy\.query: 'data\.a b' is not a package path such as data\.a\.authz$"):
        rego("deny := false", query="data.a b")


def test_problems_of_the_policys_tests_are_the_operators():
    modules = Modules({"a.rego": "package a\nx := 1"}, {}, "", {"a_test.rego": "package a\ntest_x if x == 2"})
    assert failed_tests(modules) == [PolicyProblem("a_test.rego", 2, 1, "the test test_x fails")]
    with pytest.raises(PolicyError, match=r"a_test\.rego:1"):
        failed_tests(Modules(modules.rego, {}, "", {"a_test.rego": "package"}))


def test_only_unused_packages_that_seem_to_decide_are_reported_even_without_rules():
    policy = rego("deny := false", a="package other.authz", b="package other.lists\nx := 1")
    assert [str(problem) for problem in lint(policy.syntax, QUERY)] == [
        "a.rego: package data.other.authz is not used: the query is data.wirekey.authz"
    ]
