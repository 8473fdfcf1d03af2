"""The answer to GET /metrics: who may read it, and its text.

A thousand lines take some 9 ms to write. That is done in a thread, a little at a time with pauses, as it would else
take the interpreter from the event loop for as long; and once for all who ask meanwhile.
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
from wirekey.local_response import LocalResponse, local_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from prometheus_client import CollectorRegistry, Metric
    from prometheus_client.samples import Sample

    from wirekey.console.local_request import LocalRequest
    from wirekey.console.reply import LocalReply

METRICS_PATH = "/metrics"
AT_ONCE = 100
"""Lines that are written before others have their turn: 1 ms."""
PAUSE = 0.001
FRESH = 0.5
"""Seconds for which a text is given again, at least."""
RESTS = 5
"""How much longer a text is given again than it took to make, so that asking often does not cost more and more."""


class Scrape:
    """For one event loop. `look` is called on it before each text is made."""

    def __init__(self, registry: CollectorRegistry, look: Callable[[], None]) -> None:
        self._registry = registry
        self._look = look
        self._text = b""
        self._fresh_until = float("-inf")
        self._making: asyncio.Task[None] | None = None

    def answer(self, request: LocalRequest) -> LocalReply:
        return wrong_method(request) or refused(request) or self._answer()

    def _answer(self) -> Awaitable[LocalResponse]:
        if self._making is None and time.monotonic() >= self._fresh_until:
            self._making = asyncio.create_task(self._make())
        return self._latest(self._making)

    async def _latest(self, making: asyncio.Task[None] | None) -> LocalResponse:
        if making:
            await asyncio.shield(making)  # one that goes away takes it from no other
        length = str(len(self._text))
        return LocalResponse(200, (("content-type", CONTENT_TYPE_LATEST), ("content-length", length)), self._text)

    async def _make(self) -> None:
        try:
            self._look()
            began = time.monotonic()
            self._text = await asyncio.to_thread(written, self._registry)
            now = time.monotonic()
            self._fresh_until = now + max(FRESH, RESTS * (now - began))
        finally:
            self._making = None


class Part(Collector):
    """Some samples of a metric."""

    def __init__(self, metric: Metric, samples: list[Sample]) -> None:
        self._metric = copy.copy(metric)
        self._metric.samples = samples

    def collect(self) -> Iterator[Metric]:
        yield self._metric


def written(registry: Collector) -> bytes:
    """Give what is registered in the text format; made in a thread that lets others go first."""
    pieces = []
    for piece in pieces_of(registry):
        pieces.append(piece)
        time.sleep(PAUSE)
    return b"".join(pieces)


def pieces_of(registry: Collector) -> Iterator[bytes]:
    for metric in registry.collect():
        for start in range(0, len(metric.samples) or 1, AT_ONCE):
            text = generate_latest(Part(metric, metric.samples[start : start + AT_ONCE]))
            # The two lines of a metric's description are said once.
            yield text.split(b"\n", 2)[2] if start else text


def refused(request: LocalRequest) -> LocalResponse | None:
    """Let in programs of this machine only; None: this is one.

    It must also name this machine as the host. A page in a browser here that had its own name point to loopback (DNS
    rebinding) would else read who calls which model and what it costs.
    """
    named_well = not request.values("host") or gate.is_own_name(gate.host_of(request))
    if gate.is_loopback(request.address) and named_well and not gate.is_forwarded(request):
        return None
    message = (
        "Metrics are read from the machine itself, at 127.0.0.1, [::1] or localhost. Let a collector run there, such "
        "as Prometheus in agent mode, or reach it through a tunnel."
    )
    return local_error(403, "forbidden", message)
