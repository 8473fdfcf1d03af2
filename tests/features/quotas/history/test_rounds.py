"""A few rounds. Their seeds are printed. See the package for more rounds, or one again.

WIREKEY_HISTORY_ROUNDS sets their number.
"""

from __future__ import annotations

import os
import random

from tests.features.quotas.history.__main__ import play

ROUNDS = int(os.environ.get("WIREKEY_HISTORY_ROUNDS", "5"))


async def test_budgets_hold_while_parts_of_the_fleet_fail(tmp_path, record_property):
    results = await play(tmp_path, ROUNDS, random.SystemRandom().randrange(1, 10**6))
    failed = [str(result) for result in results if result.violations]
    assert not failed, "\n".join(failed)
    assert any(result.codes.get("accepted") for result in results)
    record_property("rounds with faults", len(results))
    record_property("calls of sub-agents", sum(sum(result.codes.values()) for result in results))
