"""Which quotas apply to a call, and whose use it counts towards."""

from __future__ import annotations

import pytest

from tests.features.quotas.making import GIVEN
from wirekey.core.policy.input import FIELDS, HEADERS
from wirekey.features.quotas import definition, subjects
from wirekey.features.quotas.definition import Applied, MatchCondition, Quota


@pytest.mark.parametrize(
    ("match", "applies"),
    [
        ({}, True),
        ({"role": ["senior"]}, True),
        ({"role": ["junior", "sen*"]}, True),
        ({"role": ["junior"]}, False),
        ({"agent.role": ["senior"]}, True),
        ({"agent": ["ali?e"]}, True),
        ({"agent": ["Alice"]}, False),
        ({"type": ["*"]}, False),
        ({"model": ["gpt-5*"]}, True),
        ({"model": ["gpt-4*"]}, False),
        ({"role": ["senior"], "model": ["gpt-4*"]}, False),
        ({"stream": ["true"]}, True),
        ({"has_tools": ["true"]}, False),
        ({"tools": ["delete_*"]}, True),
        ({"other_models": ["*"]}, False),
        ({"max_tokens": ["10??"]}, True),
        ({"headers.user-agent": ["curl/*"]}, True),
        ({"headers.accept": ["*"]}, False),
        ({"no.such": ["*"]}, False),
    ],
)
def test_a_quota_applies_to_calls_that_match_all_its_fields(match, applies):
    quota = Quota("q", "all", tuple(MatchCondition.of(field, globs) for field, globs in match.items()))
    assert quota.applies(GIVEN) is applies


@pytest.mark.parametrize(
    ("per", "subject", "words"),
    [
        ("agent", "alice", " for the agent alice"),
        ("role", "senior", " for the role senior"),
        ("type", "_NONE", " for calls without a type"),
        ("model", "gpt-5-mini", " for the model gpt-5-mini"),
        ("provider", "openai", " for the provider openai"),
        ("all", "_ALL", ""),
        ("label:team", "search", " for the label team search"),
        ("label:session", "s1 (unverified)", " for the label session s1 (unverified)"),
        ("label:run", "_NONE", " for calls without a label run"),
    ],
)
def test_a_call_counts_towards_the_subject_that_per_names(per, subject, words):
    quota = Quota("q", per)
    applied = Applied(quota, quota.subject(GIVEN))
    assert (applied.subject, applied.words) == (subject, words)


def test_match_knows_the_fields_of_the_policy_input_except_those_that_no_pattern_fits():
    fields = {field.name for field in FIELDS} - {
        "id",
        "time",
        "headers",
        "labels",
        "labels_unverified",
        "spend",
        "remaining",
    }
    assert {*definition.MATCHED} == fields | {*definition.ALIASES}
    assert all(definition.value_at({"headers": {name: "x"}}, f"headers.{name}") == "x" for name in HEADERS)


def test_a_label_in_a_header_never_counts_towards_the_same_verified_one():
    quota = Quota("q", "label:team")
    verified, spoofed = {"labels": {"team": "search"}}, {"labels_unverified": {"team": "search"}}
    assert quota.subject(verified) != quota.subject(spoofed)
    assert quota.subject(verified | {"labels_unverified": {"team": "ads"}}) == "search"


def test_the_number_of_subjects_that_clients_name_is_limited(monkeypatch):
    monkeypatch.setattr(subjects, "MOST_APPLIED", 3)
    known, quota = subjects.QuotaSubjects(), Quota("q", "label:session")
    sessions = [f"s{number}" for number in range(6)] + ["s1"]
    found = [known.applied([quota], {"labels_unverified": {"session": one}})[0].subject for one in sessions]
    own = [f"s{number} (unverified)" for number in range(3)]
    assert found == [*own, *[subjects.OTHER] * 3, own[1]]


def test_new_values_of_clients_get_limits_of_their_own_again_after_a_day(monkeypatch):
    monkeypatch.setattr(subjects, "MOST_APPLIED", 1)
    now = [0.0]
    known, quota = subjects.QuotaSubjects(lambda: now[0]), Quota("q", "label:session")

    def subject(session):
        return known.applied([quota], {"labels_unverified": {"session": session}})[0].subject

    assert [subject("s1"), subject("s2")] == ["s1 (unverified)", subjects.OTHER]
    now[0] = subjects.FORGOTTEN_AFTER + 1
    assert [subject("s2"), subject("s1")] == ["s2 (unverified)", subjects.OTHER]


def test_match_may_name_labels():
    condition = MatchCondition.of("labels.team", ["sea*"])
    assert condition.holds({"labels": {"team": "search"}})
    assert not condition.holds({"labels_unverified": {"team": "search"}})
