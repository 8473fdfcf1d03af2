"""The comparison sees differences, the generator makes what OPA accepts, and shrinking leaves out what it can."""

import pytest

from tests.policy.comparison import Disagreement, disagreements, embedded_answers
from tests.policy.generator.policies import generated
from tests.policy.shrinking import candidates
from tests.rego.answers import only_one_failed
from tests.rego.oracle import Answer, Answers, Asked

DENY = 'package p.authz\ndeny contains "x" if input.model == "m"\n'
ASKED = Asked({"a.rego": DENY}, "data.p.authz", [{"model": "m"}, {"model": "n"}])


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
