"""Each case of tests/rego/cases is decided as OPA decides it, or it is listed with what comes of it."""

import pytest

from tests.rego.cases import listed, read_cases
from tests.rego.cases.outcomes import LISTS, outcome_of

CASES = read_cases()
LISTED = {name: (file, reason) for file in LISTS for name, reason in listed(f"{file}.txt").items()}


def test_case_names_are_unique_and_lists_have_only_cases():
    names = {case.name for case in CASES}
    assert len(names) == len(CASES)
    assert LISTED.keys() <= names


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_the_case_is_decided_as_opa_decides_it(oracle, case):
    assert outcome_of(case, oracle) == LISTED.get(case.name, ("same", ""))
