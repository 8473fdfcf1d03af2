"""Which stage follows from which delays."""

from __future__ import annotations

import pytest

from wirekey.features.load_shedding.stages import CALM, Stage, Stages

LAG = 0.1


def after(*delays: float, stages: Stages | None = None) -> Stage:
    """Return the stage after these delays, as multiples of the setting."""
    found = stages or Stages()
    for delay in delays:
        found.measured(delay * LAG, LAG)
    return found.stage


CASES = {
    "no delay": ([0] * 20, Stage.NOTHING),
    "less than the setting": ([0.9] * 20, Stage.NOTHING),
    "one long task": ([50], Stage.NOTHING),
    "long tasks with pauses": ([50, 0.5] * 10, Stage.NOTHING),
    "as much as the setting": ([1] * 20, Stage.CONNECTIONS),
    "one and a half times": ([1.5] * 20, Stage.LARGE_BODIES),
    "twice": ([2] * 20, Stage.MODEL_LISTS),
    "three times": ([3] * 20, Stage.CALLS),
    "less again, but not half": ([1] * 20 + [0.6] * 50, Stage.CONNECTIONS),
    "below half for too short a time": ([1] * 20 + [0.4] * (CALM - 1), Stage.CONNECTIONS),
    "below half with one exception": ([1] * 20 + ([0.4] * (CALM - 1) + [0.6]) * 5, Stage.CONNECTIONS),
    "below half": ([1] * 20 + [0.4] * CALM, Stage.NOTHING),
    "all calls refused, and one short delay": ([3] * 20 + [1.4], Stage.MODEL_LISTS),
}


@pytest.mark.parametrize(("delays", "stage"), CASES.values(), ids=CASES)
def test_a_stage_begins_above_its_bound_and_ends_below_half_of_it(delays, stage):
    assert after(*delays) == stage


def test_each_stage_follows_the_one_before_however_long_the_delay_is():
    stages = Stages()
    up = [stages.measured(99.0, LAG) for _ in range(7)]
    assert list(dict.fromkeys(up)) == list(Stage)
    down = [stages.measured(0.0, LAG) for _ in range(4 * CALM)]
    assert list(dict.fromkeys(down)) == list(reversed(Stage))[1:]
