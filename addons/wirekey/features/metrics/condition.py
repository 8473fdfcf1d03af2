"""The state of the process itself, for Prometheus, at the moment of the scrape."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from wirekey.core.routing.account_health import AccountState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client import Metric

    from wirekey.core.credentials.pool import KeyPool
    from wirekey.core.routing.candidate import Accounts
    from wirekey.server.feature_parts import Measure

CHANGES = ("policy", "configuration")
"""Files that are loaded again when they change."""
BUILD = ("version", "mitmproxy", "python")


@dataclass(frozen=True, slots=True)
class Condition:
    """One snapshot of the process. Times are Unix seconds; None is unknown."""

    build: tuple[str, str, str] = ("", "", "")
    """Versions, by `BUILD`."""
    ready: Mapping[str, bool] = field(default_factory=dict)
    """Part → whether it is ready."""
    available: Mapping[str, bool] = field(default_factory=dict)
    """Server that several machines share → whether it can be used."""
    rejected_changes: frozenset[str] = frozenset()
    """Those of `CHANGES` whose change is not in use."""
    keys: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Pool → number of usable keys, number of keys that cool down."""
    accounts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(Backend, state) → number of Google accounts."""
    open_calls: int = 0
    open_streams: int = 0
    open_sessions: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Provider and operation → number of open sessions."""
    client_connections: int = 0
    tasks: int = 0
    """Of the event loop."""
    audit_queue: int = 0
    audit_lost: int = 0
    log_lost: int = 0
    quotas: Mapping[str, float] = field(default_factory=dict)
    """Quota → the share that is left of it."""
    ca_ends: float | None = None
    simulated: bool = False
    of_features: tuple[Measure, ...] = ()


class ConditionCollector(Collector):
    """A Prometheus collector of the `condition` that was set last."""

    def __init__(self) -> None:
        self.condition = Condition()

    def collect(self) -> Iterator[Metric]:
        """Yield a metric family for each field of the condition."""
        now = self.condition
        yield gauge("wirekey_build_info", "Versions; always 1.", [(now.build, 1)], BUILD)
        parts = [((part,), float(ready)) for part, ready in now.ready.items()]
        yield gauge("wirekey_ready", "Whether a part is ready for calls, as in /ready.", parts, ("part",))
        servers = [((name,), float(available)) for name, available in now.available.items()]
        yield gauge(
            "wirekey_dependency_available",
            "Whether a server that several machines share can be used, as in /health.",
            servers,
            ("dependency",),
        )
        changes = [((what,), float(what in now.rejected_changes)) for what in CHANGES]
        yield gauge(
            "wirekey_change_rejected",
            "1 while a changed policy or configuration has errors, and the previous one stays in use.",
            changes,
            ("what",),
        )
        states = [
            ((provider, state), float(number))
            for provider, numbers in now.keys.items()
            for state, number in zip(("usable", "cooling_down"), numbers, strict=True)
        ]
        yield gauge("wirekey_keys", "Provider keys that are usable or cooling down.", states, ("provider", "state"))
        accounts = [(labels, float(number)) for labels, number in now.accounts.items()]
        yield gauge(
            "wirekey_google_accounts",
            "Google accounts of each backend of Code Assist. A limited one may still be used for other models.",
            accounts,
            ("backend", "state"),
        )
        ratios = [((quota,), ratio) for quota, ratio in now.quotas.items()]
        yield gauge(
            "wirekey_quota_remaining_ratio",
            "Share of a quota that is left, from 0 to 1, for the limit and the agent, role, … with the least.",
            ratios,
            ("quota",),
        )
        sessions = [(labels, float(number)) for labels, number in now.open_sessions.items()]
        labels = ("provider", "operation")
        yield gauge("wirekey_open_sessions", "Open connections of many responses.", sessions, labels)
        single = {
            "wirekey_open_calls": ("Calls that were allowed and have not ended.", now.open_calls),
            "wirekey_open_streams": ("Open calls that asked for a stream.", now.open_streams),
            "wirekey_client_connections": ("Client connections to the proxy.", now.client_connections),
            "wirekey_event_loop_tasks": ("Tasks of the event loop. They grow with open connections.", now.tasks),
            "wirekey_audit_queue_rows": ("Rows waiting for the writer of the audit store.", now.audit_queue),
            "wirekey_simulated": ("1 if the simulator answers instead of the providers.", float(now.simulated)),
        }
        for name, (documentation, value) in single.items():
            yield GaugeMetricFamily(name, documentation, value=value)
        lost = "Call outcomes that could not be recorded in the audit store."
        yield CounterMetricFamily("wirekey_audit_lost_total", lost, value=now.audit_lost)
        lost = "Lines of the log that were dropped because they could not be written as fast as they came."
        yield CounterMetricFamily("wirekey_log_lost_lines_total", lost, value=now.log_lost)
        if now.ca_ends is not None:
            documentation = "Expiry of the CA that clients trust, in Unix seconds."
            yield GaugeMetricFamily("wirekey_ca_end_timestamp_seconds", documentation, value=now.ca_ends)
        yield from map(of_measure, now.of_features)


def gauge(
    name: str, help_text: str, samples: Iterable[tuple[tuple[str, ...], float]], labels: tuple[str, ...]
) -> Metric:
    """Return a gauge with one sample for each pair of label values and number."""
    family = GaugeMetricFamily(name, help_text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def of_measure(measure: Measure) -> Metric:
    """Return the metric family of a feature's own metric."""
    kind = CounterMetricFamily if measure.kind == "counter" else GaugeMetricFamily
    family = kind(measure.name, measure.documentation, labels=measure.labels)
    for values, value in measure.samples.items():
        family.add_metric(values, value)
    return family


def key_counts(pools: Mapping[str, KeyPool], now: float) -> dict[str, tuple[int, int]]:
    """Return, by pool, how many keys are usable and how many cool down. `now` is a time of the pools' clock."""
    counts = {}
    for name, pool in pools.items():
        cooling = sum(key.cooling_until > now for key in pool.keys)
        counts[name] = (len(pool.keys) - cooling, cooling)
    return counts


def account_counts(backends: Mapping[str, Accounts], now: float) -> dict[tuple[str, str], int]:
    """Return how many accounts of each backend are in each state, by (backend, state)."""
    found = {}
    for name, accounts in backends.items():
        states = Counter(each.state for each in accounts.health(now))
        found.update({(name, state.value): states[state] for state in AccountState})
    return found
