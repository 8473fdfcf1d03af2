"""The use of runs so far, for commands: of all machines if a server keeps it, otherwise of this one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec import UNSET

from wirekey.features.quotas.command import known_totals, spend_since
from wirekey.features.quotas.refusals import amount_in_words
from wirekey.features.quotas.runs.quota import key_of, quota_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from wirekey.config import Config
    from wirekey.core.audit.sums import GroupBy
    from wirekey.core.identity.runs import RunRecord
    from wirekey.features.quotas.command import Spend


class RunUse(NamedTuple):
    """The totals of a run. Money is in billionths of a dollar."""

    usd: int = 0
    calls: int = 0
    tokens: int = 0


def used_by(config: Config, runs: Iterable[RunRecord], *, warns: bool = True) -> dict[str, RunUse]:
    """Return what each run has used, by the id of its token. Raises LedgerError, ConfigError."""
    totals = {key: total.amount for key, total in known_totals(config, warns=warns).items()}
    return {run.token: RunUse(*(totals.get(key_of(run, name), 0) for name in RunUse._fields)) for run in runs}


def use_of(config: Config, run: RunRecord, *, warns: bool = True) -> RunUse:
    """Return what a run has used. Raises LedgerError, ConfigError."""
    return used_by(config, [run], warns=warns)[run.token]


def used_of_models(config: Config, run: RunRecord, per: GroupBy = "model") -> Spend:
    """Return the recorded calls of a run by model, those that cost most first. Raises AuditDatabaseError."""
    from wirekey.core.audit.filters import Filters

    return spend_since(config, per, run.created, Filters(labels=(("run", run.name),)))


def used_of_sub_agents(config: Config, run: RunRecord) -> Spend:
    """Return the recorded calls of a run by sub-agent, those that cost most first. Raises AuditDatabaseError."""
    named = used_of_models(config, run, "label:sub_agent")
    return [(f"sub-agent {name}", counts) for name, counts in named if name]


def limit_spent(run: RunRecord, use: RunUse) -> str | None:
    """Return in words which limit of dollars, calls or tokens is reached, or None."""
    for name, most, _ in quota_of(run).of_run:
        if getattr(use, name) >= most:
            return f"{amount_in_words(name, getattr(use, name))} of {amount_in_words(name, most)}"
    return None


def reached(run: RunRecord, use: RunUse, now: datetime) -> str | None:
    """Return in words which limit of a run is reached, or None. The next call is then refused."""
    if spent := limit_spent(run, use):
        return spent
    if run.ends_at is not UNSET and now >= run.ends_at:
        return f"its time was over at {run.ends_at.astimezone():%Y-%m-%d %H:%M:%S}"
    return None
