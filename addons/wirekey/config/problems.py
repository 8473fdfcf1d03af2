"""The problems of a configuration, reported together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of a configuration.

    `line` counts from 1 and is None if the problem has no line. `key` is the dotted name of the setting, such as
    `routes[0].match`, and empty if the problem is about the whole file. `message` says what is wrong and what to do. It
    never contains a value that could be a secret.
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
    """The configuration cannot be used. `problems` has at least one entry. The text has one line for each."""

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
