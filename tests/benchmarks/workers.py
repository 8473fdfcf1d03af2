"""What several workers cost and gain (a scenario), and how to share a port: python -m tests.benchmarks.workers

Compares two ways to share a port: all workers accept from one socket, or each has a socket of its own (SO_REUSEPORT),
by how evenly connections that arrive together are spread.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import socket
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from tests.benchmarks import load, proxies, systems
from tests.benchmarks.scenarios import Figure, Goal, Scenario, Start
from tests.benchmarks.systems import Cores, System
from wirekey.features.workers.listeners import SharedListener

WORKERS = 2
NAMES = {1: "1 worker", WORKERS: "2 workers"}
CLIENTS = 32
REQUESTS = 3200


def with_workers(number: int) -> Start:
    """Return what starts Wirekey with so many workers, which may use two cores."""

    @contextlib.contextmanager
    def start(folder: Path, port: int, cores: Cores) -> Iterator[System]:
        two = Cores(cores.proxy | set(sorted(cores.load)[:1]), cores.load)
        with systems.wirekey(folder, port, two, f"workers-{number}", workers=number) as running:
            yield replace(running, name=NAMES[number])

    return start


async def measure(system: System, share: float) -> Mapping[str, float]:
    """Send calls over kept connections through the proxy."""
    target, count = system.targets["forward"], max(CLIENTS, int(REQUESTS * share) // CLIENTS * CLIENTS)
    used = proxies.cpu_seconds(system.pid)
    seconds = await load.plain(target, CLIENTS, count)
    return {
        "CPU a request": (proxies.cpu_seconds(system.pid) - used) / count * 1000,
        "requests a second": count / seconds,
        "memory": proxies.memory_of_all_mib(system.pid),
    }


SCENARIO = Scenario(
    "workers",
    (
        Figure("CPU a request", "ms", goal=Goal(1.05, NAMES[1])),
        Figure("requests a second", "", 0, goal=Goal(1.8, NAMES[1], at_least=True)),
        Figure("memory", "MiB", 0),
    ),
    {NAMES[number]: with_workers(number) for number in NAMES},
    measure,
    ours=NAMES[WORKERS],
)


# Ways to share a port.


def accept(sock: socket.socket, report: Connection, work: float) -> None:
    """Accept connections for a while, each of which keeps the process busy for `work` seconds. Report their number."""

    async def serve() -> None:
        count = 0

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal count
            count += 1
            end = time.monotonic() + work
            while time.monotonic() < end:
                pass
            writer.write(b"x")
            await reader.read()
            writer.close()

        listener = SharedListener(sock, handle)
        report.send("ready")
        while not report.poll():
            await asyncio.sleep(0.01)
        listener.close()
        report.send(count)

    asyncio.run(serve())


def spread(connections: int, *, reuse_port: bool) -> list[int]:
    """Return how many of the connections each of two processes has accepted."""
    sockets = []
    port = 0
    for _ in range(WORKERS if reuse_port else 1):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(reuse_port))
        sock.bind(("127.0.0.1", port))
        sock.listen(1024)
        port = sock.getsockname()[1]
        sockets.append(sock)
    context = multiprocessing.get_context("fork")
    running = []
    for number in range(WORKERS):
        ours, theirs = context.Pipe()
        process = context.Process(target=accept, args=(sockets[number % len(sockets)], theirs, 0.001))
        process.start()
        assert ours.recv() == "ready"
        running.append((process, ours))
    clients = []
    for _ in range(connections):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", port))
        clients.append(client)
    for client in clients:
        client.setblocking(True)
        client.recv(1)
    counts = []
    for process, ours in running:
        ours.send("end")
        counts.append(ours.recv())
        process.join()
    for each in (*clients, *sockets):
        each.close()
    return counts


def main() -> None:
    print(f"{len(os.sched_getaffinity(0))} processors")
    for reuse_port, name in ((False, "one socket"), (True, "SO_REUSEPORT")):
        shares = [max(spread(16, reuse_port=reuse_port)) / 16 for _ in range(20)]
        print(
            f"{name}: the busier of two has {statistics.mean(shares):.0%} of 16 connections, {max(shares):.0%} at worst"
        )


if __name__ == "__main__":
    main()
