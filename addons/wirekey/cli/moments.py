"""Durations and times on the command line: 90, 15m, 2h, 7d; 2026-01-31, 2026-01-31T12:00."""

from __future__ import annotations

import re
import time
from datetime import datetime

import click

SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhdw]?)", re.ASCII)
SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
LONGEST = 100 * 365 * 86400


def seconds_of(text: str) -> float | None:
    """Return the seconds of a duration, or None if the text is not a duration."""
    found = SPAN.fullmatch(text.strip())
    seconds = float(found[1]) * SECONDS[found[2]] if found else None
    return seconds if seconds is not None and seconds <= LONGEST else None


def span(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Convert an option's text, a duration, to seconds. For click's `callback`."""
    if value is None:
        return None
    seconds = seconds_of(value)
    if seconds is None:
        raise click.BadParameter(f"{value!r} is not a duration. Write 90, 15m, 2h or 7d.", ctx, param)
    return seconds


def moment(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Convert an option's text to seconds since 1970. For click's `callback`.

    A duration means that long ago. A date without a time zone is local time.
    """
    if value is None:
        return None
    seconds = seconds_of(value)
    if seconds is not None:
        return time.time() - seconds
    try:
        return datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{value!r} is not a time. Write 15m, 2h or 7d (ago), 2026-01-31 or 2026-01-31T12:00.", ctx, param
        ) from None
