"""Counters and histograms that cost little to update, in the form that prometheus_client collects.

Those of prometheus_client take a lock and check their labels at each update, and a call updates ten of them. Here an
update is an addition. One thread updates; any thread may collect, and then perhaps sees a call that is half counted.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import CollectorRegistry, Metric


class Count:
    """A counter with all its labels. Add to `value`, nothing negative."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0


class Distribution:
    """A histogram with all its labels. `bounds`: the upper bounds of its buckets, ascending."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """One for each bucket, not cumulative. The last one has what lies above all bounds."""
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Add one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class CounterFamily(Collector):
    """Counters of one name, by the values of their labels. Its name ends with `_total`."""

    def __init__(self, name: str, documentation: str, labels: tuple[str, ...], registry: CollectorRegistry) -> None:
        self.name, self.documentation, self.label_names = name, documentation, labels
        self._counts: dict[tuple[str, ...], Count] = {}
        registry.register(self)

    def labels(self, *values: str) -> Count:
        """Return the counter with these values of its labels, made now if it is new."""
        return self._counts.setdefault(values, Count())

    def collect(self) -> Iterator[Metric]:
        """Yield the metric with a sample for each counter."""
        family = CounterMetricFamily(self.name, self.documentation, labels=self.label_names)
        for values, count in list(self._counts.items()):
            family.add_metric(values, count.value)
        yield family


class HistogramFamily(Collector):
    """Histograms of one name, by the values of their labels."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: tuple[str, ...],
        bounds: tuple[float, ...],
        registry: CollectorRegistry,
    ) -> None:
        self.name, self.documentation, self.label_names, self.bounds = name, documentation, labels, bounds
        self._distributions: dict[tuple[str, ...], Distribution] = {}
        self._shown_bounds = [*map(floatToGoString, bounds), "+Inf"]
        registry.register(self)

    def labels(self, *values: str) -> Distribution:
        """Return the histogram with these values of its labels, made now if it is new."""
        return self._distributions.setdefault(values, Distribution(self.bounds))

    def collect(self) -> Iterator[Metric]:
        """Yield the metric with the samples of each histogram."""
        family = HistogramMetricFamily(self.name, self.documentation, labels=self.label_names)
        for values, found in list(self._distributions.items()):
            buckets = list(zip(self._shown_bounds, accumulate(map(float, found.counts)), strict=True))
            family.add_metric(values, buckets, found.total)
        yield family
