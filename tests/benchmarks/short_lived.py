"""Many clients that make a connection for each request: python -m tests.benchmarks.short_lived [--rounds N]

Wirekey's gateway beside a bare mitmdump in reverse mode, which dials the provider for each client connection;
both take plain HTTP and speak TLS upstream. Prints medians and the ratio, which is taken within each round. Events
are only comparable between the two Wirekeys, as mitmdump holds a stream until it is whole.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks import load, proxies
from tests.benchmarks.comparison import Measurements, table
from tests.benchmarks.load import Target

CLIENTS = 64


async def connection_each(target: Target, clients: int, requests: int) -> float:
    """Send `requests` by `clients` at a time, each over a connection of its own. Seconds."""
    data = load.request(target)

    async def one() -> None:
        for _ in range(requests // clients):
            reader, writer = await asyncio.open_connection("127.0.0.1", target.proxy_port)
            writer.write(data)
            await load.read_answer(reader)
            writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(clients)))
    return time.perf_counter() - start


async def measure(pid: int, target: Target, found: Measurements, requests: int) -> None:
    for name, way, clients in (("new connections", connection_each, CLIENTS), ("kept, 16", load.plain, 16)):
        before = proxies.cpu_seconds(pid)
        seconds = await way(target, clients, requests)
        found.note(f"{name}: requests per second", requests / seconds)
        found.note(f"{name}: CPU ms per request", (proxies.cpu_seconds(pid) - before) * 1000 / requests)
    before = proxies.cpu_seconds(pid)
    await load.many_chunks(target, 8, 1000)
    found.note("CPU ms per 1000 events", (proxies.cpu_seconds(pid) - before) * 1e6 / 8000)
    found.note("memory, MiB", proxies.memory_mib(pid))


async def run(folder: Path, options: argparse.Namespace) -> None:
    bare, connection_pool, apart = Measurements(), Measurements(), Measurements()
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(proxies.upstream(folder))
        mitmdump = stack.enter_context(proxies.reverse_mitmdump(folder / "mitmdump", port))
        with_pool = stack.enter_context(proxies.wirekey(folder / "lending", port, gateway=True))
        without = stack.enter_context(proxies.wirekey(folder / "apart", port, gateway=True, pool=False))
        time.sleep(1)  # until the agents are known
        systems = [(mitmdump, bare), (with_pool, connection_pool), (without, apart)]
        for system, _ in systems:
            await measure(*system, Measurements(), CLIENTS * 4)  # warms up
        for number in range(options.rounds):
            for system, found in systems[:: -1 if number % 2 else 1]:
                await measure(*system, found, options.requests)
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    print("lending (upstream_connections.reuse: true)\n" + table(bare, connection_pool))
    print("\nnot lending (upstream_connections.reuse: false)\n" + table(bare, apart))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=1280)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder), parser.parse_args()))
