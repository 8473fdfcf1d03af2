"""The origin of generated Rego: each part maps to a file, line and column of the operator's."""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass, field
from typing import NamedTuple

_MARK = re.compile("\x00(\\d+)\x00")


class SourcePosition(NamedTuple):
    """A position in a file of the policy. `line` and `column` count from 1."""

    file: str
    line: int
    column: int


@dataclass(slots=True)
class SourceMap:
    """Positions of the generated modules. Text under construction carries marks, which `finish` removes."""

    places: list[SourcePosition] = field(default_factory=list)
    _starts: dict[str, list[list[tuple[int, SourcePosition]]]] = field(default_factory=dict)
    """Generated file → for each line, (column, place), by column."""

    def mark(self, place: SourcePosition) -> str:
        """Return a mark to put before the text that comes from a position."""
        self.places.append(place)
        return f"\x00{len(self.places) - 1}\x00"

    def finish(self, name: str, marked: str) -> str:
        """Return the text of a generated module without marks, and remember their positions."""
        lines, starts = [], []
        for line in marked.split("\n"):
            plain, found, last = "", [], 0
            for mark in _MARK.finditer(line):
                plain += line[last : mark.start()]
                last = mark.end()
                found.append((len(plain) + 1, self.places[int(mark[1])]))
            lines.append(plain + line[last:])
            starts.append(found)
        self._starts[name] = starts
        return "\n".join(lines)

    def original(self, name: str, line: int, column: int) -> SourcePosition | None:
        """Return the operator's position for one in a generated module, or None if it is not generated."""
        starts = self._starts.get(name, [])
        for number in range(min(line, len(starts)), 0, -1):
            found = starts[number - 1]
            if found:
                limit = column if number == line else found[-1][0]
                index = bisect.bisect_right([start for start, _ in found], limit)
                return found[max(0, index - 1)][1]
        return None
