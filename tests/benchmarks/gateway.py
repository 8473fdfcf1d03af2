"""The gateway beside bare mitmdump in reverse mode, in interleaved rounds: python -m tests.benchmarks.gateway

Plain HTTP in, TLS out. Prints medians over the rounds and the ratio Wirekey to mitmdump, which is taken within each.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
from pathlib import Path

from tests.benchmarks import load, proxies
from tests.benchmarks.__main__ import Measurements, plain_calls, table
from tests.benchmarks.load import Target

CLIENTS = 64


async def cold_calls(pid: int, target: Target, found: Measurements, requests: int) -> None:
    before = proxies.cpu_seconds(pid)
    seconds = await load.short_lived(target, CLIENTS, requests)
    found.note("short-lived: CPU s per 1000", (proxies.cpu_seconds(pid) - before) * 1000 / requests)
    found.note("short-lived: requests per second", requests / seconds)


async def run(folder: Path, options: argparse.Namespace) -> None:
    bare, ours = Measurements(), Measurements()
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(proxies.upstream(folder))
        systems = [
            (stack.enter_context(proxies.reverse_mitmdump(folder / "mitmdump", port)), bare),
            (stack.enter_context(proxies.wirekey(folder / "wirekey", port, gateway=True)), ours),
        ]
        for system, _ in systems:
            await plain_calls(*system, Measurements(), 320)  # warms up
        for number in range(options.rounds):
            for system, found in systems[:: -1 if number % 2 else 1]:
                await plain_calls(*system, found, options.requests)
                await cold_calls(*system, found, options.requests // 2)
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    print(table(bare, ours))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=1600)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder), parser.parse_args()))
