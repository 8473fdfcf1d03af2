"""The limits of runs on the command line: --budget 5, --calls 200, --tokens 2M, --for 30m."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from wirekey.cli.moments import seconds_of
from wirekey.core.identity.runs import LONGEST, MOST, LimitChange
from wirekey.features.quotas.definition import NANODOLLARS

if TYPE_CHECKING:
    from collections.abc import Sequence

COUNT = re.compile(r"(\d+(?:\.\d+)?)([kMG]?)", re.ASCII)
MONEY = re.compile(r"\$?(\d+(?:\.\d+)?)", re.ASCII)
FACTORS = {"": 1, "k": 1000, "M": 10**6, "G": 10**9}


class LimitType(click.ParamType[LimitChange]):
    """A limit as an option of the command line. `extends`: whether a + in front adds to the present limit."""

    def __init__(self, kind: str, *, extends: bool) -> None:
        self.name = kind
        self.extends = extends

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> LimitChange:
        """Return the limit: dollars in billionths, a count, or seconds."""
        text = str(value).strip()
        is_added = self.extends and text.startswith("+")
        amount = amount_of(self.name, text.removeprefix("+") if is_added else text)
        if amount is None:
            self.fail(f"{value!r} is no limit. Write {EXAMPLES[self.name]}.", param, ctx)
        if not 0 < amount <= (LONGEST.total_seconds() if self.name == "duration" else MOST):
            self.fail(f"{value!r} is out of range. A run has at most {LARGEST[self.name]}.", param, ctx)
        return LimitChange(amount, is_added)


RESERVE = click.Option(
    ["--reserve"],
    type=click.Choice(["worst", "expected"]),
    default="worst",
    show_default=True,
    help="The use that a call reserves of the limits before it is sent: the most that it can have, or the usual one of "
    "calls of its kind.",
)
EXAMPLES = {"dollars": "5 or 0.05", "count": "200, 50k or 2M", "duration": "90s, 30m, 2h or 7d"}
LARGEST = {"dollars": f"${MOST // NANODOLLARS:,}", "count": f"{MOST:,}", "duration": f"{LONGEST.days} days"}


def amount_of(kind: str, text: str) -> int | None:
    """Return an amount as a whole number, or None if the text is not valid."""
    if kind == "duration":
        seconds = seconds_of(text)
        return None if seconds is None else round(seconds)
    found = (MONEY if kind == "dollars" else COUNT).fullmatch(text)
    if found is None or len(text) > 20:
        return None
    return round(float(found[1]) * (NANODOLLARS if kind == "dollars" else FACTORS[found[2]]))


def limit_options(*, extends: bool = False) -> Sequence[click.Option]:
    """Return the options for the limits of a run."""
    plus = " With + in front, it is added." if extends else ""
    return (
        click.Option(
            ["--budget"],
            type=LimitType("dollars", extends=extends),
            metavar="USD",
            help=f"Most US dollars of the run, by list prices.{plus}",
        ),
        click.Option(
            ["--calls"], type=LimitType("count", extends=extends), metavar="N", help=f"Most calls of the run.{plus}"
        ),
        click.Option(
            ["--tokens"],
            type=LimitType("count", extends=extends),
            metavar="N",
            help=f"Most tokens of the run, of input and output together: 50k, 2M.{plus}",
        ),
        click.Option(
            ["--for", "seconds"],
            type=LimitType("duration", extends=extends),
            metavar="TIME",
            help=f"Time from the start of the run in which it may make calls: 30m, 2h.{plus}",
        ),
    )
