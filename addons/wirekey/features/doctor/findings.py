"""The findings of the doctor, and how they are printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.cli.config_checks import Level

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wirekey.cli.config_checks import Finding


def exit_code(findings: Sequence[Finding]) -> int:
    """Return 1 if something is wrong, otherwise 0."""
    return int(any(finding.level is Level.WRONG for finding in findings))


def report(findings: Sequence[Finding]) -> str:
    """Return the findings as lines for people, each with its fix below, and a summary as the last line."""
    width = max((len(finding.subject) for finding in findings), default=0)
    lines = []
    for finding in findings:
        lines.append(f"{finding.level:<8} {finding.subject:<{width}}  {finding.message}")
        if finding.fix:
            lines.append(f"{'':<8} {'':<{width}}  → {finding.fix}")
    return "\n".join([*lines, "", summary(findings)])


def summary(findings: Sequence[Finding]) -> str:
    """Return the numbers of problems in one sentence."""
    wrong = sum(finding.level is Level.WRONG for finding in findings)
    warnings = sum(finding.level is Level.WARNING for finding in findings)
    skipped = sum(finding.level is Level.SKIPPED for finding in findings)
    if not wrong and not warnings:
        return f"No problems found. {skipped} skipped." if skipped else "No problems found."
    counts = [f"{wrong} wrong"] * bool(wrong) + [f"{warnings} warning{'s' * (warnings != 1)}"] * bool(warnings)
    return f"{', '.join(counts)}."


def as_json(findings: Sequence[Finding]) -> dict[str, object]:
    """Return the findings as JSON values."""
    return {
        "ok": exit_code(findings) == 0,
        "findings": [
            {name: getattr(finding, name) for name in ("area", "subject", "level", "message", "fix")}
            for finding in findings
        ],
    }
