"""Generated policies are decided as OPA decides them: the second half. See differential_parts.py."""

import pytest

from tests.policy.differential_parts import PARTS, check_part


@pytest.mark.parametrize("part", PARTS[2:])
def test_generated_policies_are_decided_as_with_opa(oracle, part):
    check_part(part, oracle)
