"""Tables for terminals. Each column is as wide as its longest cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

GAP = "  "
UNKNOWN = "-"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Return a table as text. `right` are the indices of the columns that are aligned to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return "\n".join(line(row, widths, right) for row in [head, *rows])


def line(cells: Sequence[str], widths: Sequence[int], right: Sequence[int] = ()) -> str:
    """Return one line of a table. Cells that are longer than their column are cut."""
    padded = []
    for place, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        cut = cell if len(cell) <= width else f"{cell[: width - 1]}…"
        padded.append(cut.rjust(width) if place in right else cut.ljust(width))
    return GAP.join(padded).rstrip()


def word(value: Any) -> str:
    """Return a value as the text of a cell."""
    if value is None or value == "":
        return UNKNOWN
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def money(value: Any) -> str:
    """Return an amount in dollars as the text of a cell."""
    return UNKNOWN if value is None else f"{value:.6f}" if value < 1 else f"{value:.2f}"


def whole(value: Any) -> str:
    """Return a number, rounded, as the text of a cell."""
    return UNKNOWN if value is None else f"{value:.0f}"
