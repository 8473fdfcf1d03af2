"""mitmdump and Wirekey side by side, in interleaved rounds: python -m tests.benchmarks [--rounds N] [--only WORD]

First it prints a table in the form of docs/performance.md: the medians over the rounds, the ratio of Wirekey to
mitmdump, which is taken within each round, with its lowest and highest value, and whether the goal is met. Proxies run
on one core, the load and the upstream on the others. mitmdump as it comes holds a response until it is whole; rows
about streams are compared with one that streams (stream_large_bodies=1).

Then it prints a table for each scenario: coding agents, paced streams, idle connections, arrivals, the method of an
outside harness, start and workers.

--only selects rows and scenarios by a part of their names. --with litellm measures LiteLLM's proxy, too, where it has
such a row. --save FOLDER writes the values of all rounds to a file for each table. --long adds memory over 100,000
requests and over a stream.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import platform
import statistics
import tempfile
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks import (
    arrivals,
    company,
    idle,
    load,
    outsider,
    paced_streams,
    proxies,
    scenarios,
    start,
    systems,
    workers,
)
from tests.benchmarks.comparison import Measurements, ratios
from tests.benchmarks.rows import ROWS, Row, measure_all
from tests.benchmarks.systems import Cores, System

MIB = 1 << 20
CONNECTIONS = 16


async def growth(system: System, requests: int) -> None:
    """Print the memory after each tenth of many requests, then over one long stream, of which the start warms up."""
    target = system.targets["forward"]
    sizes = []
    for _ in range(10):
        await load.plain(target, CONNECTIONS, requests // 10)
        sizes.append(proxies.memory_mib(system.pid))
    print(f"\nmemory over {requests} requests, MiB: " + " ".join(f"{size:.1f}" for size in sizes))
    half = sizes[len(sizes) // 2 :]
    print(f"  second half: {half[-1] - half[0]:+.1f} MiB")
    await load.large_stream(target, 64 * MIB)
    before = proxies.memory_mib(system.pid)
    received = await load.large_stream(target, 1024 * MIB)
    print(f"one stream of {received / MIB:.0f} MiB: {before:.1f} -> {proxies.memory_mib(system.pid):.1f} MiB")


def row_line(row: Row, found: Measurements, *, with_litellm: bool) -> str:
    """Return a row of the table."""

    def shown(name: str) -> str:
        return f"{statistics.median(found[name]):.{row.places}f}" if name in found else "–"

    within = ratios(found[row.against], found["wirekey"])
    ratio = statistics.median(within)
    reached = ratio if row.is_ratio else statistics.median(found["wirekey"])
    goal = f"{row.goal:.2f}" if row.is_ratio else f"{row.goal:g} {row.unit}"
    cells = [
        f"{row.name}: {row.unit}",
        shown(row.against),
        shown("wirekey"),
        *([shown("litellm")] if with_litellm else []),
        f"{ratio:.2f} ({within[0]:.2f}–{within[-1]:.2f})",
        goal,
        "met" if reached <= row.goal else "missed",
    ]
    return "| " + " | ".join(cells) + " |"


def table(chosen: list[Row], found: dict[str, Measurements], *, with_litellm: bool) -> str:
    """Return the table of all rows, as docs/performance.md has it."""
    heads = ["", "mitmdump", "Wirekey", *(["LiteLLM"] if with_litellm else []), "ratio (lowest–highest)", "goal", ""]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *(row_line(row, found[row.name], with_litellm=with_litellm) for row in chosen)])


async def run_rows(chosen: list[Row], folder: Path, cores: Cores, options: argparse.Namespace) -> None:
    """Measure rows, and print their table."""
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(proxies.upstream(folder))
        running = [
            stack.enter_context(systems.bare(name, folder, port, cores))
            for name in sorted({row.against for row in chosen})
        ]
        wirekey = stack.enter_context(systems.wirekey(folder, port, cores))
        running.append(wirekey)
        if options.others:
            running.append(stack.enter_context(systems.litellm(folder, port, cores)))
        found = await measure_all(chosen, running, ("wirekey", "litellm"), options.rounds, options.share)
        print(table(chosen, found, with_litellm=bool(options.others)))
        if options.save:
            samples = {row.name: {"unit": row.unit} | scenarios.rounded(found[row.name]) for row in chosen}
            scenarios.write(options.save / "calls.json", samples, options.rounds, options.share)
        pinned = "proxies and load on different cores" if cores.proxy else "one core for all"
        print(
            f"\nPython {platform.python_version()}, mitmproxy {version('mitmproxy')}, {os.cpu_count()} cores, {pinned},"
            f" median of {options.rounds} rounds, load average {os.getloadavg()[0]:.1f}."
        )
        if options.long:
            await growth(wirekey, 100_000)


async def run(folder: Path, options: argparse.Namespace) -> None:
    """Measure what is selected."""

    def is_chosen(name: str) -> bool:
        return not options.only or any(word in name for word in options.only)

    rows = [row for row in ROWS if is_chosen(row.name)]
    further = [scenario for scenario in SCENARIOS if is_chosen(scenario.name)]
    if not rows and not further:
        raise SystemExit(f"no row has {' or '.join(options.only)} in its name")
    cores = Cores.chosen()
    cores.pin_load()
    if rows:
        await run_rows(rows, folder, cores, options)
    for scenario in further:
        amount = scenarios.Options(options.rounds, options.share, tuple(options.others or ()))
        found = await scenarios.measure(scenario, amount, cores)
        print(f"\n### {scenario.name.capitalize()}\n\n{scenarios.table(scenario, found)}", flush=True)
        if options.save:
            scenarios.save(options.save, scenario, found, amount)


SCENARIOS = (
    company.SCENARIO,
    *paced_streams.SCENARIOS,
    *idle.SCENARIOS,
    arrivals.SCENARIO,
    outsider.SCENARIO,
    start.SCENARIO,
    workers.SCENARIO,
)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--share", type=float, default=1.0, help="the share of the usual requests to make, such as 0.1")
    parser.add_argument("--only", action="append", metavar="WORD", help="only rows with this in their names")
    parser.add_argument("--with", dest="others", action="append", choices=["litellm"], help="measure this proxy, too")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="write the values of all rounds there")
    parser.add_argument("--long", action="store_true")
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder), parser.parse_args()))
