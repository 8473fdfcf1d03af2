"""The stages of a running event loop that is blocked on purpose."""

from __future__ import annotations

import asyncio
import logging
import math
import time

from tests.support.addon_flows import services_for
from wirekey.feature import FeatureValues
from wirekey.features.load_shedding import monitor as monitor_module
from wirekey.features.load_shedding.monitor import LoadMonitor, begin, end
from wirekey.features.load_shedding.reports import METRICS, notes
from wirekey.features.load_shedding.stages import Bounds, Stage

LAG = 0.02


def monitor_with(lag: float | None = LAG) -> LoadMonitor:
    values = [Bounds(lag, 1000)] if lag else []
    return LoadMonitor(services_for(features=FeatureValues.of(values)))


async def stages_until(monitor: LoadMonitor, wanted: Stage, *, blocked: float) -> list[Stage]:
    """Block each turn of the loop for so long until a stage is reached. Return the stages that were seen, in order."""
    seen = [monitor.stage]
    async with asyncio.timeout(60):
        while monitor.stage is not wanted:
            time.sleep(blocked)
            await asyncio.sleep(0 if blocked else 0.001)
            if monitor.stage is not seen[-1]:
                seen.append(monitor.stage)
    return seen


async def test_a_blocked_loop_passes_the_stages_in_order_and_recovers(caplog, monkeypatch):
    monkeypatch.setattr(monitor_module, "INTERVAL", 0.001)
    monitor = monitor_with()
    opened = FeatureValues.of([monitor])
    caplog.set_level(logging.WARNING)
    begin(opened)
    assert await stages_until(monitor, Stage.CALLS, blocked=4 * LAG) == list(Stage)
    assert monitor.since <= time.time()
    assert [text for _, text, _ in notes(opened)] == [
        "Too much work: stage 4 of 4 of limits.load_shedding refuses requests with 503."
    ]
    monitor.services.settings = services_for(features=FeatureValues.of([Bounds(5.0, 1000)])).settings
    recovered = await stages_until(monitor, Stage.NOTHING, blocked=0)
    assert recovered == list(reversed(Stage))
    assert monitor.since == math.inf
    assert not list(notes(opened))
    await end(opened)
    lines = [record.getMessage() for record in caplog.records if record.name == monitor_module.__name__]
    assert [line.partition("late. ")[2].partition(" are")[0] for line in lines[:-1]] == [
        "New connections", "Large bodies", "Lists of models", "Calls",
    ]  # fmt: skip
    assert lines[-1].startswith("Nothing is refused any more.")


async def test_a_reload_turns_it_off_and_on():
    monitor = monitor_with(0.000001)
    opened = FeatureValues.of([monitor])
    begin(opened)
    await stages_until(monitor, Stage.CALLS, blocked=0)
    on, off = monitor.services.settings, services_for().settings
    monitor.services.settings = off
    begin(opened)
    assert monitor.stage is Stage.NOTHING
    monitor.services.settings = on
    begin(opened)
    await stages_until(monitor, Stage.CALLS, blocked=0)
    await end(opened)
    assert monitor.stage is Stage.NOTHING


async def test_it_does_not_measure_while_it_is_off():
    monitor = monitor_with(None)
    begin(FeatureValues.of([monitor]))
    assert monitor._timer is None


def test_the_metrics_are_the_stage_and_what_each_stage_refused():
    monitor = monitor_with()
    monitor.stage = Stage.LARGE_BODIES
    monitor.count(Stage.LARGE_BODIES)
    opened = FeatureValues.of([monitor])
    assert [dict(measure.samples) for measure in METRICS.read(opened)] == [
        {(): 2.0},
        {("connections",): 0.0, ("large_bodies",): 1.0, ("model_lists",): 0.0, ("calls",): 0.0},
    ]
    assert [dict(measure.samples) for measure in METRICS.read(FeatureValues.of([]))] == [{}, {}]


async def test_the_listeners_are_prepared_once_and_only_if_something_may_be_refused():
    prepared = []
    monitor = monitor_with(None)
    monitor.prepare(lambda: prepared.append("listeners"))
    monitor.begin()
    assert prepared == []
    monitor.services.settings = services_for(features=FeatureValues.of([Bounds(5.0, 1000)])).settings
    monitor.begin()
    monitor.end()
    monitor.begin()
    assert prepared == ["listeners"]
    monitor.end()
    begun = monitor_with()
    begun.begin()
    begun.prepare(lambda: prepared.append("later"))
    assert prepared == ["listeners", "later"]
    begun.end()
