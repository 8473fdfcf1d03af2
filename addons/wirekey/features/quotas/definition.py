"""A quota as configured, and which calls it applies to. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import translate
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from wirekey.core.labels import OF_LABEL, UNVERIFIED
from wirekey.features.quotas.limit_names import TOTALS, is_money
from wirekey.features.quotas.periods import UTC_CALENDAR, Calendar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from wirekey.features.quotas.limit_names import LimitName
    from wirekey.features.quotas.periods import Period, Window

type Per = str
"""A key of `SUBJECT_FIELDS`, `all`, `run` (of quotas that runs make), or `label:NAME`."""

NANODOLLARS = 1_000_000_000
"""Amounts of money are whole billionths of a dollar, so that sums are exact."""
UNLIMITED = 2**52
"""The limit of a total that is only counted. The shared state holds at most 2**53."""
NOBODY = "_NONE"
"""The subject of calls without an agent, a role or a model."""
ALL = "_ALL"
"""The one subject of a quota per `all`."""
SUBJECT_FIELDS = {
    "agent": "agent_id",
    "role": "agent_role",
    "type": "agent_type",
    "model": "requested_model",
    "provider": "provider",
}
"""`per` → the field of the policy's input that names the subject."""
ALIASES = {"agent": "agent_id", "role": "agent_role", "type": "agent_type"}
"""Short names of fields in `match`."""
MATCHED = (
    *ALIASES,
    *("agent.id", "agent.role", "agent.type", "agent.permissions", "agent_id", "agent_role", "agent_type", "client"),
    *("provider", "backend", "operation", "kind", "method", "path", "mcp_server", "tool_name", "action", "target"),
    *("upstream",),
    *("requested_model", "model", "other_models", "stream", "message_count", "has_system", "has_tools", "tool_count"),
    *("tools", "max_tokens", "service_tier", "price_modifiers", "labels_invalid"),
)
"""The fields of the policy's input that `match` may name, and those below `GROUPS`."""
GROUPS = ("headers.", "labels.", "labels_unverified.")
"""In `match`, the name of a request header or a label follows it: `headers.user-agent`. Only what policies see."""


@dataclass(frozen=True, slots=True)
class MatchCondition:
    """A field of the policy's input, and the pattern that one of its values must match."""

    field: str
    pattern: re.Pattern[str]

    @classmethod
    def of(cls, field: str, globs: Sequence[str]) -> MatchCondition:
        """Return the condition for a field and the patterns of which one must match."""
        return cls(ALIASES.get(field, field), re.compile("|".join(map(translate, globs))))

    def holds(self, given: Mapping[str, Any]) -> bool:
        """Return whether a call satisfies the condition. A field that the call lacks never does."""
        return any(self.pattern.match(text) for text in texts_of(value_at(given, self.field)))


class PeriodLimit(NamedTuple):
    """The limit of a total in a period."""

    name: LimitName
    limit: int
    period: Period


class TotalLimit(NamedTuple):
    """The limit of a total in each period of a window."""

    name: LimitName
    limit: int
    window: Window


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SubjectLimits:
    """The limits of a subject. One of None does not exist. Money is in `NANODOLLARS`."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent: int | None = None
    usd_per_hour: int | None = None
    usd_per_day: int | None = None
    usd_per_week: int | None = None
    usd_per_month: int | None = None
    usd_lifetime: int | None = None
    tokens_per_hour: int | None = None
    tokens_per_day: int | None = None
    tokens_per_week: int | None = None
    tokens_per_month: int | None = None
    tokens_lifetime: int | None = None
    requests_per_hour: int | None = None
    requests_per_day: int | None = None
    requests_per_week: int | None = None
    requests_per_month: int | None = None
    requests_lifetime: int | None = None
    totals: tuple[TotalLimit, ...] = field(init=False, repr=False)
    """Those of totals."""

    def __post_init__(self) -> None:
        given = ((name, getattr(self, name), total.window) for name, total in TOTALS.items())
        totals = tuple(TotalLimit(name, limit, window) for name, limit, window in given if limit is not None)
        object.__setattr__(self, "totals", totals)

    @property
    def has_budget(self) -> bool:
        """Whether dollars are limited."""
        return any(is_money(name) for name, _, _ in self.totals)


NO_OVERRIDES: Mapping[str, SubjectLimits] = MappingProxyType({})


@dataclass(frozen=True, slots=True, eq=False)
class Quota(SubjectLimits):
    """One entry of the setting `quotas`. Its own limits are those of each subject without an override."""

    name: str
    per: Per
    conditions: tuple[MatchCondition, ...] = ()
    overrides: Mapping[str, SubjectLimits] = NO_OVERRIDES
    """All limits of the subjects that have others."""
    warn_at: tuple[float, ...] = (0.8,)
    """The shares of a total at which a warning is due, ascending."""
    calendar: Calendar = UTC_CALENDAR
    refuses_unknown_price: bool = True
    burst: float = 0.02
    """The share of a limit per minute that may be used at once."""
    reserves_expected: bool = False
    """Whether a call reserves the output that it is expected to have. Otherwise it reserves the largest possible."""
    ends: float | None = None
    """The moment from which it refuses all calls, in Unix seconds; None for never."""

    def limits_of(self, subject: str) -> SubjectLimits:
        """Return the limits of a subject, as configured."""
        return self.overrides.get(subject, self)

    def applies(self, given: Mapping[str, Any]) -> bool:
        """Return whether the quota applies to a call. `given`: the policy's input for the call."""
        return all(condition.holds(given) for condition in self.conditions)

    def subject(self, given: Mapping[str, Any]) -> str:
        """Return the agent, role, … whose use a call counts towards."""
        if self.per == "all":
            return ALL
        field = SUBJECT_FIELDS.get(self.per)
        found = given.get(field) if field else self.label_in(given)
        return NOBODY if found is None else str(found)

    def label_in(self, given: Mapping[str, Any]) -> str | None:
        """Return the label of a call that `per` names. One that clients send is never that of a verified one."""
        name = self.per.removeprefix(OF_LABEL)
        if (verified := given.get("labels")) and name in verified:
            return str(verified[name])
        found = (given.get("labels_unverified") or {}).get(name)
        return None if found is None else f"{found}{UNVERIFIED}"

    @property
    def title(self) -> str:
        """Its name in messages."""
        return f"quota {self.name}"

    def period_limits(self, limits: SubjectLimits, now: float) -> Iterator[PeriodLimit]:
        """Yield the limits of totals, each with its period of this moment (Unix seconds)."""
        for name, limit, window in limits.totals:
            yield PeriodLimit(name, limit, self.calendar.period(window, now))

    def burst_of(self, limit: int) -> int:
        """Return how much of a limit per minute may be used at once."""
        return max(1, round(limit * self.burst))


@dataclass(slots=True, eq=False)
class Applied:
    """A quota that applies to a call, and the subject whose use the call counts towards.

    It is made once for each subject, and keeps what is the same for all calls.
    """

    quota: Quota
    subject: str
    limits: SubjectLimits = field(init=False, repr=False)
    """The limits of the subject that are in force."""
    keys: dict[str, str] = field(default_factory=dict, repr=False)
    """The keys of its limits per minute and of its calls at the same time, by the name of the limit."""
    budget_keys: dict[str, tuple[str, str]] = field(default_factory=dict, repr=False)
    """By the name of the budget, the label of the present period and the key."""

    def __post_init__(self) -> None:
        self.limits = self.quota.limits_of(self.subject)

    def period_limits(self, now: float) -> Iterator[PeriodLimit]:
        """Yield the limits of its totals, each with its period of this moment (Unix seconds)."""
        return self.quota.period_limits(self.limits, now)

    @property
    def words(self) -> str:
        """The subject in words for a message, such as ` for the agent alice`. Empty for `all`, and for a run."""
        if self.quota.per in ("all", "run"):
            return ""
        per = self.quota.per.replace(OF_LABEL, "label ")
        if self.subject == NOBODY:
            return f" for calls without {'an' if per == 'agent' else 'a'} {per}"
        return f" for the {per} {self.subject}"

    def key(self, limit: str) -> str:
        """Return the key of a limit without a period in the shared state."""
        found = self.keys.get(limit)
        if found is None:
            found = self.keys[limit] = f"quota:{self.quota.name}:{limit}:{self.subject}"
        return found

    def budget_key(self, limit: str, label: str) -> str:
        """Return the key of a budget in the shared state. `label`: that of the period."""
        found = self.budget_keys.get(limit)
        if found is None or found[0] != label:
            found = self.budget_keys[limit] = label, f"quota:{self.quota.name}:{limit}:{label}:{self.subject}"
        return found[1]


def value_at(given: Mapping[str, Any], field: str) -> Any:
    """Return a field of the policy's input, such as `agent.role` or `headers.user-agent`; None if it is absent."""
    found = given.get(field)
    if found is None and "." in field:
        group, _, name = field.partition(".")
        inner = given.get(group)
        return inner.get(name) if isinstance(inner, dict) else None
    return found


def texts_of(value: Any) -> Iterator[str]:
    """Yield the texts that a pattern is compared with: the value, or the items of a list."""
    if isinstance(value, bool):
        yield "true" if value else "false"
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts_of(item)
    elif isinstance(value, str | int | float):
        yield str(value)
