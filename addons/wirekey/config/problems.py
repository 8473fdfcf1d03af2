"""What is wrong with a configuration, all of it at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `line` counts from 1; None where no line can be named.

    `key` is the dotted name of the setting (`routes[0].match`), empty where the whole file is meant. `message`
    says what is wrong and what to do, and never holds a value that could be a secret.
    """

    file: Path | None
    line: int | None
    key: str
    message: str

    def __str__(self) -> str:
        place = str(self.file) if self.file else "configuration"
        if self.line is not None:
            place = f"{place}:{self.line}"
        return ": ".join(part for part in (place, self.key, self.message) if part)


class ConfigError(UserError):
    """The configuration cannot be used. `problems` has at least one entry; the text has one line for each."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(list(problems))
        self.problems = list(problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)

    def report(self) -> str:
        """Return a heading and one line for each problem."""
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        return "\n".join([f"wirekey: {count} in the configuration:", *(f"  {problem}" for problem in self.problems)])
