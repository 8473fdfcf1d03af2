"""The rows that are written together. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wirekey.core.audit.event import EventValue

type AuditRow = tuple[EventValue, ...]


@dataclass(slots=True)
class Rows:
    """The rows of one transaction: intents (starts of calls), outcomes, and finals (calls without an intent)."""

    intents: list[AuditRow] = field(default_factory=list)
    outcomes: list[AuditRow] = field(default_factory=list)
    finals: list[AuditRow] = field(default_factory=list)
    attempts: list[AuditRow] = field(default_factory=list)
    """Rows of calls with several attempts. They accompany the outcomes and are not counted."""
    next_attempts: list[list[AuditRow]] = field(default_factory=list)
    """For each call that is about to be retried: the rows of all its attempts, including the next."""
    trial: bool = False
    """Whether to write even without rows, to test whether the file is writable."""

    def __bool__(self) -> bool:
        return bool(self.intents or self.next_attempts or self.outcomes or self.finals)

    @property
    def ends(self) -> int:
        """The number of calls that end with these rows."""
        return len(self.outcomes) + len(self.finals)
