"""The open sessions: connections of many responses, and what their responses have used so far.

`OpenSessions` learns of them as every observer of calls does. It has names and counts, and no message of a session.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from wirekey.audit.event import count, number
from wirekey.body import Body

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wirekey.call import Call
    from wirekey.operation import Usage

MAX_ROWS = 100
"""Sessions of one process that a report names. It counts the others."""

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
    input_tokens: int | None = None
    output_tokens: int | None = None
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None
    cost_usd: float | None = None
    unpriced: int = 0
    """Responses with tokens and an unknown cost."""

    def add(self, call: Call) -> None:
        """Add a response, or tokens that were used outside of one."""
        self.responses += call.intent_recorded
        if call.usage:
            self.add_usage(call.usage)
            cost = number(call.cost_usd)
            self.cost_usd = added(self.cost_usd, cost)
            self.unpriced += cost is None and call.usage.input_tokens is not None

    def add_usage(self, usage: Usage) -> None:
        """Add tokens."""
        self.input_tokens = added(self.input_tokens, count(usage.input_tokens))
        self.output_tokens = added(self.output_tokens, count(usage.output_tokens))
        self.audio_input_tokens = added(self.audio_input_tokens, count(usage.audio_input_tokens))
        self.audio_output_tokens = added(self.audio_output_tokens, count(usage.audio_output_tokens))


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
        elif call.operation and call.operation.body in (Body.WEBSOCKET, Body.EVENTS) and call.parent_id is None:
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
        return {"count": len(found), "rows": [asdict(session) for session in found[:MAX_ROWS]]}


def joined(reports: Iterable[Report]) -> Report:
    """Return the reports of several processes as one."""
    found = list(reports)
    rows = sorted((row for report in found for row in report["rows"]), key=lambda row: row["started_at"])
    return {"count": sum(report["count"] for report in found), "rows": rows[:MAX_ROWS]}


def added[Number: (int, float)](total: Number | None, more: Number | None) -> Number | None:
    """Return a sum in which None is unknown."""
    if total is None or more is None:
        return more if total is None else total
    return total + more
