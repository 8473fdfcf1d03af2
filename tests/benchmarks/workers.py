"""What several workers cost and gain: python -m tests.benchmarks.workers [--rounds N] [--requests N] [--connections N]

Prints, for one process and for two workers, the processor time per request, the requests per second and the memory, and
the ratio within each round. Then it compares two ways to share a port: all workers accept from one socket, or each has
a socket of its own (SO_REUSEPORT), by how evenly connections that arrive together are spread.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import socket
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from tests.benchmarks import load, proxies
from wirekey.features.workers.listeners import SharedListener

WORKERS = 2


async def measure(pid: int, target: load.Target, connections: int, requests: int) -> tuple[float, float]:
    """Return milliseconds of processor time per request, and requests per second."""
    await load.plain(target, connections, requests // 4)
    used, began = proxies.cpu_seconds(pid), time.monotonic()
    await load.plain(target, connections, requests)
    seconds = time.monotonic() - began
    return (proxies.cpu_seconds(pid) - used) / requests * 1000, requests / seconds


async def compare(rounds: int, requests: int, connections: int) -> None:
    """Print the figures of one process and of two workers, in interleaved rounds."""
    found: dict[int, list[tuple[float, float]]] = {1: [], WORKERS: []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            proxies.upstream(folder) as port,
            proxies.wirekey(folder / "one", port) as one,
            proxies.wirekey(folder / "several", port, workers=WORKERS) as several,
        ):
            for number in range(rounds):
                systems = [(1, one), (WORKERS, several)]
                for count, (pid, target) in systems if number % 2 else reversed(systems):
                    found[count].append(await measure(pid, target, connections, requests))
            for count, (pid, _) in ((1, one), (WORKERS, several)):
                cpu, rate = (statistics.median(values) for values in zip(*found[count], strict=True))
                memory = proxies.memory_of_all_mib(pid)
                print(
                    f"{count} worker(s): {cpu:.3f} ms CPU per request, {rate:.0f} requests/s, {memory:.0f} MiB in all"
                )
    for place, what in ((0, "CPU per request"), (1, "requests/s")):
        ratios = [two[place] / one[place] for one, two in zip(found[1], found[WORKERS], strict=True)]
        print(f"{what}, ratio within a round: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=1500)
    parser.add_argument("--connections", type=int, default=16)
    arguments = parser.parse_args()
    print(f"{len(os.sched_getaffinity(0))} processors")
    for reuse_port, name in ((False, "one socket"), (True, "SO_REUSEPORT")):
        shares = [max(spread(16, reuse_port=reuse_port)) / 16 for _ in range(20)]
        print(
            f"{name}: the busier of two has {statistics.mean(shares):.0%} of 16 connections, {max(shares):.0%} at worst"
        )
    asyncio.run(compare(arguments.rounds, arguments.requests, arguments.connections))


if __name__ == "__main__":
    main()
