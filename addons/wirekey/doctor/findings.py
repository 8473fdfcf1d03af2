"""What the doctor found, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Level(StrEnum):
    """`skipped` could not be looked at, and needs not be; only `wrong` makes the exit code 1."""

    OK = "ok"
    SKIPPED = "skipped"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `area` is a word for programs, `fix` says what to do, empty where nothing is to be done."""

    area: str
    subject: str
    level: Level
    message: str
    fix: str = ""


def exit_code(findings: Sequence[Finding]) -> int:
    return int(any(finding.level is Level.WRONG for finding in findings))


def report(findings: Sequence[Finding]) -> str:
    """Give the findings as lines for a person, each fix below what it mends, and a last line that sums up."""
    width = max((len(finding.subject) for finding in findings), default=0)
    lines = []
    for finding in findings:
        lines.append(f"{finding.level:<8} {finding.subject:<{width}}  {finding.message}")
        if finding.fix:
            lines.append(f"{'':<8} {'':<{width}}  → {finding.fix}")
    return "\n".join([*lines, "", summary(findings)])


def summary(findings: Sequence[Finding]) -> str:
    wrong = sum(finding.level is Level.WRONG for finding in findings)
    warnings = sum(finding.level is Level.WARNING for finding in findings)
    skipped = sum(finding.level is Level.SKIPPED for finding in findings)
    if not wrong and not warnings:
        return f"Everything is in order; {skipped} skipped." if skipped else "Everything is in order."
    counts = [f"{wrong} wrong"] * bool(wrong) + [f"{warnings} warning{'s' * (warnings != 1)}"] * bool(warnings)
    return f"{', '.join(counts)}."


def as_json(findings: Sequence[Finding]) -> dict[str, object]:
    return {
        "ok": exit_code(findings) == 0,
        "findings": [
            {name: getattr(finding, name) for name in ("area", "subject", "level", "message", "fix")}
            for finding in findings
        ],
    }
