"""Each change to the stored runs, as a function of the agents' records before it. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec import UNSET
from msgspec.structs import replace

from wirekey.core.command_name import COMMAND
from wirekey.core.identity import agents_changes
from wirekey.core.identity.agents_format import AgentError, AgentRecord, AgentRecords, check_name
from wirekey.core.identity.runs import LimitChange, RunError, RunRecord, changed
from wirekey.core.labels import VALUE, VALUE_RULE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

MOST_ENDED = 50
"""Ended runs of each agent that are kept."""
KEPT = timedelta(days=30)
"""For how long they are kept at most."""


def begin(
    records: AgentRecords,
    agent: str,
    run: RunRecord,
    token: str,
    now: datetime,
    *,
    lifetime: float,
    strict: bool = False,
    renewable: float | None = None,
) -> AgentRecords:
    """Add a run to an agent, with a token that is valid for `lifetime` seconds. Raises AgentError.

    An earlier run of its name is forgotten. A token of that run could be renewed, so it is dropped.
    """
    check_name(run.name)
    if not VALUE.fullmatch(run.name):
        raise AgentError(f"{run.name!r} is not a valid name of a run, which is a label. It has {VALUE_RULE}.")
    for owner, other in all_runs(records):
        if other.name != run.name:
            continue
        if is_live(owner, other, now):
            raise AgentError(
                f"The run {run.name} has not ended. Choose another name, or stop it: {COMMAND} runs stop {run.name}."
            )
        kept = tuple(each for each in owner.runs if each.name != run.name)
        tokens = tuple(each for each in owner.tokens if each.run != run.name)
        records = records.with_agent(replace(owner, runs=kept, tokens=tokens))
    records = agents_changes.issue(
        records,
        agent,
        token,
        now,
        label=f"run {run.name}",
        lifetime=lifetime,
        strict=strict,
        renewable=renewable,
        run=run.name,
    )
    owner = records.agent(agent)
    return records.with_agent(replace(owner, runs=(*remembered(owner, now), run)))


def extend(
    records: AgentRecords, name: str, now: datetime, limits: dict[str, LimitChange], seconds: LimitChange | None
) -> AgentRecords:
    """Change the limits of a run that has not ended. Raises AgentError."""
    owner, run = find(records, name)
    if not is_live(owner, run, now):
        raise AgentError(f"The run {name} has ended. Start a new run.")
    try:
        latest = changed(run, limits, seconds)
    except RunError as error:
        raise AgentError(f"The run {name} is not extended: {error}.") from error
    return records.with_agent(replace(owner, runs=tuple(latest if each is run else each for each in owner.runs)))


def end(records: AgentRecords, name: str, now: datetime, token: str | None = None) -> AgentRecords:
    """End a run and drop its token. Does nothing if it has ended. `token`: the id of its token, if that is known."""
    owner, run = find(records, name)
    if run.ended_at is not UNSET or token not in (None, run.token):
        return records
    runs = tuple(replace(each, ended_at=now) if each is run else each for each in owner.runs)
    tokens = tuple(each for each in owner.tokens if each.run != name)
    return records.with_agent(replace(owner, runs=runs, tokens=tokens))


def find(records: AgentRecords, name: str) -> tuple[AgentRecord, RunRecord]:
    """Return a run and its agent. Raises AgentError if there is no such run."""
    for owner, run in all_runs(records):
        if run.name == name:
            return owner, run
    raise AgentError(f"There is no run {name[:80]!r}. See: {COMMAND} runs list.")


def all_runs(records: AgentRecords) -> Iterator[tuple[AgentRecord, RunRecord]]:
    """Yield each run with its agent."""
    for agent in records.agents:
        for run in agent.runs:
            yield agent, run


def is_live(agent: AgentRecord, run: RunRecord, now: datetime) -> bool:
    """Return whether a run has not ended: its token is valid. Its limits may be reached."""
    return (
        run.ended_at is UNSET
        and agent.is_active
        and any(
            token.id == run.token and (token.expires_at is None or token.expires_at > now) for token in agent.tokens
        )
    )


def remembered(agent: AgentRecord, now: datetime) -> tuple[RunRecord, ...]:
    """Return the runs of an agent that have not ended, and the latest of the others."""
    ended = [run for run in agent.runs if not is_live(agent, run, now) and run.created + KEPT > now][-MOST_ENDED:]
    return tuple(run for run in agent.runs if run in ended or is_live(agent, run, now))
