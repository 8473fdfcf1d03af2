"""The reference itself: OPA's engine answers, the comparison sees differences, the generator makes what OPA accepts."""

import pytest

from tests.policy.comparison import Disagreement, disagreements, embedded_answers, only_one_failed
from tests.policy.generator.policies import generated
from tests.policy.shrinking import candidates
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


def test_a_document_that_decides_otherwise_is_a_disagreement(oracle):
    opa, ours = oracle.ask(ASKED), embedded_answers(ASKED)
    assert disagreements(ASKED, opa, ours) == []
    assert disagreements(ASKED, opa, Answers(None, [Answer({"deny": []}), Answer({"deny": []})])) == [
        Disagreement(ASKED, {"model": "m"}, "deny ['x']", "allow")
    ]
    caps = Answers(None, [opa.answers[0], Answer({"deny": [], "max_tokens": 5})])
    assert [each.wirekey for each in disagreements(ASKED, opa, caps)] == ["allow max_tokens=5"]
    error = Answers(None, [opa.answers[0], Answer(error="x")])
    assert [each.wirekey for each in disagreements(ASKED, opa, error)] == ["error: x"]


@pytest.mark.parametrize(
    ("theirs", "mine", "tolerated"),
    [
        (None, "a.rego:1:2: `lower` expects string argument. Got `null` instead", True),
        (None, "a.rego:1:2: rule conflicts with rule at b.rego:1:1", True),
        ("a.rego:1: eval_type_error: lower: operand 1 must be string but got null", None, True),
        ("a.rego:1: eval_conflict_error: complete rules must not produce multiple outputs", None, False),
        (None, "policy: duplicated definition of local variable v2", False),
        (None, None, False),
    ],
)
def test_an_error_of_one_engine_only_is_told_from_other_disagreements(theirs, mine, tolerated):
    opa, ours = (Answer({"deny": ["x"]} if error is None else None, error) for error in (theirs, mine))
    assert only_one_failed(opa, ours) is tolerated
    asked = Asked(ASKED.rego, ASKED.query, [{}])
    allowed = Answer({}) if mine is None else ours
    found = disagreements(asked, Answers(None, [opa]), Answers(None, [allowed]), strict=False)
    assert bool(found) is not tolerated


def test_a_policy_that_opa_refuses_and_the_embedded_engine_loads_is_a_disagreement():
    assert len(disagreements(ASKED, Answers("bad", []), embedded_answers(ASKED))) == 1
    assert disagreements(ASKED, oracle_answer := Answers("bad", []), oracle_answer) == []


def test_the_generator_makes_the_same_policy_of_the_same_seed_and_others_of_others():
    assert generated("a") == generated("a")
    assert generated("a") != generated("b")


def test_generated_policies_have_all_that_ordinary_ones_have():
    policies = [generated(f"features-{number}") for number in range(300)]
    text = "\n".join(text for asked in policies for text in asked.rego.values())
    for feature in (
        *("not ", "every ", "some ", " with ", "default ", "} else := ", " as ", "import data.", "deny contains "),
        *("deny if", "allow if", "max_tokens := ", "model := ", "sprintf(", "regex.match(", "glob.match(", "[_]"),
        *("package behavry.authz", "package wirekey.authz", "object.get(", " contains input.", " | some "),
    ):
        assert feature in text, feature
    assert {len(asked.rego) for asked in policies} == {1, 2, 3, 4}


def test_opa_accepts_nearly_all_generated_policies_and_they_decide_both_ways(oracle):
    found = list(oracle.ask_each(generated(f"accepted-{number}") for number in range(200)))
    assert sum(answers.problem is None for _, answers in found) > 190
    documents = [answer.value for _, answers in found for answer in answers.answers if answer.value]
    denied = sum(bool(document.get("deny")) for document in documents)
    assert len(documents) / 5 < denied < len(documents) * 4 / 5


def test_shrinking_leaves_out_files_rules_lines_data_and_fields():
    asked = Asked({"a.rego": DENY, "b.rego": "package b\n\nx := 1\n"}, "data.p", [{"a": {"b": 1}}], {"d": 1})
    smaller = list(candidates(asked))
    assert all(candidate != asked for candidate in smaller)
    assert {tuple(candidate.rego) for candidate in smaller} == {("a.rego",), ("b.rego",), ("a.rego", "b.rego")}
    assert {str(candidate.inputs) for candidate in smaller} >= {"[{}]", "[{'a': {}}]"}
    assert any(not candidate.data for candidate in smaller)
