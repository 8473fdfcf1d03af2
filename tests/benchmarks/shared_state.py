"""Limits that replicas share in Redis, under load: python -m tests.benchmarks.shared_state [--seconds N] [--only WORD]

Starts a Redis, one or three replicas, and clients that call with a budget that is never used up. Prints, in the form of
docs/performance.md, how many calls were refused for Redis, for each number of clients, for calls of 20 ms and of 0 ms,
and for bursts after a pause; the same while Redis pauses for 200 ms every two seconds; how exactly limits are kept; and
what the shared state costs. Exits with 1 if a row misses its goal.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import proxies
from tests.benchmarks.load import Target
from tests.benchmarks.shared_limits import LIMITED, QUOTAS, cpu_ratios, limit_rows
from tests.benchmarks.shared_load import Client, Pauses, outcomes
from tests.support.redis_server import RedisServer
from wirekey.core.identity.agents import AgentStore

if TYPE_CHECKING:
    from collections.abc import Iterator

REPLICAS = (1, 3)
CLIENTS = (16, 48, 96, 150, 300)
BURST, BURSTS, BEFORE_BURST = 60, 3, 3.0
REFUSED_FOR_REDIS = "quota_unavailable"
DURATIONS = {"20 ms": 0.02, "0 ms": 0.0}
BUDGET = {"name": "budget", "per": "all", "match": {"agent": "bench"}, "usd_per_day": 100_000}

ROOM = {"limits": {"connections_per_client": 1000}}


@contextlib.contextmanager
def replica(folder: Path, upstream: int, redis: str | None) -> Iterator[tuple[int, dict[str, Target]]]:
    """Start one. Yields its process and, for each agent, what it calls. `redis`: None for one that is alone."""
    shared = {"shared_state": redis} if redis else {}
    with proxies.wirekey(folder, upstream, gateway=True, quotas=[BUDGET, *QUOTAS], **shared, **ROOM) as (pid, target):
        agents = AgentStore(folder / "state" / "agents.json")
        yield pid, {"bench": target, **{name: replace(target, token=agents.add(name)) for name in LIMITED}}


class Benchmark:
    """Rows of the table, with their replicas."""

    def __init__(self, options: argparse.Namespace, redis: RedisServer) -> None:
        self.options = options
        self.redis = redis
        self.is_missed = False

    def row(self, *cells: object, is_met: bool) -> None:
        """Print one."""
        self.is_missed |= not is_met
        print("| " + " | ".join(map(str, cells)) + f" | {'met' if is_met else 'missed'} |", flush=True)

    async def steady(self, clients: list[Client], of_redis: str, replicas: int, duration: str) -> None:
        """Call again and again, from all clients at once."""
        until = time.monotonic() + self.options.seconds
        work = (client.call_until(until, DURATIONS[duration]) for client in clients)
        await asyncio.gather(*work)
        self.refusals(clients, of_redis, replicas, f"{len(clients)} clients, calls of {duration}")

    async def bursts(self, clients: list[Client], of_redis: str, replicas: int) -> None:
        """Call at the same moment, after a pause."""
        for _ in range(BURSTS):
            await asyncio.sleep(BEFORE_BURST)
            await asyncio.gather(*(client.call(0.02) for client in clients))
        self.refusals(clients, of_redis, replicas, f"bursts of {len(clients)} after a pause of {BEFORE_BURST:g} s")

    def refusals(self, clients: list[Client], of_redis: str, replicas: int, name: str) -> None:
        """Print the row of these calls."""
        found = outcomes(clients)
        refused, calls = found[REFUSED_FOR_REDIS], sum(found.values())
        others = calls - refused - found["ok"]
        self.row(replicas, of_redis, name, calls, refused, is_met=not refused and not others)
        if others:
            print(f"  other outcomes: {dict(found)}", file=sys.stderr)

    async def under_load(self, replicas: int, targets: list[Target]) -> None:
        """Measure all rows about refusals."""
        for of_redis in ("well", "paused for 200 ms every 2 s"):
            pauses = Pauses(self.redis) if of_redis != "well" else contextlib.nullcontext()
            async with pauses:
                for duration in DURATIONS:
                    for number in self.options.clients:
                        async with clients_of(targets, number) as clients:
                            await self.steady(clients, of_redis, replicas, duration)
                async with clients_of(targets, BURST) as clients:
                    await self.bursts(clients, of_redis, replicas)


@contextlib.asynccontextmanager
async def clients_of(targets: list[Target], number: int):
    """Connect clients, spread over the replicas."""
    clients = [Client(targets[each % len(targets)]) for each in range(number)]
    for client in clients:
        await client.connect()
    try:
        yield clients
    finally:
        for client in clients:
            client.close()


async def run(folder: Path, options: argparse.Namespace) -> bool:
    """Print the table. Return whether a goal was missed."""
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(proxies.upstream(folder))
        redis = RedisServer(folder)
        stack.callback(redis.stop)
        benchmark = Benchmark(options, redis)
        print("| replicas | Redis | | calls | refused for Redis | |\n|---|---|---|---|---|---|")
        alone = stack.enter_context(replica(folder / "alone", port, None))
        for count in REPLICAS:
            with contextlib.ExitStack() as these:
                started = [
                    these.enter_context(replica(folder / f"{count}-{number}", port, redis.url))
                    for number in range(count)
                ]
                await asyncio.sleep(3)  # until the agents are known
                if "load" in options.only:
                    await benchmark.under_load(count, [targets["bench"] for _, targets in started])
                if "limits" in options.only and count == max(REPLICAS):
                    await limit_rows(benchmark, started, options.limit_seconds)
                if "cpu" in options.only and count == min(REPLICAS):
                    await cpu_ratios(benchmark, alone, started[0], options.rounds)
    print(f"\n{os.cpu_count()} cores for clients, provider, Redis and replicas; load average {os.getloadavg()[0]:.1f}.")
    return benchmark.is_missed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="the time of a row about refusals")
    parser.add_argument("--limit-seconds", type=float, default=60.0, help="the time of the rows about limits")
    parser.add_argument("--rounds", type=int, default=7, help="of the rows about processor time")
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    parser.add_argument("--only", choices=("load", "limits", "cpu"), nargs="+", default=("load", "limits", "cpu"))
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(asyncio.run(run(Path(folder), parser.parse_args())))
