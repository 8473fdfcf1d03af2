"""The problems that a policy can have, with their positions, and the errors that carry them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RegoProblem:
    """One problem of a policy: what is wrong, where, and what to do. `line` and `column` count from 1.

    `file` is the name of a module, or `policy` or `data` for a problem of all modules or of the data.
    """

    file: str
    line: int | None
    column: int | None
    message: str

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        return f"{place}: {self.message}"


@dataclass(frozen=True, slots=True)
class UnknownPackage(RegoProblem):
    """No module has the package that `query` names. `packages`: those of the modules, sorted."""

    query: str
    packages: tuple[str, ...]


class CompileError(Exception):
    """The policy cannot be used. `problems` has at least one entry."""

    def __init__(self, problems: list[RegoProblem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


class EvaluationError(Exception):
    """There is no result for an input. The message says why, with the position in the policy's files."""
