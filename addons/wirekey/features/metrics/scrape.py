"""The response to GET /metrics: who may read it, and its text.

A thousand lines take about 9 ms to write. A thread writes them in small parts with pauses, because it would otherwise
keep the interpreter from the event loop for that time. All requests that arrive in the meantime share the text.
"""

from __future__ import annotations

import asyncio
import copy
import time
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from wirekey.core.egress.addresses import is_address, is_loopback, is_own_name
from wirekey.core.endpoints.routes import wrong_method
from wirekey.core.local_response import LocalResponse, local_error
from wirekey.features.metrics.config import Readers
from wirekey.features.metrics.merging import Merged, report_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator
    from ipaddress import IPv4Network, IPv6Network

    from prometheus_client import CollectorRegistry, Metric
    from prometheus_client.samples import Sample

    from wirekey.core.endpoints.local_request import LocalRequest
    from wirekey.core.endpoints.reply import LocalReply
    from wirekey.features.metrics.merging import Report


METRICS_PATH = "/metrics"
AT_ONCE = 100
"""Lines that are written between two pauses: 1 ms."""
PAUSE = 0.001
FRESH = 0.5
"""Minimum seconds for which a text is reused."""
REUSE_FACTOR = 5
"""A text is reused for this many times the time it took to make, which bounds the cost of frequent scrapes."""


class Scrape:
    """Serves the metrics of a registry. For one event loop.

    `look` is called on it before each text is made. `readers` returns who may read them; without it, only programs of
    this machine.
    """

    def __init__(
        self, registry: CollectorRegistry, look: Callable[[], None], readers: Callable[[], Readers] | None = None
    ) -> None:
        self._registry = registry
        self._look = look
        self._readers = readers
        self.others: Callable[[], Awaitable[list[Report]]] | None = None
        """Returns the metrics of the other workers, if there are any."""
        self._text = b""
        self._fresh_until = float("-inf")
        self._making: asyncio.Task[None] | None = None

    def respond(self, request: LocalRequest) -> LocalReply:
        """Return the response to a request for the metrics."""
        return wrong_method(request) or self._refused(request) or self._response()

    def _refused(self, request: LocalRequest) -> LocalResponse | None:
        return refused(request, self._readers() if self._readers else Readers())

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


def refused(request: LocalRequest, readers: Readers) -> LocalResponse | None:
    """Return a refusal, or None for programs of this machine and for those that may read the metrics from others.

    The Host header must name this machine, too. Otherwise a page in a browser there whose own name points to this
    machine (DNS rebinding) could read who calls which model and what it costs.
    """
    if not request.is_forwarded:
        host = request.host
        if is_loopback(request.address) and (not request.values("host") or is_own_name(host)):
            return None
        if is_within(request.address, readers.networks) and (
            is_own_name(host) or is_address(host) or host in readers.names
        ):
            return None
    message = (
        "Metrics are served only on the machine itself, at 127.0.0.1, [::1] or localhost. Run a collector there, such "
        "as Prometheus in agent mode, or add the network of Prometheus to console.metrics_from, and the host name that "
        "it uses to console.names."
    )
    return local_error(403, "forbidden", message)


def is_within(address: str, networks: Collection[IPv4Network | IPv6Network]) -> bool:
    """Return whether a client's address is in one of the networks."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return any(found in network for network in networks)
