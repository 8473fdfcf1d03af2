"""What PostgreSQL and Redis cost a replica: python -m tests.benchmarks.stores [--rounds N] [--requests N]

Processes of Wirekey take turns: one with its file, one with its record in PostgreSQL, and one with its shared state in
Redis, too. The servers are started for this. Prints the processor time of Wirekey for a request from 16 connections,
and the time of a request that is alone: medians of the rounds. Exits with 1 where the servers cost more than 1.15 times
the processor time of the file, or make a request more than 2 ms slower.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks import proxies
from tests.benchmarks.load import connect, plain, read_answer, request
from tests.benchmarks.rows import cpu_ms
from tests.benchmarks.systems import Cores, System, wirekey
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer

MOST_CPU, MOST_MS = 1.15, 2.0
CONNECTIONS = 16


async def alone(system: System, requests: int) -> float:
    """Return the median time of requests that follow each other on one connection. Milliseconds."""
    target = system.targets["forward"]
    reader, writer = await connect(target, target.context())
    data, times = request(target), []
    for _ in range(requests):
        began = time.perf_counter()
        writer.write(data)
        await read_answer(reader)
        times.append(time.perf_counter() - began)
    writer.close()
    return statistics.median(times) * 1000


def measured(system: System, requests: int) -> tuple[float, float]:
    """Return the processor time of a request and the time of one that is alone. Milliseconds."""
    cpu = asyncio.run(cpu_ms(system.pid, plain(system.targets["forward"], CONNECTIONS, requests), requests))
    return cpu, asyncio.run(alone(system, requests // 8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=1600)
    options = parser.parse_args()
    cores = Cores.chosen()
    cores.pin_load()
    server = PostgresServer()
    found: dict[str, list[tuple[float, float]]] = {}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.callback(server.remove)
        redis = RedisServer(folder)
        stack.callback(redis.stop)
        port = stack.enter_context(proxies.upstream(folder))
        systems = [stack.enter_context(wirekey(folder, port, cores, "file"))]
        for name, more in (("PostgreSQL", {}), ("PostgreSQL and Redis", {"shared_state": redis.url})):
            audit = {"store": server.new_database()}
            systems.append(stack.enter_context(wirekey(folder, port, cores, name, audit=audit, **more)))
        for system in systems:
            measured(system, options.requests)
        for _ in range(options.rounds):
            for system in systems:
                found.setdefault(system.name, []).append(measured(system, options.requests))
    medians = {name: [statistics.median(values) for values in zip(*each, strict=True)] for name, each in found.items()}
    for name, (cpu, time_alone) in medians.items():
        print(f"{name:<20} {cpu:.3f} ms of processor time for a request, {time_alone:.2f} ms for one that is alone")
    is_missed = False
    for name in list(found)[1:]:
        ratio = statistics.median(ours[0] / file[0] for file, ours in zip(found["file"], found[name], strict=True))
        slower = medians[name][1] - medians["file"][1]
        is_missed |= ratio > MOST_CPU or slower > MOST_MS
        print(
            f"{name}: {ratio:.2f} times the processor time (at most {MOST_CPU}), {slower:+.2f} ms (at most {MOST_MS})"
        )
    sys.exit(is_missed)


if __name__ == "__main__":
    main()
