"""Generated policies are decided as OPA decides them, in parts that several workers share.

Each run takes the same policies. WIREKEY_DIFFERENTIAL_SEED takes others, WIREKEY_DIFFERENTIAL_COUNT more of them;
`python -m tests.policy.differential` takes any number, from a seed by chance.
"""

import os

import pytest

from tests.policy.differential import compare, report, seeds_of

PARTS = range(2)
COUNT = int(os.environ.get("WIREKEY_DIFFERENTIAL_COUNT", "2000"))
SEED = os.environ.get("WIREKEY_DIFFERENTIAL_SEED", "wirekey")


@pytest.mark.parametrize("part", PARTS)
def test_generated_policies_are_decided_as_with_opa(oracle, part):
    seed, count = f"{SEED}-{part}", COUNT // len(PARTS)
    outcome = compare(seeds_of(seed, count), oracle)
    assert outcome.policies == count
    assert not outcome.disagreeing, f"seed {SEED}: {report(outcome)}"
    assert outcome.failed_for_one <= outcome.decisions / 50, report(outcome)
    assert sum(outcome.refused.values()) <= count / 50, report(outcome)
