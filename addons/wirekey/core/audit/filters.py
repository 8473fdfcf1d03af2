"""The conditions by which recorded calls are selected. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.core.audit.event import safe
from wirekey.core.labels import NAME, UNVERIFIED

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.core.audit.event import EventValue

IN_PROGRESS = "in_progress"
"""The filter value for calls without an outcome."""


INDEXED_LABELS = ("run", "session", "team")
"""The labels by which calls are found without reading all."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """The forms of one database.

    `operator` compares a text with a glob of `*`, `?` and `[…]`, which `value_of` returns in the form that the operator
    needs. `label` returns SQL for the value of a label, marked if it is unverified.
    """

    operator: str
    value_of: Callable[[str], str]
    label: Callable[[str], str]


def label_form(member: str) -> Callable[[str], str]:
    """Return `Dialect.label` for a database. `member`: SQL for a member, with the places `{column}` and `{name}`."""

    def label(name: str) -> str:
        assert NAME.fullmatch(name)
        verified, unverified = (member.format(column=column, name=name) for column in ("labels", "labels_unverified"))
        return f"coalesce({verified}, {unverified} || '{UNVERIFIED}')"

    return label


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions on calls. `since` (inclusive) and `until` (exclusive): Unix seconds.

    `model`: requested or sent; * and ?. `labels`: (name, value); the value has or lacks the mark of unverified ones.
    """

    since: float | None = None
    until: float | None = None
    agent: str | None = None
    provider: str | None = None
    model: str | None = None
    outcome: str | None = None
    labels: tuple[tuple[str, str], ...] = ()

    def where(self, dialect: Dialect) -> tuple[str, list[EventValue]]:
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
            clauses.append(f"(model {dialect.operator} ? OR requested_model {dialect.operator} ?)")
            values += [dialect.value_of(safe(self.model) or "")] * 2
        if self.outcome == IN_PROGRESS:
            clauses.append("outcome IS NULL")
        elif self.outcome is not None:
            clauses.append("outcome = ?")
            values.append(self.outcome)
        for name, wanted in self.labels:
            clauses.append(f"{dialect.label(name)} IN (?, ?)")
            values += [wanted, wanted + UNVERIFIED]
        return (f"WHERE {' AND '.join(clauses)}" if clauses else ""), values


def first_id_at(timestamp: float) -> str:
    """Return a text that sorts before all UUIDv7s of a millisecond and after all earlier ones."""
    digits = f"{min(max(0, int(timestamp * 1000)), 2**48 - 1):012x}"
    return f"{digits[:8]}-{digits[8:]}"
