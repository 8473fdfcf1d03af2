"""Tables for terminals: columns as wide as their longest cell, numbers to the right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

GAP = "  "
UNKNOWN = "-"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Give the lines of a table. `right`: the columns that are aligned to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return "\n".join(line(row, widths, right) for row in [head, *rows])


def line(cells: Sequence[str], widths: Sequence[int], right: Sequence[int] = ()) -> str:
    """Give one line; what is longer than its column is cut."""
    padded = []
    for place, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        cut = cell if len(cell) <= width else f"{cell[: width - 1]}…"
        padded.append(cut.rjust(width) if place in right else cut.ljust(width))
    return GAP.join(padded).rstrip()


def word(value: Any) -> str:
    if value is None or value == "":
        return UNKNOWN
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def money(value: Any) -> str:
    return UNKNOWN if value is None else f"{value:.6f}" if value < 1 else f"{value:.2f}"


def whole(value: Any) -> str:
    return UNKNOWN if value is None else f"{value:.0f}"
