"""Bare mitmdump and Wirekey side by side, in interleaved rounds: python -m tests.benchmarks [--rounds N] [--long]

Prints medians over the rounds and the ratio Wirekey to mitmdump, which is taken within each round. As mitmdump comes,
it holds an answer until it is whole; what is measured on streams is therefore measured against a second mitmdump
that was told to stream (stream_large_bodies=1). --long adds memory over 100,000 requests and over one stream of 1 GB.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
from pathlib import Path

from tests.benchmarks import load, proxies
from tests.benchmarks.load import Target

CONNECTIONS = 16
MIB = 1 << 20


class Measurements(dict[str, list[float]]):
    def note(self, name: str, value: float) -> None:
        self.setdefault(name, []).append(value)


async def plain_calls(pid: int, target: Target, found: Measurements, requests: int) -> None:
    before = proxies.cpu_seconds(pid)
    seconds = await load.plain(target, CONNECTIONS, requests)
    found.note("CPU seconds per 1000 requests", (proxies.cpu_seconds(pid) - before) * 1000 / requests)
    found.note("requests per second", requests / seconds)


async def streamed_calls(pid: int, target: Target, found: Measurements) -> None:
    found.note("time to first byte, ms", await load.first_bytes(target, 200) * 1000)
    found.note("delay of one event, ms", await load.chunk_delay(target, 300, 0.003) * 1000)
    before = proxies.cpu_seconds(pid)
    await load.many_chunks(target, 8, 2500)
    found.note("CPU ms per 1000 passing events", (proxies.cpu_seconds(pid) - before) * 1e6 / 20000)


async def open_streams(pid: int, target: Target, found: Measurements) -> None:
    before = proxies.memory_mib(pid)
    writers = await load.hold_streams(target, 100)
    found.note("memory with 100 open streams, MiB", proxies.memory_mib(pid))
    found.note("  of which for the streams, MiB", proxies.memory_mib(pid) - before)
    for writer in writers:
        writer.close()


async def growth(pid: int, target: Target, requests: int) -> None:
    """Print the memory after each tenth of many requests, then over one long stream."""
    sizes = []
    for _ in range(10):
        await load.plain(target, CONNECTIONS, requests // 10)
        sizes.append(proxies.memory_mib(pid))
    print(f"memory over {requests} requests, MiB: " + " ".join(f"{size:.1f}" for size in sizes))
    half = sizes[len(sizes) // 2 :]
    print(f"  second half: {half[-1] - half[0]:+.1f} MiB")
    before = proxies.memory_mib(pid)
    received = await load.large_stream(target, 1024 * MIB)
    print(f"one stream of {received / MIB:.0f} MiB: {before:.1f} -> {proxies.memory_mib(pid):.1f} MiB")


def table(bare: Measurements, ours: Measurements) -> str:
    lines = [f"{'':<34}{'mitmdump':>12}{'wirekey':>12}{'ratio':>8}{'spread':>14}"]
    for name, values in bare.items():
        ratios = sorted(mine / theirs for mine, theirs in zip(ours[name], values, strict=True))
        first, second = statistics.median(values), statistics.median(ours[name])
        spread = f"{ratios[0]:.2f}-{ratios[-1]:.2f}"
        lines.append(f"{name:<34}{first:>12.3f}{second:>12.3f}{statistics.median(ratios):>8.2f}{spread:>14}")
    return "\n".join(lines)


async def run(folder: Path, options: argparse.Namespace) -> None:
    plain, streaming, ours = Measurements(), Measurements(), Measurements()
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(proxies.upstream(folder))
        bare = stack.enter_context(proxies.bare_mitmdump(folder / "mitmdump", port))
        bare_streaming = stack.enter_context(proxies.bare_mitmdump(folder / "streaming", port, streaming=True))
        wirekey = stack.enter_context(proxies.wirekey(folder / "wirekey", port))
        for system in (bare, wirekey):
            await plain_calls(*system, Measurements(), 320)  # warms up
        for number in range(options.rounds):
            order = -1 if number % 2 else 1
            for system, found in ((bare, plain), (wirekey, ours))[::order]:
                await plain_calls(*system, found, options.requests)
            for system, found in ((bare_streaming, streaming), (wirekey, ours))[::order]:
                await streamed_calls(*system, found)
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        for system, found in ((bare_streaming, streaming), (wirekey, ours)):
            await open_streams(*system, found)
        print(table(Measurements(plain | streaming), ours))
        if options.long:
            await growth(*wirekey, 100_000)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=3200)
    parser.add_argument("--long", action="store_true")
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder), parser.parse_args()))
