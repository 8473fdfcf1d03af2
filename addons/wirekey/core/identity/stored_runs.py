"""The stored runs, and every change to them. They are stored with their agents."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal, NamedTuple

from msgspec import UNSET

from wirekey.core.identity import run_changes
from wirekey.core.identity.agents_format import AgentRecords
from wirekey.core.identity.runs import RunRecord
from wirekey.core.identity.tokens import new_token, token_id

if TYPE_CHECKING:
    from wirekey.core.identity.runs import LimitChange
    from wirekey.core.identity.stored_agents import StoredAgents


type Reserve = Literal["worst", "expected"]


class NewRun(NamedTuple):
    """The name and the limits of a run that is about to start. None: no limit."""

    name: str
    budget: int | None = None
    """In billionths of a US dollar."""
    calls: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    reserve: Reserve = "worst"

    def record(self, token: str, now: datetime) -> RunRecord:
        """Return what is stored of it."""
        return RunRecord(
            name=self.name,
            token=token_id(token),
            created=now,
            budget=UNSET if self.budget is None else self.budget,
            calls=UNSET if self.calls is None else self.calls,
            tokens=UNSET if self.tokens is None else self.tokens,
            reserve="expected" if self.reserve == "expected" else UNSET,
            ends_at=UNSET if self.seconds is None else now + timedelta(seconds=self.seconds),
        )


class StoredRun(NamedTuple):
    """A run with the name of its agent. `is_live`: whether it has not ended."""

    agent: str
    record: RunRecord
    is_live: bool


class StoredRuns:
    """The runs of the agents. Each change raises AgentError if it is not possible."""

    def __init__(self, agents: StoredAgents) -> None:
        self._agents = agents

    def start(
        self, agent: str, run: NewRun, *, lifetime: float, strict: bool = False, renewable: float | None = None
    ) -> str:
        """Add a run to an agent, and return its token. `lifetime` and `renewable` as in `StoredAgents.issue_token`."""
        token = new_token()
        self._agents.apply(
            lambda old, now: run_changes.begin(
                old,
                agent,
                run.record(token, now),
                token,
                now,
                lifetime=lifetime,
                strict=strict,
                renewable=renewable,
            )
        )
        return token

    def extend(self, name: str, limits: dict[str, LimitChange], seconds: LimitChange | None) -> None:
        """Change the limits of a run that has not ended."""
        self._agents.apply(lambda old, now: run_changes.extend(old, name, now, limits, seconds))

    def end(self, name: str, token: str | None = None) -> None:
        """End a run. `token`: its token, so that a later run of the same name stays."""
        self._agents.apply(lambda old, now: run_changes.end(old, name, now, token and token_id(token)))

    def all(self) -> list[StoredRun]:
        """Return the runs, the latest first."""
        return runs_of(AgentRecords(agents=self._agents.agents()))

    def find(self, name: str) -> StoredRun:
        """Return the run of a name. Raises AgentError if it does not exist."""
        agent, run = run_changes.find(AgentRecords(agents=self._agents.agents()), name)
        return StoredRun(agent.id, run, run_changes.is_live(agent, run, datetime.now(UTC)))


def runs_of(records: AgentRecords) -> list[StoredRun]:
    """Return the runs of all agents, the latest first."""
    now = datetime.now(UTC)
    found = [
        StoredRun(agent.id, run, run_changes.is_live(agent, run, now)) for agent, run in run_changes.all_runs(records)
    ]
    return sorted(found, key=lambda each: each.record.created, reverse=True)
