"""Scenarios: each measurement gives several figures of a system. Systems are side by side, in interleaved rounds."""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks import proxies
from tests.benchmarks.comparison import Measurements
from tests.benchmarks.systems import Cores, System

type Start = Callable[[Path, int, Cores], AbstractContextManager[System]]
"""Starts a system in a folder, with the port of the provider."""
WARM_UP = 0.2
"""The share of a measurement that warms up."""


@dataclass(frozen=True)
class Goal:
    """A bound of Wirekey's value, or of its ratio to the value of `against`."""

    bound: float
    against: str | None = None
    at_least: bool = False

    def text(self) -> str:
        sign = "≥" if self.at_least else "≤"
        return f"{sign} {self.bound:g}" + (f" × {self.against}" if self.against else "")

    def is_met(self, reached: float) -> bool:
        return reached >= self.bound if self.at_least else reached <= self.bound


@dataclass(frozen=True)
class Figure:
    """One value of a measurement. `added`: the table shows by how much it is above that of the system `direct`."""

    name: str
    unit: str
    places: int = 2
    added: bool = False
    goal: Goal | None = None


@dataclass(frozen=True)
class Scenario:
    """What is measured of which systems. The first system is the one that Wirekey is compared with."""

    name: str
    figures: tuple[Figure, ...]
    systems: Mapping[str, Start]
    measure: Callable[[System, float], Awaitable[Mapping[str, float]]]
    """Gets the share of the usual work to do, and returns the values of figures by their names."""
    starts_anew: bool = False
    """Whether each measurement needs a new process."""
    ours: str = "wirekey"


@dataclass(frozen=True)
class Options:
    rounds: int
    share: float
    others: tuple[str, ...] = ()
    """Systems that are measured only on request, such as litellm."""


ON_REQUEST = ("litellm",)


async def measure(scenario: Scenario, options: Options, cores: Cores) -> dict[str, Measurements]:
    """Return the values of each figure by system, one for each round."""
    found = {figure.name: Measurements() for figure in scenario.figures}
    starts = {
        name: start for name, start in scenario.systems.items() if name not in ON_REQUEST or name in options.others
    }

    async def once(system: System, *, warms_up: bool = False) -> None:
        values = await scenario.measure(system, options.share * (WARM_UP if warms_up else 1))
        for name, value in values.items():
            if not warms_up:
                found[name].note(system.name, value)

    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = stack.enter_context(proxies.upstream(folder))
        if not scenario.starts_anew:
            running = [stack.enter_context(start(folder, port, cores)) for start in starts.values()]
            for system in running:
                await once(system, warms_up=True)
        for number in range(options.rounds):
            order = list(starts)[:: -1 if number % 2 else 1]
            for name in order:
                if scenario.starts_anew:
                    place = folder / f"round-{number}-{name}"
                    place.mkdir()
                    (place / "ca.pem").write_bytes((folder / "ca.pem").read_bytes())
                    with starts[name](place, port, cores) as system:
                        await once(system)
                else:
                    await once(next(system for system in running if system.name == name))
            print(f"{scenario.name}: round {number + 1}, {time.monotonic() - began:.0f} s", file=sys.stderr)
    return found


def shown(values: list[float], places: int) -> str:
    """Return the median, and the lowest and the highest value."""
    values = [value for value in values if not math.isnan(value)]
    if not values:
        return "–"
    median = f"{statistics.median(values):,.{places}f}"
    return f"{median} ({min(values):,.{places}f}–{max(values):,.{places}f})" if len(values) > 1 else median


def above_direct(figure: Figure, found: Measurements, name: str) -> list[float]:
    """Return the values of a system, without those of `direct` in the same rounds if the figure is `added`."""
    if not figure.added or name == "direct":
        return found[name]
    return [value - floor for value, floor in zip(found[name], found["direct"], strict=True)]


def ratio(ours: list[float], theirs: list[float]) -> float:
    """Return the median of the ratios within each round, without those that are not known; NaN if none is."""
    found = [mine / other for mine, other in zip(ours, theirs, strict=True) if other]
    found = [each for each in found if not math.isnan(each)]
    return statistics.median(found) if found else math.nan


def table(scenario: Scenario, found: dict[str, Measurements]) -> str:
    """Return the table of a scenario as docs/performance.md has it: medians over the rounds, with the spread."""
    names = [name for name in scenario.systems if any(name in values for values in found.values())]
    heads = ["", *names, "goal", ""]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for figure in scenario.figures:
        values = found[figure.name]
        cells = [shown(above_direct(figure, values, one), figure.places) if one in values else "–" for one in names]
        goal, verdict = "", ""
        if figure.goal and scenario.ours in values and (figure.goal.against or scenario.ours) in values:
            ours = above_direct(figure, values, scenario.ours)
            against = figure.goal.against
            theirs = above_direct(figure, values, against) if against else [1.0] * len(ours)
            reached = ratio(ours, theirs)
            goal = figure.goal.text()
            verdict = ("met" if figure.goal.is_met(reached) else "missed") + (f": {reached:.2f}" if against else "")
        what = f"{figure.name}{' (added)' if figure.added else ''}{f': {figure.unit}' if figure.unit else ''}"
        lines.append("| " + " | ".join([what, *cells, goal, verdict]) + " |")
    return "\n".join(lines)


def machine() -> dict[str, object]:
    """Return what a figure depends on."""
    return {
        "python": platform.python_version(),
        "mitmproxy": version("mitmproxy"),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
        "date": time.strftime("%Y-%m-%d"),
    }


def rounded(values: Measurements) -> dict[str, list[float | None]]:
    """Return values for a file, with five digits."""
    return {name: [None if math.isnan(each) else float(f"{each:.5g}") for each in of] for name, of in values.items()}


def write(path: Path, samples: Mapping[str, object], rounds: int, share: float) -> None:
    """Write the values of all rounds, with the command that gave them."""
    command = "python -m tests.benchmarks " + shlex.join(sys.argv[1:])
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"command": command, "rounds": rounds, "share": share, **machine(), "samples": samples}
    path.write_text(json.dumps(content, ensure_ascii=False).replace('}, "', '},\n "') + "\n")


def save(folder: Path, scenario: Scenario, found: dict[str, Measurements], options: Options) -> None:
    """Write the values of all rounds to FOLDER/NAME.json."""
    samples = {figure.name: {"unit": figure.unit} | rounded(found[figure.name]) for figure in scenario.figures}
    write(folder / f"{scenario.name.replace(' ', '-')}.json", samples, options.rounds, options.share)
