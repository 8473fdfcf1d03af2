"""Generated policies are decided as OPA decides them, in parts that several workers share.

WIREKEY_DIFFERENTIAL_SEED repeats a run, WIREKEY_DIFFERENTIAL_COUNT makes it longer or shorter.
"""

import os

import pytest

from tests.policy.differential import compare, report, seeds_of

PARTS = range(4)
COUNT = int(os.environ.get("WIREKEY_DIFFERENTIAL_COUNT", "10000"))
SEED = os.environ.get("WIREKEY_DIFFERENTIAL_SEED") or str(int.from_bytes(os.urandom(4)))


@pytest.mark.parametrize("part", PARTS)
def test_generated_policies_are_decided_as_with_opa(oracle, part):
    seed, count = f"{SEED}-{part}", COUNT // len(PARTS)
    print(f"WIREKEY_DIFFERENTIAL_SEED={SEED}")
    outcome = compare(seeds_of(seed, count), oracle)
    assert outcome.policies == count
    assert not outcome.disagreeing, f"seed {SEED}: {report(outcome)}"
    assert outcome.failed_for_one <= outcome.decisions / 50, report(outcome)
    assert sum(outcome.refused.values()) <= count / 50, report(outcome)
