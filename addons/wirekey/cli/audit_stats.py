"""The output of `wirekey audit stats`: a table with bars, or JSON."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from wirekey.cli.table import money, table, whole, word

if TYPE_CHECKING:
    from wirekey.core.audit.sums import Sums, Totals

STATS_HEAD = ("CALLS", "DENIED", "FAILED", "IN", "OUT", "COST $", "TTFB p50", "p95 ms", "ALL p50", "p95 ms")
BAR_WIDTH = 20
EIGHTHS: tuple[str, ...] = ("", *"▏▎▍▌▋▊▉█")


def by_name(found: Totals, by: str) -> list[tuple[str | None, Sums]]:
    """Return (name, sums) of each named group or, for `by` day, of each day with calls."""
    if by == "day":
        return [
            (f"{day.start:%Y-%m-%d}", day.sums)
            for day in found.buckets
            if day.sums.counts.calls or day.sums.counts.declined
        ]
    return [(group.name, group.sums) for group in found.groups]


def stats_json(by: str, found: Totals, named: list[tuple[str | None, Sums]]) -> dict[str, Any]:
    """Return the sums as JSON values."""
    return {
        "by": by,
        "groups": [{"group": name} | sums_json(sums) for name, sums in named],
        "other": sums_json(found.other.sums) if found.other else None,
        "total": sums_json(found.all) if named else None,
    }


def sums_json(sums: Sums) -> dict[str, Any]:
    """Return the sums of one group as JSON values."""
    times = {"ttfb_ms": sums.ttfb, "duration_ms": sums.duration}
    counts = asdict(sums.counts)
    renamed = {"calls": counts.pop("calls"), "denied": counts.pop("denials"), "failed": counts.pop("errors")}
    return (
        renamed
        | counts
        | {f"{name}_{percentile}": value for name, of in times.items() for percentile, value in asdict(of).items()}
    )


def stats_table(by: str, found: Totals, named: list[tuple[str | None, Sums]]) -> str:
    """Return the sums as a table."""
    most = max(sums.counts.calls for _, sums in named)
    lines = [(*sums_cells(word(name), sums), bar(sums.counts.calls, most)) for name, sums in named]
    if found.other:  # without a bar, as it could dwarf those of the named groups
        lines.append((*sums_cells("(others)", found.other.sums), ""))
    lines.append((*sums_cells("all", found.all), ""))
    return table((by.upper(), *STATS_HEAD, ""), lines, right=range(1, len(STATS_HEAD) + 1))


def sums_cells(name: str, sums: Sums) -> tuple[str, ...]:
    """Return the cells of one group."""
    counts = sums.counts
    return (
        name,
        *map(word, (counts.calls, counts.denials, counts.errors, counts.input_tokens, counts.output_tokens)),
        money(counts.cost_usd),
        *map(whole, (sums.ttfb.p50, sums.ttfb.p95, sums.duration.p50, sums.duration.p95)),
    )


def bar(count: int, most: int) -> str:
    """Return a bar of up to `BAR_WIDTH` cells, in steps of an eighth if the terminal can show that; empty for 0."""
    eighths = max(1, round(count * BAR_WIDTH * 8 / most)) if count else 0
    full, remainder = divmod(eighths, 8)
    blocks = EIGHTHS[8] * full + EIGHTHS[remainder]
    try:
        blocks.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return "#" * max(1, full)
    return blocks
