"""Counts calls for /metrics, and reads the condition of the process when /metrics is requested."""

from __future__ import annotations

import asyncio
import contextlib
import platform
import time
from importlib.metadata import version
from typing import TYPE_CHECKING

from mitmproxy import ctx
from prometheus_client import CollectorRegistry, ProcessCollector

from wirekey import __version__
from wirekey.core.addons.base import Addon
from wirekey.core.observing.log_handler import lost_lines
from wirekey.features.metrics.call_metrics import CallMetrics, streams
from wirekey.features.metrics.condition import Condition, ConditionCollector, account_counts, key_counts
from wirekey.features.metrics.config import MetricLabels, Readers, readers
from wirekey.features.metrics.label_metrics import LabelMetrics
from wirekey.features.metrics.measures import measures_of
from wirekey.features.metrics.scrape import METRICS_PATH, Scrape
from wirekey.features.metrics.session_metrics import SessionMetrics
from wirekey.server.endpoints import Endpoints
from wirekey.server.lifecycle import Lifecycle

if TYPE_CHECKING:
    from wirekey.core.addons.order import AddonOrder
    from wirekey.core.calls.services import Services

LOOKS_EVERY = 0.5
"""Seconds between two measurements of the event loop's lag."""


class Metrics(Addon):
    """Observes the events of calls, and measures the lag of the event loop. It decides nothing."""

    def __init__(self, services: Services, order: AddonOrder) -> None:
        super().__init__(services)
        self.order = order
        self.lifecycle = order.get(Lifecycle)
        self.registry = CollectorRegistry(auto_describe=False)
        self.call_metrics = CallMetrics(self.registry)
        self.collector = ConditionCollector()
        self.registry.register(self.collector)
        ProcessCollector(registry=self.registry)
        self.scrape = Scrape(self.registry, self.look, self.readers)
        self.pages = {METRICS_PATH: self.scrape.respond}
        self.build = (__version__, version("mitmproxy"), platform.python_version())
        self.measuring: asyncio.Task[None] | None = None
        by_label = LabelMetrics(self.registry, self.label_names)
        services.events.observers += [self.call_metrics, SessionMetrics(self.registry), by_label]

    def readers(self) -> Readers:
        """Return who may read the metrics, by the configuration in use."""
        assert self.lifecycle.config
        return readers(self.lifecycle.config.console)

    def label_names(self) -> tuple[str, ...]:
        """Return the labels by which calls are counted, by the configuration in use."""
        labels = self.services.settings.features.find(MetricLabels)
        return labels.names if labels else ()

    async def running(self) -> None:
        """Start to measure."""
        if not self.lifecycle.opened:
            return
        if worker := self.lifecycle.worker:
            worker.collectors["metrics"] = self.scrape.report
            self.scrape.others = lambda: worker.ask("metrics")
        self.services.store.took = self.call_metrics.intents.observe
        self.measuring = asyncio.create_task(self.measure_lag())

    async def done(self) -> None:
        """Stop measuring."""
        if self.measuring:
            self.measuring.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.measuring
            self.measuring = None

    async def measure_lag(self) -> None:
        """Measure, again and again, how late the event loop runs what is due."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LOOKS_EVERY
            await asyncio.sleep(LOOKS_EVERY)
            self.call_metrics.lag.observe(max(0.0, loop.time() - due))

    def look(self) -> None:
        """Note the condition of the process. It runs on the event loop, since a thread may not read the condition."""
        report = self.order.get(Endpoints).readiness.report()
        services, store, authority = self.services, self.services.store, self.lifecycle.authority
        opened = [state.call for state in self.calls.states.values() if state.call.intent_recorded]
        self.collector.condition = Condition(
            build=self.build,
            ready={part: reason is None for part, reason in report.parts.items()},
            available={name: reason is None for name, reason in report.dependencies.items()},
            rejected_changes=frozenset(report.rejected_changes),
            keys=key_counts(services.settings.all_pools(), time.monotonic()),
            accounts=account_counts(services.settings.backends, time.monotonic()),
            open_calls=len(opened),
            open_streams=sum(call.operation is not None and streams(call, call.operation) for call in opened),
            open_sessions=services.open_sessions.counts(),
            tasks=len(asyncio.all_tasks()),
            client_connections=len(ctx.master.addons.get("proxyserver").connections),
            audit_queue=store.waiting,
            audit_lost=store.lost,
            log_lost=lost_lines(),
            quotas=services.usage_limits.ratios(),
            ca_ends=authority.expires.timestamp() if authority else None,
            simulated=services.settings.simulated,
            of_features=measures_of(services.opened),
        )
