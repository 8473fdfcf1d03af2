"""What a policy's document says: only what is well-formed allows."""

import pytest

from wirekey.core.errors import Fault
from wirekey.core.policy.decision import DENIED, MOST_REASONS, NOT_ALLOWED, Decision, parse_decision, undecided


@pytest.mark.parametrize(
    ("document", "has_allow_rule"),
    [
        ({}, False),
        ({"deny": False}, False),
        ({"deny": []}, False),
        ({"allow": True}, True),
        ({"allow": True, "deny": False}, True),
        ({"allow": True, "deny": []}, True),
        ({"helper": {"a": 1}, "roles": ["x"]}, False),
    ],
)
def test_a_call_is_allowed_if_nothing_denies_and_allow_is_true_or_missing(document, has_allow_rule):
    assert parse_decision(document, "r1", needs_allow=has_allow_rule) == Decision(allow=True, revision="r1")


@pytest.mark.parametrize(
    ("document", "has_allow_rule", "reasons"),
    [
        ({"deny": True}, False, (DENIED,)),
        ({"deny": True, "allow": True}, True, (DENIED,)),
        ({"deny": ["no tools"]}, False, ("no tools",)),
        ({"deny": ["b", "a", "b"], "allow": True}, True, ("a", "b")),
        ({"deny": [""]}, False, (DENIED,)),
        ({"allow": False}, True, (NOT_ALLOWED,)),
        ({"allow": False}, False, (NOT_ALLOWED,)),
        ({}, True, (NOT_ALLOWED,)),
        ({"allow": False, "deny": ["why"]}, True, ("why",)),
    ],
)
def test_a_call_is_denied_with_all_reasons(document, has_allow_rule, reasons):
    decision = parse_decision(document, "r1", needs_allow=has_allow_rule)
    assert decision == Decision(allow=False, reasons=reasons, revision="r1")
    assert decision.refusal().status == 403
    assert all(reason in decision.refusal().message for reason in reasons)


@pytest.mark.parametrize(
    "document",
    [
        *(None, True, False, 1, "allow", [], ["x"]),
        *({"deny": None}, {"deny": 0}, {"deny": "no"}, {"deny": {}}, {"deny": {"x": True}}),
        *({"deny": [1]}, {"deny": ["x", None]}, {"deny": [["x"]]}),
        *({"allow": None}, {"allow": 1}, {"allow": "true"}, {"allow": []}, {"allow": [True]}),
        *({"allow": "false", "deny": ["x"]}, {"allow": True, "deny": "x"}),
        *({"allow": True, "model": m} for m in (None, "", 1, True, ["m"], "x" * 257, "a\nb", " a")),
        *({"allow": True, "max_tokens": n} for n in (None, 0, -1, 1.5, "5", True, [5], 2**60)),
    ],
    ids=repr,
)
def test_P2_a_malformed_document_denies_and_only_the_operator_sees_why(document):
    decision = parse_decision(document, "r1", needs_allow=False)
    assert not decision.allow
    assert decision.failure
    refusal = decision.refusal()
    assert (refusal.status, refusal.code, refusal.fault) == (503, "policy_undecided", Fault.OPERATOR)
    assert decision.failure not in refusal.message


@pytest.mark.parametrize(
    ("document", "model", "max_tokens"),
    [
        ({"allow": True, "model": "gpt-4o-mini"}, "gpt-4o-mini", None),
        ({"deny": False, "max_tokens": 500}, None, 500),
        ({"max_tokens": 1}, None, 1),
        ({"max_tokens": 500.0, "model": "models/a b"}, "models/a b", 500),
    ],
)
def test_obligations_come_with_an_allowed_call(document, model, max_tokens):
    decision = parse_decision(document, None, needs_allow=False)
    assert (decision.allow, decision.model, decision.max_tokens) == (True, model, max_tokens)


def test_a_denied_call_has_no_obligations():
    decision = parse_decision({"deny": ["x"], "model": "m", "max_tokens": 1}, None, needs_allow=False)
    assert (decision.model, decision.max_tokens) == (None, None)


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("not\r\nx-evil: 1", "not  x-evil: 1"),
        ("\x1b[31mred", "[31mred"),
        ("a\u202eb\u2028c", "a b c"),
        ("x" * 300, "x" * 199 + "…"),
        ("  ", DENIED),
        ("nur für Menschen", "nur für Menschen"),
    ],
)
def test_a_reason_is_one_plain_line(reason, shown):
    assert parse_decision({"deny": [reason]}, None, needs_allow=False).reasons == (shown,)


def test_the_caller_gets_some_reasons_and_the_number_of_others():
    reasons = parse_decision({"deny": [f"r{i:02}" for i in range(20)]}, None, needs_allow=False).reasons
    assert len(reasons) == MOST_REASONS + 1
    assert reasons[-1] == "(and 12 more)"


def test_an_undecided_call_is_denied():
    decision = undecided("it hung", "r2")
    assert (decision.allow, decision.failure, decision.revision) == (False, "it hung", "r2")
