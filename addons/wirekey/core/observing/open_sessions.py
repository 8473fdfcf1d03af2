"""The open sessions: connections of many responses, and what their responses have used so far.

`OpenSessions` learns of them as every observer of calls does. It has names and counts, and no message of a session.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wirekey.core.audit.event import count, number
from wirekey.core.body import WEBSOCKETS, Body
from wirekey.core.operation import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wirekey.core.call import Call

MAX_ROWS = 100
"""Sessions of one process that a report names. It counts the others."""

COUNTS = ("input_tokens", "output_tokens", "audio_input_tokens", "audio_output_tokens")
SHOWN = ("id", "started_at", "agent", "provider", "operation", "model", "responses", "cost_usd", "unpriced")

SESSIONS = (*WEBSOCKETS, Body.EVENTS)
"""Bodies of operations that open a connection of many responses."""

type JsonValue = str | int | float | None
type Report = dict[str, Any]
"""`count`: the number of open sessions. `rows`: the first of them, the oldest first."""


@dataclass(slots=True)
class OpenSession:
    """One open session. Counts are of its responses that have ended. None means that none of them is known."""

    id: str
    started_at: float
    """Unix seconds."""
    agent: str | None
    provider: str | None
    operation: str
    model: str | None
    """The model of the last response."""
    responses: int = 0
    usage: Usage = field(default_factory=Usage)
    cost_usd: float | None = None
    unpriced: int = 0
    """Responses with tokens and an unknown cost."""

    def add(self, call: Call) -> None:
        """Add a response, or tokens that were used outside of one."""
        self.responses += call.intent_recorded
        if call.usage:
            self.usage = self.usage.plus(call.usage)
            cost = number(call.cost_usd)
            if cost is not None:
                self.cost_usd = (self.cost_usd or 0.0) + cost
            self.unpriced += cost is None and call.usage.input_tokens is not None

    def row(self) -> dict[str, JsonValue]:
        """Return what may be shown of the session."""
        used = {name: count(getattr(self.usage, name)) for name in COUNTS}
        return {name: getattr(self, name) for name in SHOWN} | used


class OpenSessions:
    """A call observer that keeps the open sessions of this process. It keeps nothing of one that has ended."""

    def __init__(self) -> None:
        self.sessions: dict[str, OpenSession] = {}
        self._counts: Counter[tuple[str, str]] = Counter()

    def began(self, call: Call) -> None:
        """Note a session that opens, or the model of a response that a session begins."""
        session = self.sessions.get(call.parent_id or "")
        if session:
            session.model = call.model or session.model
        elif call.operation and call.operation.body in SESSIONS and call.parent_id is None:
            agent = call.agent.id if call.agent else None
            operation = call.operation.name
            self.sessions[call.id] = OpenSession(call.id, call.started_at, agent, call.provider, operation, call.model)
            self._counts[call.provider or "", operation] += 1

    def ended(self, call: Call) -> None:
        """Add a response to its session, or forget a session that has ended."""
        if session := self.sessions.get(call.parent_id or ""):
            session.add(call)
        elif session := self.sessions.pop(call.id, None):
            self._counts[session.provider or "", session.operation] -= 1

    def counts(self) -> Counter[tuple[str, str]]:
        """Return how many sessions are open, by provider and operation; 0 if there were some before."""
        return self._counts.copy()

    def report(self) -> Report:
        """Return the open sessions as JSON values."""
        found = list(self.sessions.values())
        return {"count": len(found), "rows": [session.row() for session in found[:MAX_ROWS]]}


def joined(reports: Iterable[Report]) -> Report:
    """Return the reports of several processes as one."""
    found = list(reports)
    rows = sorted((row for report in found for row in report["rows"]), key=lambda row: row["started_at"])
    return {"count": sum(report["count"] for report in found), "rows": rows[:MAX_ROWS]}
