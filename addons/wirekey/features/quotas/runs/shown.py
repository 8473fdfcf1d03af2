"""Runs as commands and the live page show them: limits, use and state."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from wirekey.cli.agents import stamp
from wirekey.core.identity.agents_format import AgentRecords
from wirekey.core.identity.stored_runs import runs_of
from wirekey.features.quotas.definition import NANODOLLARS
from wirekey.features.quotas.runs.used import RunUse, limit_spent, used_by

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.core.identity.agents_format import AgentRecord
    from wirekey.core.identity.stored_runs import StoredRun

RECENT = timedelta(days=1)
"""For how long a run that has ended is on the live page."""
MOST_SHOWN = 40


def state_of(run: StoredRun, use: RunUse) -> str:
    """Return `open`, `spent`, `expired` (its time or its token has ended) or `ended` (with its program, or stopped)."""
    if run.record.ended_at is not UNSET:
        return "ended"
    ends = run.record.ends_at
    if not run.is_live or (ends is not UNSET and datetime.now(UTC) >= ends):
        return "expired"
    return "spent" if limit_spent(run.record, use) else "open"


def facts(run: StoredRun, use: RunUse) -> dict[str, Any]:
    """Return a run as JSON values, amounts in US dollars."""
    record = run.record
    return {
        "run": record.name,
        "agent": run.agent,
        "started": stamp(record.created),
        "budget_usd": None if record.budget is UNSET else record.budget / NANODOLLARS,
        "spent_usd": use.usd / NANODOLLARS,
        "most_calls": None if record.calls is UNSET else record.calls,
        "calls": use.calls,
        "most_tokens": None if record.tokens is UNSET else record.tokens,
        "tokens": use.tokens,
        "reserve": "worst" if record.reserve is UNSET else record.reserve,
        "ends_at": None if record.ends_at is UNSET else stamp(record.ends_at),
        "ended_at": None if record.ended_at is UNSET else stamp(record.ended_at),
        "state": state_of(run, use),
    }


def recent_runs(config: Config, agents: tuple[AgentRecord, ...]) -> list[dict[str, Any]]:
    """Return the facts of the latest runs that have not ended or are recent. Raises LedgerError, ConfigError."""
    since = datetime.now(UTC) - RECENT
    found = (run for run in runs_of(AgentRecords(agents=agents)) if run.is_live or last_moment(run) > since)
    shown = list(islice(found, MOST_SHOWN))
    if not shown:
        return []
    used = used_by(config, (run.record for run in shown), warns=False)
    return [facts(run, used[run.record.token]) for run in shown]


def last_moment(run: StoredRun) -> datetime:
    """Return when a run ended as far as that is known, or when it started."""
    ended = run.record.ended_at
    return run.record.created if ended is UNSET else ended
