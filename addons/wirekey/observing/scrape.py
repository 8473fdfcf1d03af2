"""The response to GET /metrics: who may read it, and its text.

A thousand lines take about 9 ms to write. A thread writes them in small parts with pauses, because it would otherwise
keep the interpreter from the event loop for that time. All requests that arrive in the meantime share the text.
"""

from __future__ import annotations

import asyncio
import copy
import time
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from wirekey.console import gate
from wirekey.console.router import wrong_method
from wirekey.egress.addresses import is_loopback, is_own_name
from wirekey.local_response import LocalResponse, local_error
from wirekey.observing.merging import Merged, report_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from prometheus_client import CollectorRegistry, Metric
    from prometheus_client.samples import Sample

    from wirekey.console.local_request import LocalRequest
    from wirekey.console.reply import LocalReply
    from wirekey.observing.merging import Report

METRICS_PATH = "/metrics"
AT_ONCE = 100
"""Lines that are written between two pauses: 1 ms."""
PAUSE = 0.001
FRESH = 0.5
"""Minimum seconds for which a text is reused."""
REUSE_FACTOR = 5
"""A text is reused for this many times the time it took to make, which bounds the cost of frequent scrapes."""


class Scrape:
    """Serves the metrics of a registry. For one event loop. `look` is called on it before each text is made."""

    def __init__(self, registry: CollectorRegistry, look: Callable[[], None]) -> None:
        self._registry = registry
        self._look = look
        self.others: Callable[[], Awaitable[list[Report]]] | None = None
        """Returns the metrics of the other workers, if there are any."""
        self._text = b""
        self._fresh_until = float("-inf")
        self._making: asyncio.Task[None] | None = None

    def respond(self, request: LocalRequest) -> LocalReply:
        """Return the response to a request for the metrics."""
        return wrong_method(request) or refused(request) or self._response()

    def _response(self) -> Awaitable[LocalResponse]:
        if self._making is None and time.monotonic() >= self._fresh_until:
            self._making = asyncio.create_task(self._make())
        return self._latest(self._making)

    async def _latest(self, making: asyncio.Task[None] | None) -> LocalResponse:
        if making:
            await asyncio.shield(making)  # a client that disconnects must not cancel it for the others
        length = str(len(self._text))
        return LocalResponse(200, (("content-type", CONTENT_TYPE_LATEST), ("content-length", length)), self._text)

    async def _make(self) -> None:
        try:
            reports = await self.others() if self.others else []
            self._look()
            began = time.monotonic()
            self._text = await asyncio.to_thread(self._written, reports)
            now = time.monotonic()
            self._fresh_until = now + max(FRESH, REUSE_FACTOR * (now - began))
        finally:
            self._making = None

    def _written(self, reports: list[Report]) -> bytes:
        return written(Merged([report_of(self._registry), *reports]) if reports else self._registry)

    async def report(self) -> Report:
        """Return the metrics of this process, for another worker."""
        self._look()
        return await asyncio.to_thread(report_of, self._registry)


class Part(Collector):
    """A collector of some samples of a metric."""

    def __init__(self, metric: Metric, samples: list[Sample]) -> None:
        self._metric = copy.copy(metric)
        self._metric.samples = samples

    def collect(self) -> Iterator[Metric]:
        """Yield the metric with these samples."""
        yield self._metric


def written(registry: Collector) -> bytes:
    """Return the text of a registry. Run it in a thread; it pauses for others."""
    pieces = []
    for piece in pieces_of(registry):
        pieces.append(piece)
        time.sleep(PAUSE)
    return b"".join(pieces)


def pieces_of(registry: Collector) -> Iterator[bytes]:
    """Yield the text of a registry in pieces of at most `AT_ONCE` samples."""
    for metric in registry.collect():
        for start in range(0, len(metric.samples) or 1, AT_ONCE):
            text = generate_latest(Part(metric, metric.samples[start : start + AT_ONCE]))
            # The two description lines of a metric appear once.
            yield text.split(b"\n", 2)[2] if start else text


def refused(request: LocalRequest) -> LocalResponse | None:
    """Return a refusal for clients on other machines, or None for programs of this machine.

    The Host header must name this machine, too. Otherwise a page in a local browser whose own name points to loopback
    (DNS rebinding) could read who calls which model and what it costs.
    """
    named_well = not request.values("host") or is_own_name(gate.host_of(request))
    if is_loopback(request.address) and named_well and not gate.is_forwarded(request):
        return None
    message = (
        "Metrics are served only on the machine itself, at 127.0.0.1, [::1] or localhost. Run a collector there, such "
        "as Prometheus in agent mode, or use a tunnel."
    )
    return local_error(403, "forbidden", message)
