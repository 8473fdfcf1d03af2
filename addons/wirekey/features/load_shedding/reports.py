"""The metrics of load shedding, and its entry on the live page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.server.feature_parts import Measure, Measures, Notices

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.feature import FeatureValues
    from wirekey.features.load_shedding.monitor import LoadMonitor


def monitor_of(opened: FeatureValues) -> LoadMonitor | None:
    """Return the monitor of a running process."""
    from wirekey.features.load_shedding.monitor import LoadMonitor

    return opened.find(LoadMonitor)


def measures(opened: FeatureValues) -> Iterator[Measure]:
    """Yield the stage, and how often each stage has refused something."""
    monitor = monitor_of(opened)
    yield Measure(
        "wirekey_load_shedding_stage",
        "gauge",
        "0 while nothing is refused because of load; 1: new connections, 2: large bodies, 3: lists of models, "
        "4: calls. Each stage also refuses what those before it refuse. Of several workers, the highest.",
        (),
        {(): float(monitor.stage)} if monitor else {},
    )
    yield Measure(
        "wirekey_load_shed_total",
        "counter",
        "Connections and requests that were refused with 503 because of load.",
        ("stage",),
        {(each.name.lower(),): float(number) for each, number in monitor.refused.items()} if monitor else {},
    )


def nothing(_: FeatureValues) -> tuple[str, ...]:
    """Return no lines: at the start nothing is refused."""
    return ()


def notes(opened: FeatureValues) -> Iterator[tuple[str, str, str]]:
    """Yield the entry of the live page."""
    monitor = monitor_of(opened)
    if monitor and monitor.stage:
        yield (
            "bad",
            f"Too much work: stage {monitor.stage:d} of 4 of limits.load_shedding refuses requests with 503.",
            "Run more workers or replicas, or lower the load.",
        )


METRICS = Measures(measures)
NOTICES = Notices(nothing, nothing, notes)
