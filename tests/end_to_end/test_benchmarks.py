"""The scenarios of `python -m tests.benchmarks`, with little work, so that each still gives all of its figures."""

from __future__ import annotations

import asyncio
import json
import math

import pytest

from tests.benchmarks import arrivals, company, idle, outsider, paced_streams, start, workers
from tests.benchmarks.comparison import Measurements
from tests.benchmarks.scenarios import Figure, Goal, Options, Scenario, measure, save, table
from tests.benchmarks.systems import Cores

LITTLE = Options(rounds=1, share=0.01)
ANYWHERE = Cores(frozenset(), frozenset())


@pytest.mark.parametrize(
    "scenario",
    [
        company.SCENARIO,
        paced_streams.SCENARIOS[0],
        idle.SCENARIOS[0],
        arrivals.SCENARIO,
        outsider.SCENARIO,
        start.SCENARIO,
        workers.SCENARIO,
    ],
    ids=lambda scenario: scenario.name,
)
def test_a_scenario_gives_all_of_its_figures(scenario, tmp_path):
    found = asyncio.run(measure(scenario, LITTLE, ANYWHERE))
    for figure in scenario.figures:
        assert scenario.ours in found[figure.name], figure.name
        assert all(len(values) == LITTLE.rounds for values in found[figure.name].values())
    save(tmp_path, scenario, found, LITTLE)
    saved = json.loads((tmp_path / f"{scenario.name.replace(' ', '-')}.json").read_text())
    assert saved["samples"].keys() == {figure.name for figure in scenario.figures}
    assert len(table(scenario, found).splitlines()) == 2 + len(scenario.figures)


def test_goals_are_compared_within_each_round():
    figures = (
        Figure("rate", "", 0, goal=Goal(2, "other", at_least=True)),
        Figure("delay", "ms", 1, added=True, goal=Goal(0.5, "other")),
        Figure("size", "MiB", 0, goal=Goal(5)),
    )
    scenario = Scenario("example", figures, dict.fromkeys(("direct", "other", "wirekey")), None)  # type: ignore[arg-type]
    found = {
        "rate": Measurements(other=[1.0, 10.0], wirekey=[2.0, 30.0]),
        "delay": Measurements(direct=[1.0, 2.0], other=[3.0, 6.0], wirekey=[2.5, 4.0]),
        "size": Measurements(wirekey=[6.0, math.nan, 6.0]),
    }
    assert table(scenario, found).splitlines()[2:] == [
        "| rate | – | 6 (1–10) | 16 (2–30) | ≥ 2 × other | met: 2.50 |",
        "| delay (added): ms | 1.5 (1.0–2.0) | 3.0 (2.0–4.0) | 1.8 (1.5–2.0) | ≤ 0.5 × other | missed: 0.62 |",
        "| size: MiB | – | – | 6 (6–6) | ≤ 5 | missed |",
    ]
