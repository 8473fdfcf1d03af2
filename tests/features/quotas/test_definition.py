"""Which quotas apply to a call, and whose use it counts towards."""

from __future__ import annotations

import pytest

from tests.features.quotas.making import GIVEN
from wirekey.core.policy.input import FIELDS, HEADERS
from wirekey.features.quotas import definition
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
    ],
)
def test_a_call_counts_towards_the_subject_that_per_names(per, subject, words):
    quota = Quota("q", per)
    applied = Applied(quota, quota.subject(GIVEN))
    assert (applied.subject, applied.words) == (subject, words)


def test_match_knows_the_fields_of_the_policy_input_except_those_that_no_pattern_fits():
    fields = {field.name for field in FIELDS} - {"id", "time", "headers", "spend", "remaining"}
    assert {*definition.MATCHED} == fields | {*definition.ALIASES}
    assert all(definition.value_at({"headers": {name: "x"}}, f"{definition.HEADERS}{name}") == "x" for name in HEADERS)
