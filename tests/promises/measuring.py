"""Run the tests of a promise, and read what they counted."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.promises.table import Promise

CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Measured:
    """What the tests of a promise showed. `figures`: name → number, in the order of the promise."""

    held: bool
    tests: int
    figures: Mapping[str, int]
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """The figures for a reader."""
        return ", ".join(f"{number:,} {name}" for name, number in self.figures.items())


def measure(promise: Promise, *, long: bool) -> Measured:
    """Run the tests of a promise in their short or long form. Their output is that of this process."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-o", "junit_family=xunit1", f"--junitxml={report}", *promise.tests],
            cwd=CHECKOUT,
            env=environment(promise, long=long),
            check=False,
        )
        text = report.read_text() if report.exists() else "<testsuites/>"
    return result(promise, text, done.returncode, time.monotonic() - began)


def environment(promise: Promise, *, long: bool) -> dict[str, str]:
    """Return the environment of the tests. In the long form, a variable that is set already changes a number."""
    return (dict(promise.long) if long else {}) | os.environ | {"WIREKEY_NO_SKIPS": "1"}


def result(promise: Promise, report: str, status: int, seconds: float) -> Measured:
    """Return what a JUnit report says of a promise. A promise without one of its figures is not held."""
    found: dict[str, list[int]] = defaultdict(list)
    cases = list(ET.fromstring(report).iter("testcase"))
    for each in (one for case in cases for one in case.iter("property")):
        found[each.get("name", "")].append(int(each.get("value", "0")))
    figures = {
        name: max(found[name]) if name in promise.largest else sum(found[name])
        for name in promise.counted
        if found[name]
    }
    passed = [case for case in cases if not [*case.iter("failure"), *case.iter("error"), *case.iter("skipped")]]
    held = status == 0 and len(passed) == len(cases) > 0 and set(figures) == set(promise.counted)
    return Measured(held, len(cases), figures, seconds)
