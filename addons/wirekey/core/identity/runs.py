"""The record of a run: an identity for one program and all that it starts, with limits of its own.

A run is the child of an agent. Its token works as one of the agent's, until the run ends. A feature enforces the
limits. Without it, calls of runs are refused.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

LONGEST = timedelta(days=30)
"""The longest time of a run."""
MOST = 2**50
"""The largest limit: 1.1 million US dollars."""

Time = Annotated[datetime, Meta(tz=True)]
Limit = Annotated[int, Meta(ge=0, le=MOST)]


class RunRecord(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run as stored. A limit that is unset does not exist."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
    token: str
    """The id of its token, which also differs from that of an earlier run of the same name."""
    created: Time
    budget: Limit | UnsetType = UNSET
    """In billionths of a US dollar."""
    calls: Limit | UnsetType = UNSET
    tokens: Limit | UnsetType = UNSET
    reserve: Literal["expected"] | UnsetType = UNSET
    """Whether its calls reserve what they are expected to use, not the most that they can use."""
    ends_at: Time | UnsetType = UNSET
    """When its time is over."""
    ended_at: Time | UnsetType = UNSET
    """When its program ended, or it was stopped."""

    @property
    def last_moment(self) -> datetime:
        """When the run is over in any case."""
        return self.created + LONGEST


class LimitChange(Struct, frozen=True):
    """The new value of a limit, or an amount that is added to it."""

    amount: int
    is_added: bool = False


class RunError(ValueError):
    """A limit cannot be changed. The message says why."""


def changed(record: RunRecord, limits: dict[str, LimitChange], seconds: LimitChange | None) -> RunRecord:
    """Return a run with other limits. `seconds`: the change of its time, from its start. Raises RunError."""
    values: dict[str, int] = {}
    for name, change in limits.items():
        before = getattr(record, name)
        if change.is_added and before is UNSET:
            raise RunError(f"it has no limit of {'dollars' if name == 'budget' else name}. Leave out the + to set one")
        values[name] = change.amount + (before if change.is_added else 0)
        if values[name] > MOST:
            raise RunError(f"the limit of {'dollars' if name == 'budget' else name} is too large")
    if seconds:
        if seconds.is_added and record.ends_at is UNSET:
            raise RunError("its time has no limit. Leave out the + to set one")
        begin = record.ends_at if seconds.is_added and record.ends_at is not UNSET else record.created
        if seconds.amount > LONGEST.total_seconds() or begin + timedelta(seconds=seconds.amount) > record.last_moment:
            raise RunError(f"a run lasts at most {LONGEST.days} days")
        record = replace(record, ends_at=begin + timedelta(seconds=seconds.amount))
    return replace(record, **values)
