"""How many instructions of Python a request takes: python -m tests.benchmarks.instructions [--functions N]

The table has the instructions of bare mitmdump and of Wirekey, and their ratio. They say less than CPU time, because an
instruction may be a call of compiled code. But they are nearly the same in each run, also on a busy machine, so they
show what a change of one per cent does. `--functions`: also print the functions with the most instructions.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import counting, load, proxies, systems
from tests.benchmarks.load import Target
from tests.benchmarks.systems import Cores, System

type Work = Callable[[Target, int], Awaitable[object]]

REQUESTS = 320
WARM_UP = 200
PLACE = re.compile(r".*/(?:site-packages|addons|lib/python3\.\d+)/")
"""The part of a file's path before its package."""


@dataclass(frozen=True)
class Function:
    """One function, and what it did for each request."""

    place: str
    name: str
    instructions: float
    calls: float


@dataclass(frozen=True)
class Case:
    """How requests are made. `against`: the mitmdump that Wirekey is compared with; `way`: how Wirekey is called."""

    name: str
    against: str
    way: str
    work: Work


def kept(clients: int) -> Work:
    """Return requests over so many connections that are kept open."""
    return lambda target, count: load.plain(target, clients, count)


async def signed(target: Target, count: int) -> None:
    """Send Bedrock requests, each with a signature of its own, over 16 connections."""
    await load.each_once(target, 16, [load.bedrock_request(target) for _ in range(count)])


CASES = (
    Case("forward, 1 client", "forward", "forward", kept(1)),
    Case("forward, 16 clients", "forward", "forward", kept(16)),
    Case("forward, 64 clients", "forward", "forward", kept(64)),
    Case("gateway, 16 clients", "reverse", "gateway", kept(16)),
    Case("Bedrock, signed again, 16 clients", "forward", "bedrock", signed),
    Case(
        "a connection for each request, forward",
        "forward",
        "forward",
        lambda target, count: load.short_lived(target, 16, count),
    ),
)


async def functions_of(system: System, case: Case, requests: int, counts: Path) -> list[Function]:
    """Return the functions that a system runs for a request, the one with the most instructions first."""
    target = system.targets[case.way]
    await case.work(target, WARM_UP)
    os.kill(system.pid, counting.BEGIN)
    await asyncio.sleep(0.2)
    await case.work(target, requests)
    await asyncio.sleep(0.2)  # until the outcome of the last call is recorded
    os.kill(system.pid, counting.END)
    await asyncio.to_thread(proxies.wait_for_file, counts)
    found = json.loads(counts.read_text())
    counts.unlink()
    functions = [
        Function(f"{PLACE.sub('', file)}:{line}", name, instructions / requests, calls / requests)
        for file, line, name, instructions, calls in found
    ]
    return sorted(functions, key=lambda one: -one.instructions)


def count(case: Case, requests: int = REQUESTS) -> tuple[list[Function], list[Function]]:
    """Run mitmdump and then Wirekey, and return the functions that each ran for a request."""
    found = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        counts = folder / "counts.json"
        os.environ["WIREKEY_COUNTS"] = str(counts)
        try:
            nowhere = Cores(frozenset(), frozenset())
            with contextlib.ExitStack() as stack:
                port = stack.enter_context(proxies.upstream(folder))
                for start in (
                    lambda: systems.bare(case.against, folder, port, nowhere),
                    lambda: systems.wirekey(folder, port, nowhere),
                ):
                    with start() as system:
                        found.append(asyncio.run(functions_of(system, case, requests, counts)))
        finally:
            del os.environ["WIREKEY_COUNTS"]
    mitmdump, wirekey = found
    return mitmdump, wirekey


def instructions(functions: list[Function]) -> float:
    """Return the instructions of a request."""
    return sum(one.instructions for one in functions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="WORD", help="only rows with this in their names")
    parser.add_argument("--functions", type=int, default=0, metavar="N", help="print so many functions of each row")
    options = parser.parse_args()
    print("| instructions of Python for a request | mitmdump | Wirekey | ratio |\n|---|---|---|---|", flush=True)
    for case in CASES:
        if options.only and not any(word in case.name for word in options.only):
            continue
        mitmdump, wirekey = count(case)
        bare, ours = instructions(mitmdump), instructions(wirekey)
        print(f"| {case.name} | {bare:,.0f} | {ours:,.0f} | {ours / bare:.2f} |", flush=True)
        for one in wirekey[: options.functions]:
            print(f"{one.instructions:9.1f} {one.calls:7.2f} calls  {one.place} {one.name}")


if __name__ == "__main__":
    main()
