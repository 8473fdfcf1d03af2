"""The conditions by which recorded calls are selected. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.core.audit.event import safe

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.core.audit.event import EventValue

IN_PROGRESS = "in_progress"
"""The filter value for calls without an outcome."""


@dataclass(frozen=True, slots=True)
class GlobMatch:
    """How a database compares a text with a glob of `*`, `?` and `[…]`.

    `value_of` returns the glob in the form that the operator needs.
    """

    operator: str
    value_of: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions on calls. `since` (inclusive) and `until` (exclusive): Unix seconds.

    `model`: requested or sent; * and ?.
    """

    since: float | None = None
    until: float | None = None
    agent: str | None = None
    provider: str | None = None
    model: str | None = None
    outcome: str | None = None

    def where(self, glob: GlobMatch) -> tuple[str, list[EventValue]]:
        """Return a WHERE clause, which may be empty, and its values."""
        clauses: list[str] = []
        values: list[EventValue] = []
        # Ids begin with the start time of the call, and are indexed.
        for timestamp, comparison in ((self.since, ">="), (self.until, "<")):
            if timestamp is not None:
                clauses.append(f"id {comparison} ?")
                values.append(first_id_at(timestamp))
        for name, wanted in (("agent_id", self.agent), ("provider", self.provider)):
            if wanted is not None:
                clauses.append(f"{name} = ?")
                values.append(safe(wanted))
        if self.model is not None:
            clauses.append(f"(model {glob.operator} ? OR requested_model {glob.operator} ?)")
            values += [glob.value_of(safe(self.model) or "")] * 2
        if self.outcome == IN_PROGRESS:
            clauses.append("outcome IS NULL")
        elif self.outcome is not None:
            clauses.append("outcome = ?")
            values.append(self.outcome)
        return (f"WHERE {' AND '.join(clauses)}" if clauses else ""), values


def first_id_at(timestamp: float) -> str:
    """Return a text that sorts before all UUIDv7s of a millisecond and after all earlier ones."""
    digits = f"{min(max(0, int(timestamp * 1000)), 2**48 - 1):012x}"
    return f"{digits[:8]}-{digits[8:]}"
