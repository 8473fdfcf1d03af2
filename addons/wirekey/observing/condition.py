"""What Prometheus is told of the process itself: its condition at the moment of being asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client import Metric

    from wirekey.credentials.pool import KeyPool

BUILD = ("version", "mitmproxy", "python")


@dataclass(frozen=True, slots=True)
class Condition:
    """One moment. Times are Unix seconds; None is not known."""

    build: tuple[str, str, str] = ("", "", "")
    """Versions, by `BUILD`."""
    ready: Mapping[str, bool] = field(default_factory=dict)
    """Part → whether it is."""
    keys: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Pool → keys that can be used, keys that rest."""
    open_calls: int = 0
    open_streams: int = 0
    client_connections: int = 0
    audit_queue: int = 0
    audit_lost: int = 0
    ca_ends: float | None = None
    simulated: bool = False


class ConditionCollector(Collector):
    """Says what `condition` was when it was last set."""

    def __init__(self) -> None:
        self.condition = Condition()

    def collect(self) -> Iterator[Metric]:
        now = self.condition
        yield gauge("wirekey_build_info", "Versions; always 1.", [(now.build, 1)], BUILD)
        parts = [((part,), float(ready)) for part, ready in now.ready.items()]
        yield gauge("wirekey_ready", "Whether a part can take calls, as /ready says.", parts, ("part",))
        states = [
            ((provider, state), float(number))
            for provider, numbers in now.keys.items()
            for state, number in zip(("usable", "resting"), numbers, strict=True)
        ]
        yield gauge("wirekey_keys", "Provider keys that can be used, or rest.", states, ("provider", "state"))
        single = {
            "wirekey_open_calls": ("Calls that are allowed and have not ended.", now.open_calls),
            "wirekey_open_streams": ("Of the open calls, those that asked for a stream.", now.open_streams),
            "wirekey_client_connections": ("Connections of clients to the proxy.", now.client_connections),
            "wirekey_audit_queue_rows": ("Rows that wait for the audit store's writer.", now.audit_queue),
            "wirekey_simulated": ("1 where the simulator answers instead of the providers.", float(now.simulated)),
        }
        for name, (about, value) in single.items():
            yield GaugeMetricFamily(name, about, value=value)
        lost = "Ends of calls that could not be recorded in the audit store."
        yield CounterMetricFamily("wirekey_audit_lost_total", lost, value=now.audit_lost)
        if now.ca_ends is not None:
            about = "When the CA that clients trust ends: Unix time in seconds."
            yield GaugeMetricFamily("wirekey_ca_end_timestamp_seconds", about, value=now.ca_ends)


def gauge(name: str, about: str, samples: Iterable[tuple[tuple[str, ...], float]], labels: tuple[str, ...]) -> Metric:
    family = GaugeMetricFamily(name, about, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def key_counts(pools: Mapping[str, KeyPool], now: float) -> dict[str, tuple[int, int]]:
    """Give, by pool, how many keys can be used and how many rest; `now` is of the pools' clock."""
    counts = {}
    for name, pool in pools.items():
        resting = sum(key.cooling_until > now for key in pool.keys)
        counts[name] = (len(pool.keys) - resting, resting)
    return counts
