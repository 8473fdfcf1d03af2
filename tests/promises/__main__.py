"""Measure the promises of docs/promises.md: python -m tests.promises [--only N]… [--long] [--write]

Without --long, each test runs in the form that the whole test command runs. --write puts what was measured into the
page, only from the long form.
"""

from __future__ import annotations

import argparse
import datetime as dt
import subprocess
import sys

from tests.promises.measuring import CHECKOUT, Measured, measure
from tests.promises.page import PAGE, row, with_row
from tests.promises.table import PROMISES, Promise


def main(arguments: list[str] | None = None) -> int:
    """Measure, print a line for each promise, and return 1 if one is not held."""
    parser = argparse.ArgumentParser(prog="python -m tests.promises", description="Measure the promises.")
    parser.add_argument("--only", type=int, action="append", choices=[promise.number for promise in PROMISES])
    parser.add_argument("--long", action="store_true", help="the long form: hours")
    parser.add_argument("--write", action="store_true", help="write the numbers to docs/promises.md")
    options = parser.parse_args(arguments)
    if options.write and not options.long:
        parser.error("--write needs --long: the page has numbers of the long form only")
    chosen = [promise for promise in PROMISES if not options.only or promise.number in options.only]
    held = True
    for promise in chosen:
        measured = measure(promise, long=options.long)
        held = held and measured.held
        print(line(promise, measured))
        if options.write:
            PAGE.write_text(with_row(PAGE.read_text(), promise.number, written(promise, measured)))
    return 0 if held else 1


def line(promise: Promise, measured: Measured) -> str:
    """Return the line of a promise."""
    state = "held" if measured.held else "NOT HELD"
    return f"{promise.number:2} {state:8} {measured.text} ({measured.tests} tests, {measured.seconds:.0f} s)"


def written(promise: Promise, measured: Measured) -> str:
    """Return the row of the page."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short=8", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    ).stdout.strip()
    today = dt.datetime.now(dt.UTC).date().isoformat()
    figure = measured.text if measured.held else f"**not held**: {measured.text}"
    return row(promise.number, promise.text, figure, f"{today}, {commit}")


if __name__ == "__main__":
    sys.exit(main())
