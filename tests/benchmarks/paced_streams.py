"""Many streams at once, each with 30 events a second at its own times: the speed at which models write."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from functools import partial

from tests.benchmarks import load, proxies
from tests.benchmarks.idle import GATEWAYS
from tests.benchmarks.open_loop import percentile_ms
from tests.benchmarks.scenarios import Figure, Scenario
from tests.benchmarks.systems import System

EVENTS_A_SECOND = 30
SECONDS = 8.0
START = 1.0
"""Seconds over which the streams start, so that their events do not come at the same moments."""
STAMP = re.compile(load.SENT + rb"(\d+) ")
LONGEST_STAMP = 32


class Reader(asyncio.Protocol):
    """Reads one stream, and notes the transit of each event from `since` on."""

    def __init__(self, request: bytes, delays: list[tuple[float, float]]) -> None:
        self.request, self.delays = request, delays
        self.rest = b""
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport) -> None:
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        data, last = self.rest + data, 0
        for match in STAMP.finditer(data):
            self.delays.append((now / 1e9, (now - int(match[1])) / 1e9))
            last = match.end()
        self.rest = data[max(last, len(data) - LONGEST_STAMP) :]
        if data.endswith(b"0\r\n\r\n") and not self.ended.done():
            self.ended.set_result(None)
            self.transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(RuntimeError("the stream broke off"))


async def measure(system: System, share: float, *, streams: int) -> Mapping[str, float]:
    """Measure in the time in which all streams send."""
    target, seconds = system.targets["gateway"], max(1.5, SECONDS * share)
    request = load.request(
        target, stream=True, events=round((seconds + START) * EVENTS_A_SECOND), pace=round(1 / EVENTS_A_SECOND, 4)
    )
    delays: list[tuple[float, float]] = []
    loop, readers = asyncio.get_running_loop(), []
    context = target.context()
    for _ in range(streams):
        _, reader = await loop.create_connection(
            partial(Reader, request, delays),
            "127.0.0.1",
            target.proxy_port,
            ssl=context,
            server_hostname=target.host if context else None,
        )
        readers.append(reader)
        await asyncio.sleep(START / streams)
    began, used = time.monotonic(), proxies.cpu_seconds(system.pid) if system.pid else 0.0
    await asyncio.sleep(seconds - 0.5)
    ended = time.monotonic()
    values = {}
    if system.pid:
        within = sum(began <= at < ended for at, _ in delays)
        values["CPU of an event"] = (proxies.cpu_seconds(system.pid) - used) * 1e6 / max(1, within)
        values["memory"] = proxies.memory_of_all_mib(system.pid)
    await asyncio.gather(*(reader.ended for reader in readers))
    transit = [delay for at, delay in delays if began <= at < ended]
    values["transit, p50"] = percentile_ms(transit, 50)
    values["transit, p99"] = percentile_ms(transit, 99)
    return values


FIGURES = (
    Figure("CPU of an event", "µs", 1),
    Figure("transit, p50", "ms"),
    Figure("transit, p99", "ms"),
    Figure("memory", "MiB", 0),
)
SCENARIOS = tuple(
    Scenario(f"{count} paced streams", FIGURES, GATEWAYS, partial(measure, streams=count)) for count in (100, 1000)
)
