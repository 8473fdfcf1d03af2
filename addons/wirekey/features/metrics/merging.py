"""Joins the metrics of several workers, so that /metrics shows all of them whichever responds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

type Report = list[tuple[str, str, str, list[tuple[str, dict[str, str], float]]]]
"""For each metric: name, help text, type, and (name, labels, value) of each sample."""

SAME_OR_HIGHEST = frozenset(
    {
        "wirekey_build_info",
        "wirekey_ca_end_timestamp_seconds",
        "wirekey_change_rejected",
        "wirekey_google_accounts",
        "wirekey_keys",
        "wirekey_load_shedding_stage",
        "wirekey_simulated",
        "process_max_fds",
    }
)
LOWEST = frozenset({"wirekey_dependency_available", "wirekey_ready", "process_start_time_seconds"})
LOWEST_ENDING = "_remaining_ratio"


def report_of(registry: Collector) -> Report:
    """Return the metrics of a registry as JSON values."""
    return [
        (
            metric.name,
            metric.documentation,
            metric.type,
            [(sample.name, sample.labels, sample.value) for sample in metric.samples],
        )
        for metric in registry.collect()
    ]


def rule_of(name: str) -> Callable[[float, float], float]:
    """Return how two values of a metric are joined: counts are added, facts about all workers are not."""
    if name in SAME_OR_HIGHEST:
        return max
    if name in LOWEST or name.endswith(LOWEST_ENDING):
        return min
    return float.__add__


class Merged(Collector):
    """A collector of the metrics of several workers. Histograms and counters are added."""

    def __init__(self, reports: Sequence[Report]) -> None:
        self._reports = reports

    def collect(self) -> Iterator[Metric]:
        """Yield each metric once, with the samples of all workers joined."""
        metrics: dict[str, Metric] = {}
        values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
        for name, documentation, kind, samples in (metric for report in self._reports for metric in report):
            metrics.setdefault(name, Metric(name, documentation, kind))
            join(values.setdefault(name, {}), samples, rule_of(name))
        for name, metric in metrics.items():
            metric.samples = [Sample(own, dict(labels), value) for (own, labels), value in values[name].items()]
            yield metric


def join(
    values: dict[tuple[str, tuple[tuple[str, str], ...]], float],
    samples: Iterable[tuple[str, dict[str, Any], float]],
    rule: Callable[[float, float], float],
) -> None:
    """Add samples to the values of their series."""
    for name, labels, value in samples:
        series = (name, tuple(labels.items()))
        values[series] = rule(values[series], float(value)) if series in values else float(value)
