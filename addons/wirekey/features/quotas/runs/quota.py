"""The quota of a run: totals of dollars, calls and tokens from its start to its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec import UNSET

from wirekey.core.errors import Refusal
from wirekey.features.quotas.definition import UNLIMITED, Applied, PeriodLimit, Quota
from wirekey.features.quotas.periods import Period

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from msgspec import UnsetType

    from wirekey.core.identity.runs import RunRecord
    from wirekey.features.quotas.definition import SubjectLimits

PREFIX = "run"
"""In keys of totals, in place of the name of a quota."""
MOST_REMEMBERED = 1000
RUN_ENDED = Refusal(401, "run_ended", "The run of this token has ended. The request was not sent. Start another run.")


@dataclass(frozen=True, slots=True, eq=False)
class RunQuota(Quota):
    """The quota of a run. Its three totals are counted, also those without a limit."""

    of_run: tuple[PeriodLimit, ...] = ()

    @property
    def has_budget(self) -> bool:
        """Whether the run limits dollars."""
        return self.of_run[0].limit < UNLIMITED

    @property
    def title(self) -> str:
        """Its name in messages."""
        return f"run {self.name}"

    def period_limits(self, limits: SubjectLimits, now: float) -> Iterator[PeriodLimit]:
        """Yield its totals. Their period is the whole run."""
        yield from self.of_run


def quota_of(run: RunRecord) -> RunQuota:
    """Return the quota of a run."""
    period = Period(run.token, run.created.timestamp(), run.last_moment.timestamp())
    totals = (
        PeriodLimit("usd", limit_of(run.budget), period),
        PeriodLimit("calls", limit_of(run.calls), period),
        PeriodLimit("tokens", limit_of(run.tokens), period),
    )
    ends = None if run.ends_at is UNSET else run.ends_at.timestamp()
    return RunQuota(run.name, "run", reserves_expected=run.reserve == "expected", ends=ends, of_run=totals)


def limit_of(limit: int | UnsetType) -> int:
    """Return the limit of a total; a total without one is only counted."""
    return UNLIMITED if limit is UNSET else limit


def applied_to(run: RunRecord) -> Applied:
    """Return the quota of a run as it applies to each of its calls.

    The keys of its totals never equal those of a quota of this name, which have other limits.
    """
    found = Applied(quota_of(run), run.name)
    for name, _, period in found.period_limits(0):
        found.budget_keys[name] = period.label, key_of(run, name)
    return found


def key_of(run: RunRecord, limit: str) -> str:
    """Return the key of a total of a run, in the shared state and the ledger."""
    return f"quota:{PREFIX}:{limit}:{run.token}:{run.name}"


class RunQuotas:
    """The quotas of the runs of one process, made once for each version of a run's record."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[RunRecord, Applied]] = {}

    def applied(self, name: str, runs: Mapping[str, RunRecord]) -> Applied:
        """Return the quota of the run of a name. `runs`: those that have not ended. Raises Refusal if it has."""
        run = runs.get(name)
        if run is None:
            raise RUN_ENDED
        made = self._made.get(name)
        if made is None or made[0] != run:  # equal if the file was only read again
            if len(self._made) >= MOST_REMEMBERED:
                self._made = {each: value for each, value in self._made.items() if each in runs}
            made = self._made[name] = run, applied_to(run)
        return made[1]

    def latest(self, applied: Applied, runs: Mapping[str, RunRecord]) -> Applied:
        """Return the quota of a run as it is now. One that has ended, and any other quota, is returned as it is."""
        if applied.quota.per != "run" or applied.subject not in runs:
            return applied
        found = self.applied(applied.subject, runs)
        return found if found.budget_keys == applied.budget_keys else applied  # a later run can have the same name
