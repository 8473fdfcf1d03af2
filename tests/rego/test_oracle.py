"""The reference itself: OPA's engine answers with documents, errors and refusals."""

import pytest

from tests.rego.oracle import Answer, Answers, Asked

DENY = 'package p.authz\ndeny contains "x" if input.model == "m"\n'
ASKED = Asked({"a.rego": DENY}, "data.p.authz", [{"model": "m"}, {"model": "n"}])


def test_opa_answers_a_document_for_each_input(oracle):
    assert oracle.ask(ASKED) == Answers(None, [Answer({"deny": ["x"]}), Answer({"deny": []})])


def test_a_document_has_the_rules_that_are_asked_for_without_those_that_are_undefined(oracle):
    policy = "package p\nx := 1\ny := 2 if input.y\nz := 3\nw := 1\nw := 2"
    asked = Asked({"a.rego": policy}, "data.p", [{}, {"y": 1}], names=("x", "y", "nothing"))
    assert oracle.ask(asked).answers == [Answer({"x": 1}), Answer({"x": 1, "y": 2})]


def test_opa_has_the_data_of_the_policy(oracle):
    asked = Asked({"a.rego": "package p\nmodel := data.limits.n"}, "data.p", [{}], {"limits": {"n": 5}})
    assert oracle.ask(asked).answers == [Answer({"model": 5})]


def test_opa_says_what_ends_an_evaluation(oracle):
    conflict = "package p\nallow := true\nallow := false if input.model"
    (answer,) = oracle.ask(Asked({"a.rego": conflict}, "data.p", [{"model": "m"}])).answers
    assert "eval_conflict_error" in answer.error


@pytest.mark.parametrize("policy", ["package p\nx := y", "package p\nf(x) := f(x)", "package p\nx { true }", "nothing"])
def test_opa_refuses_what_it_cannot_compile(oracle, policy):
    assert oracle.ask(Asked({"a.rego": policy}, "data.p", [{}])).problem


def test_a_policy_without_inputs_is_compiled_all_the_same(oracle):
    assert oracle.ask(Asked(ASKED.rego, ASKED.query, [])) == Answers(None, [])
    assert oracle.ask(Asked({"a.rego": "package p\nx := y"}, "data.p", [])).problem


def test_answers_come_in_the_order_of_the_policies(oracle):
    policies = [Asked({"a.rego": f"package p\nmodel := {number}"}, "data.p", [{}]) for number in range(100)]
    found = list(oracle.ask_each(policies))
    assert [asked for asked, _ in found] == policies
    assert [answers.answers[0].value["model"] for _, answers in found] == list(range(100))
