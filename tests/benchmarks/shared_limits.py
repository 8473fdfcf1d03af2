"""How exactly replicas keep their limits, and what sharing them costs: rows of the benchmark of the shared state."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from typing import TYPE_CHECKING, Any

from tests.benchmarks import load, proxies
from tests.benchmarks.shared_load import Client, Pauses, most_at_once, outcomes

if TYPE_CHECKING:
    from tests.benchmarks.load import Target
    from tests.benchmarks.shared_state import Benchmark

REQUESTS, TOKENS, CONCURRENT = 120, 60_000, 10
TOKENS_OF_A_CALL = 99
"""As the provider of the benchmarks says."""
QUOTAS: list[dict[str, Any]] = [
    {"name": "requests", "per": "agent", "match": {"agent": "requests"}, "requests_per_minute": REQUESTS},
    {"name": "tokens", "per": "agent", "match": {"agent": "tokens"}, "tokens_per_minute": TOKENS},
    {"name": "concurrent", "per": "agent", "match": {"agent": "concurrent"}, "concurrent": CONCURRENT},
]
LIMITED = tuple(quota["name"] for quota in QUOTAS)
MOST_OVER, MOST_CPU = 1.02, 1.15
CLIENTS = 15
"""For each limit."""
CPU_CLIENTS, CPU_CALLS = (16, 96), 1440

type Replica = tuple[int, dict[str, Target]]


async def limit_rows(benchmark: Benchmark, replicas: list[Replica], seconds: float) -> None:
    """Call against all limits at once, from more clients than they allow, with and without pauses of Redis."""
    for of_redis in ("well", "paused for 200 ms every 2 s"):
        clients = {
            name: [Client(replicas[each % len(replicas)][1][name]) for each in range(CLIENTS)] for name in LIMITED
        }
        for each in clients.values():
            for client in each:
                await client.connect()
        pauses = Pauses(benchmark.redis) if of_redis != "well" else contextlib.nullcontext()
        began = time.monotonic()
        async with pauses:
            work = [
                client.call_until(began + seconds, 0.02 if name == "concurrent" else 0.0, pause=0.1)
                for name, each in clients.items()
                for client in each
            ]
            await asyncio.gather(*work)
        minutes = (time.monotonic() - began) / 60
        for name, limit, of_a_call in (("requests", REQUESTS, 1), ("tokens", TOKENS, TOKENS_OF_A_CALL)):
            used = outcomes(clients[name])["ok"] * of_a_call
            # The burst of a full bucket is two per cent of the limit, over any time.
            share = used / limit - (minutes - 1 if minutes < 1 else 0)
            benchmark.row(
                len(replicas),
                of_redis,
                f"{limit:,} {name} a minute",
                f"{used:,} in {minutes * 60:.1f} s",
                f"{share:.3f} of the limit",
                is_met=used <= limit * (minutes + MOST_OVER - 1),
            )
        most = most_at_once(clients["concurrent"])
        benchmark.row(
            len(replicas),
            of_redis,
            f"{CONCURRENT} calls at once",
            sum(outcomes(clients["concurrent"]).values()),
            f"at most {most} at once",
            is_met=0 < most <= CONCURRENT,
        )
        for each in clients.values():
            for client in each:
                client.close()


async def cpu_ratios(benchmark: Benchmark, alone: Replica, shared: Replica, rounds: int) -> None:
    """Compare the processor time of a call, with a budget in Redis and with one in memory, in turns."""
    for clients in CPU_CLIENTS:
        found: list[list[float]] = [[], []]
        for number in range(rounds + 1):
            order = [(0, alone), (1, shared)]
            for index, (pid, targets) in order[:: 1 if number % 2 else -1]:
                before = proxies.cpu_seconds(pid)
                await load.plain(targets["bench"], clients, CPU_CALLS)
                found[index].append((proxies.cpu_seconds(pid) - before) * 1000 / CPU_CALLS)
        (first, *ours), (second, *theirs) = found[1], found[0]
        del first, second  # they warm up
        ratio = statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))
        benchmark.row(
            1,
            "well",
            f"processor time of a call, {clients} clients",
            f"{statistics.median(ours):.2f} ms, without Redis {statistics.median(theirs):.2f} ms",
            f"{ratio:.2f} times",
            is_met=ratio <= MOST_CPU,
        )
