"""What an agent notices of an attacker: python -m tests.benchmarks.abuse [--seconds S] [ROW …]

For each denial-of-service row of the threats an attacker runs in a process of its own while another agent makes calls
on a kept connection. It does so in turns with and without the attacker, so that other programs slow down both. The
attacker has the lowest priority: on a machine with few cores it would otherwise take time from the agent and from the
provider, which run elsewhere in earnest. Printed are that agent's times, and the memory of Wirekey and its child
processes: before, at its highest, and when the attacker has been gone for ten seconds. Ends with 1 where a goal is
missed: the 99th percentile below five times the undisturbed one, memory within 10 MiB of where it was.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import load, proxies
from tests.benchmarks.attacks import ATTACKS
from tests.benchmarks.load import Target
from wirekey.core.identity.agents import AgentStore

PAUSE = 0.005
"""Seconds between two calls of the agent."""
ROUNDS = 4
"""Turns without and with the attacker, so that what else the machine does meets both."""
SETTLING = 1.0
"""Seconds after the attacker was ended, for its connections to close."""
RECOVERY = 10.0
MOST_TIMES_P99 = 5.0
MOST_LEFT_MIB = 10.0


@dataclass
class Times:
    """Of calls, in milliseconds."""

    p50: float
    p99: float

    @classmethod
    def of(cls, seconds: list[float]) -> Times:
        cuts = statistics.quantiles(seconds, n=100, method="inclusive")
        return cls(cuts[49] * 1000, cuts[98] * 1000)


@dataclass
class Found:
    row: str
    undisturbed: Times
    disturbed: Times
    before: float
    peak: float
    after: float

    @property
    def ratio(self) -> float:
        return self.disturbed.p99 / self.undisturbed.p99

    @property
    def is_good(self) -> bool:
        return self.ratio < MOST_TIMES_P99 and self.after - self.before < MOST_LEFT_MIB

    def __str__(self) -> str:
        left, right = self.undisturbed, self.disturbed
        times = f"{left.p50:>8.1f}{left.p99:>8.1f}{right.p50:>10.1f}{right.p99:>8.1f}{self.ratio:>8.1f}"
        memory = f"{self.before:>10.1f}{self.peak:>8.1f}{self.after:>8.1f}"
        return f"{self.row:<17}{times}{memory}   {'' if self.is_good else 'missed'}"


HEAD = (
    f"{'':<17}{'undisturbed, ms':>16}{'disturbed, ms':>18}{'':>8}{'memory, MiB':>26}\n"
    f"{'row':<17}{'p50':>8}{'p99':>8}{'p50':>10}{'p99':>8}{'ratio':>8}{'before':>10}{'peak':>8}{'10 s':>8}"
)


async def calls(target: Target, seconds: float) -> list[float]:
    """Make calls one after another on a kept connection; a connection that ends is opened again, at its cost."""
    context, data = target.context(), load.request(target)
    times: list[float] = []
    end = time.perf_counter() + seconds
    connection = None
    while time.perf_counter() < end:
        start = time.perf_counter()
        connection = connection or await load.connect(target, context)
        connection[1].write(data)
        await asyncio.wait_for(load.read_answer(connection[0]), 60)
        times.append(time.perf_counter() - start)
        await asyncio.sleep(PAUSE)
    assert connection
    connection[1].close()
    return times


async def measure(row: str, system: tuple[int, Target], attacker: dict, folder: Path, seconds: float) -> Found:
    pid, target = system
    arguments = [sys.executable, "-m", "tests.benchmarks.attacks", row, json.dumps(attacker)]
    await calls(target, 1)
    await load.large_requests(
        target, 1, 3, size=2_000_000
    )  # the child process that reads such bodies runs from then on
    before = peak = proxies.memory_of_all_mib(pid)
    undisturbed: list[float] = []
    disturbed: list[float] = []
    for _ in range(ROUNDS):
        undisturbed += await calls(target, seconds / ROUNDS)
        with proxies.process(arguments, folder) as running:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(running.pid, {max(os.sched_getaffinity(0))})
                os.setpriority(os.PRIO_PROCESS, running.pid, 19)
            await asyncio.sleep(1)
            victim = asyncio.create_task(calls(target, seconds / ROUNDS))
            while not victim.done():
                peak = max(peak, proxies.memory_of_all_mib(pid))
                await asyncio.sleep(0.05)
            disturbed += await victim
            running.kill()
        await asyncio.sleep(SETTLING)
    await asyncio.sleep(RECOVERY)
    return Found(row, Times.of(undisturbed), Times.of(disturbed), before, peak, proxies.memory_of_all_mib(pid))


async def run(rows: list[str], seconds: float) -> bool:
    good = True
    print(HEAD)
    for row in rows:
        with tempfile.TemporaryDirectory() as made, contextlib.ExitStack() as stack:
            folder = Path(made)
            port = stack.enter_context(proxies.upstream(folder))
            pid, target = stack.enter_context(proxies.wirekey(folder / "wirekey", port))
            token = AgentStore(folder / "wirekey" / "state" / "agents.json").add("mallory")
            attacker = {"port": target.proxy_port, "ca": target.ca, "token": token}
            await asyncio.sleep(1)
            found = await measure(row, (pid, target), attacker, folder, seconds)
            good = good and found.is_good
            print(found, flush=True)
    return good


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ATTACKS))
    parser.add_argument("--seconds", type=float, default=8.0)
    options = parser.parse_args()
    raise SystemExit(0 if asyncio.run(run(options.rows or [*ATTACKS], options.seconds)) else 1)
