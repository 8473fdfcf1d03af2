"""The results of checks, and what features say of a configuration that has no problem."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from wirekey.config import Config


class Level(StrEnum):
    """How serious a finding is. Only `wrong` makes the exit code 1. `skipped` was not checked and need not be."""

    OK = "ok"
    SKIPPED = "skipped"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. `area` is a word for programs, `fix` says what to do and is empty if nothing is."""

    area: str
    subject: str
    level: Level
    message: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class ConfigChecks:
    """The part of a feature that says what a valid configuration means, in `config check` and `doctor`.

    `name`: that of the lines in the JSON of `config check`.
    """

    name: str
    lines: Callable[[Config], Sequence[str]]
    findings: Callable[[Config], Iterable[Finding]]
