"""Spans and moments as people write them on a command line: 90, 15m, 2h, 7d; 2026-01-31, 2026-01-31T12:00."""

from __future__ import annotations

import re
import time
from datetime import datetime

import click

SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhdw]?)", re.ASCII)
SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
LONGEST = 100 * 365 * 86400


def seconds_of(text: str) -> float | None:
    """Give the seconds of a span, None where it is none."""
    found = SPAN.fullmatch(text.strip())
    seconds = float(found[1]) * SECONDS[found[2]] if found else None
    return seconds if seconds is not None and seconds <= LONGEST else None


def span(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Make an option's text a span in seconds: an option's `callback`."""
    if value is None:
        return None
    seconds = seconds_of(value)
    if seconds is None:
        raise click.BadParameter(f"{value!r} is no span of time. Write 90, 15m, 2h or 7d.", ctx, param)
    return seconds


def moment(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Make an option's text seconds since 1970: a span is so long ago, a date without a zone is local time."""
    if value is None:
        return None
    seconds = seconds_of(value)
    if seconds is not None:
        return time.time() - seconds
    try:
        return datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{value!r} is no moment. Write 15m, 2h or 7d (ago), 2026-01-31 or 2026-01-31T12:00.", ctx, param
        ) from None
