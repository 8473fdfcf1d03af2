"""What WebSockets cost: python -m tests.benchmarks.realtime [--rounds N] [--share S]

OpenAI Realtime through mitmdump as it comes and through Wirekey: CPU time of the proxy for a frame, the time of a round
trip, memory that 200 open connections add, and memory over 100,000 messages each way on one connection. Interleaved
rounds over TLS, with events of 20 ms of sound. A round trip waits for its response, so that each frame arrives alone.

Prints rows in the form of docs/performance.md. Exits with 1 if a goal is missed. mitmdump keeps all messages, so it
gets a fifth of them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import platform
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import version
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect

from tests.benchmarks import proxies
from tests.benchmarks.load import Target
from tests.benchmarks.realtime_upstream import SOUND
from tests.benchmarks.systems import Cores
from wirekey.core.identity.agents import AgentStore

ROUND_TRIPS = 3000
CONNECTIONS = 200
MESSAGES = 100_000
UNANSWERED = 100
"""Messages on the way at the same time while memory is measured."""
MESSAGE = json.dumps({"type": "input_audio_buffer.append", "audio": SOUND})
LIMITS = {"websocket": {"messages_per_second": 1_000_000, "bytes_per_second": 1 << 30}}
MOST_CPU, MOST_TIME, MOST_CONNECTIONS, MOST_GROWTH = 1.2, 1.3, 40.0, 2.0

type System = tuple[int, Target]


@contextlib.contextmanager
def upstream(folder: Path) -> Iterator[int]:
    arguments = [sys.executable, "-m", "tests.benchmarks.realtime_upstream", str(folder)]
    with proxies.process(arguments, folder, stdout=-1, text=True) as running:
        yield int(running.stdout.readline())


@contextlib.contextmanager
def wirekey(folder: Path, upstream_port: int) -> Iterator[System]:
    folder.mkdir()
    port = proxies.free_port()
    configuration = {
        "listen": {"forward": f"127.0.0.1:{port}", "gateway": None, "console": None},
        "state": str(folder / "state"),
        "certs": str(folder / "certs"),
        "upstream_ca_file": str(folder.parent / "ca.pem"),
        "providers": {"openai": {"keys": ["env:BENCH_KEY"], "upstream_url": f"https://localhost:{upstream_port}"}},
        "limits": LIMITS,
        "log": {"level": "warning"},
    }
    (folder / "wirekey.yaml").write_text(json.dumps(configuration))
    arguments = [sys.executable, "-m", "wirekey", "serve", "--config", str(folder / "wirekey.yaml")]
    with proxies.process(arguments, folder, proxies.as_installed() | {"BENCH_KEY": "sk-bench"}) as running:
        proxies.wait_for_file(folder / "state" / "running.json")
        proxies.wait_for_port(port)
        token = AgentStore(folder / "state" / "agents.json").add("bench")
        time.sleep(2)  # until it knows the agent
        yield running.pid, Target(port, "api.openai.com", 443, str(folder / "certs" / "mitmproxy-ca-cert.pem"), token)


@contextlib.asynccontextmanager
async def opened(target: Target) -> AsyncIterator[ClientConnection]:
    """A connection through a proxy."""
    identity = f"bench:{target.token}@" if target.token else ""
    async with connect(
        f"wss://{target.host}:{target.port}/v1/realtime?model=gpt-realtime",
        ssl=ssl.create_default_context(cafile=target.ca),
        proxy=f"http://{identity}127.0.0.1:{target.proxy_port}",
        compression=None,
        ping_interval=None,
    ) as connection:
        yield connection


async def round_trips(system: System, count: int) -> tuple[float, float]:
    """Return the microseconds of CPU time for a frame, and the median of the milliseconds of a round trip."""
    pid, target = system
    times = []
    async with opened(target) as connection:
        await exchange(connection, count // 10)
        before = proxies.cpu_seconds(pid)
        for _ in range(count):
            began = time.perf_counter()
            await connection.send(MESSAGE)
            await connection.recv()
            times.append(time.perf_counter() - began)
        used = proxies.cpu_seconds(pid) - before
    return used / (2 * count) * 1e6, statistics.median(times) * 1e3


async def exchange(connection: ClientConnection, count: int) -> None:
    """Send messages and receive as many, with several of them on the way."""
    room = asyncio.Semaphore(UNANSWERED)

    async def receive() -> None:
        for _ in range(count):
            await connection.recv()
            room.release()

    receiving = asyncio.create_task(receive())
    for _ in range(count):
        await room.acquire()
        await connection.send(MESSAGE)
    await receiving


async def memory_of_connections(system: System, count: int) -> float:
    """Return the MiB that open connections add."""
    pid, target = system
    async with opened(target) as connection:
        await exchange(connection, 100)
    before = proxies.memory_mib(pid)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(count):
            await exchange(await stack.enter_async_context(opened(target)), 2)
        await asyncio.sleep(1)
        return proxies.memory_mib(pid) - before


async def memory_over_messages(system: System, count: int) -> list[float]:
    """Return the MiB in use after each tenth of many messages on one connection."""
    pid, target = system
    found = []
    async with opened(target) as connection:
        for _ in range(10):
            await exchange(connection, count // 10)
            found.append(proxies.memory_mib(pid))
    return found


async def measure(bare: System, ours: System, rounds: int, share: float) -> bool:
    """Measure, and print the rows. Return whether all goals are met."""
    cpu, times = [], []
    for number in range(rounds):
        pair = {}
        for name, system in (("bare", bare), ("ours", ours))[:: -1 if number % 2 else 1]:
            pair[name] = await round_trips(system, int(ROUND_TRIPS * share))
        cpu.append((pair["bare"][0], pair["ours"][0]))
        times.append((pair["bare"][1], pair["ours"][1]))
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    connections = int(CONNECTIONS * share)
    added = [await memory_of_connections(system, connections) * CONNECTIONS / connections for system in (bare, ours)]
    kept = await memory_over_messages(bare, int(MESSAGES * share / 5))
    flat = await memory_over_messages(ours, int(MESSAGES * share))
    grown = (5 * 2 * (kept[-1] - kept[4]) / share, 2 * (flat[-1] - flat[4]) / share)
    met = [
        row("WebSocket, CPU of a frame: µs", cpu, MOST_CPU, 0),
        row("WebSocket, round trip, p50: ms", times, MOST_TIME, 2),
        row(f"{CONNECTIONS} open WebSockets: MiB", [(added[0], added[1])], MOST_CONNECTIONS, 1, is_ratio=False),
        row(
            f"{MESSAGES:,} messages each way on one WebSocket: MiB",
            [(grown[0], grown[1])],
            MOST_GROWTH,
            1,
            is_ratio=False,
        ),
    ]
    print("\nmemory after each tenth, MiB: " + " ".join(f"{size:.1f}" for size in flat))
    return all(met)


def row(name: str, found: list[tuple[float, float]], goal: float, places: int, *, is_ratio: bool = True) -> bool:
    """Print a row of the table. Return whether its goal is met. `found`: mitmdump's value and Wirekey's, by round."""
    within = sorted(ours / bare for bare, ours in found) if is_ratio else []
    bare, ours = (statistics.median(values) for values in zip(*found, strict=True))
    reached = statistics.median(within) if is_ratio else ours
    ratio = f"{reached:.2f} ({within[0]:.2f}–{within[-1]:.2f})" if is_ratio else ""
    wanted = f"{goal:.2f}" if is_ratio else f"{goal:g} MiB"
    met = reached <= goal
    cells = (name, f"{bare:.{places}f}", f"{ours:.{places}f}", ratio, wanted, "met" if met else "missed")
    print("| " + " | ".join(cells) + " |")
    return met


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--share", type=float, default=1.0, help="the share of the usual messages, such as 0.1")
    options = parser.parse_args()
    cores = Cores.chosen()
    cores.pin_load()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        port = stack.enter_context(upstream(folder))
        bare = stack.enter_context(proxies.bare_mitmdump(folder / "mitmdump", port))
        ours = stack.enter_context(wirekey(folder / "wirekey", port))
        for pid in (bare[0], ours[0]):
            cores.pin(pid)
        met = asyncio.run(measure(bare, ours, options.rounds, options.share))
    print(f"Python {platform.python_version()}, mitmproxy {version('mitmproxy')}, {options.rounds} rounds.")
    return int(not met)


if __name__ == "__main__":
    sys.exit(main())
