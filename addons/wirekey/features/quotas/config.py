"""The setting `quotas`: rate limits and budgets."""

from __future__ import annotations

import difflib
import re
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from wirekey.config.group import ConfigGroup
from wirekey.config.values import Count, Patterns, Reference, ServerURL, Text, ValueFormat, money
from wirekey.core.labels import NAME as LABEL_NAME
from wirekey.core.labels import NAME_RULE, OF_LABEL
from wirekey.features.quotas.definition import GROUPS, MATCHED, SUBJECT_FIELDS
from wirekey.features.quotas.limit_names import KINDS, LIMITS, name_of
from wirekey.features.quotas.periods import WINDOWS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.features.quotas.limit_names import Kind
    from wirekey.features.quotas.periods import Window

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def quota_name(value: str) -> str:
    """Check the name of a quota, which is part of messages, metrics and policies. Raises ValueError."""
    if not NAME.fullmatch(value):
        raise ValueError("must have at most 64 letters, digits, dots, underscores and hyphens")
    return value


def matched_fields(value: Any) -> Any:
    """Check the names of the fields in `match`. Raises ValueError."""
    for name in value if isinstance(value, dict) else ():
        if name not in MATCHED and not (isinstance(name, str) and name.startswith(GROUPS)):
            near = difflib.get_close_matches(str(name), MATCHED, 1)
            hint = f"Did you mean {near[0]}?" if near else "docs/reference/policy-input.md lists them."
            raise ValueError(f"{name!r} is not a field of the policy's input. {hint}")
    return value


def per_name(value: str) -> str:
    """Check whose calls a quota adds up. Raises ValueError."""
    if value in SUBJECT_FIELDS or value == "all":
        return value
    if not value.startswith(OF_LABEL):
        raise ValueError(f"must be {', '.join(SUBJECT_FIELDS)}, all or {OF_LABEL}NAME")
    if not LABEL_NAME.fullmatch(value.removeprefix(OF_LABEL)):
        raise ValueError(f"names a label that cannot exist. The name of a label has {NAME_RULE}")
    return value


def share(value: Any) -> Any:
    """Refuse what is not a number from 0 to 1. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ValueError("must be a share between 0 and 1, such as 0.8")
    return float(value)


def shares(value: Any) -> Any:
    """Return one share or a list of them as ascending shares. Raises ValueError."""
    return tuple(sorted({share(each) for each in (value if isinstance(value, list | tuple) else [value])}))


def time_zone(value: str) -> str:
    """Check the name of a time zone. Raises ValueError."""
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must be UTC, or the name of a time zone, such as Europe/Berlin") from None
    return value


Dollars = Annotated[float, BeforeValidator(money), Field(gt=0, le=1_000_000), ValueFormat("US dollars")]
Share = Annotated[float, BeforeValidator(share), ValueFormat("share from 0 to 1")]
Shares = Annotated[tuple[float, ...], BeforeValidator(shares), ValueFormat("share from 0 to 1, or a list of shares")]
Match = Annotated[
    dict[str, Patterns], BeforeValidator(matched_fields), ValueFormat("fields, each with a pattern or a list of them")
]


PerName = Annotated[
    str, AfterValidator(per_name), ValueFormat(" \\| ".join((*SUBJECT_FIELDS, "all", f"{OF_LABEL}NAME")))
]


NOUNS: dict[Kind, str] = {"usd": "US dollars", "tokens": "tokens, of input and output together,", "requests": "calls"}


def total(kind: Kind, window: Window, examples: list[float] | None = None) -> Any:
    """Return the setting of the limit of a total."""
    when = "in total, from the first call on" if window == "lifetime" else f"in a calendar {window}"
    priced = ", by list prices" if kind == "usd" else ""
    return Field(default=None, description=f"Most {NOUNS[kind]} {when}{priced}.", examples=examples)


class LimitSettings(ConfigGroup):
    """An entry of `overrides`: the limits of one subject."""

    requests_per_minute: Count | None = Field(default=None, description="Most calls in a minute.", examples=[600])
    tokens_per_minute: Count | None = Field(
        default=None, description="Most tokens in a minute, of input and output together.", examples=[200000]
    )
    concurrent: Count | None = Field(default=None, description="Most calls at the same time.", examples=[32])
    usd_per_hour: Dollars | None = total("usd", "hour")
    usd_per_day: Dollars | None = total("usd", "day", [50])
    usd_per_week: Dollars | None = total("usd", "week")
    usd_per_month: Dollars | None = total("usd", "month", [800])
    usd_lifetime: Dollars | None = total("usd", "lifetime")
    tokens_per_hour: Count | None = total("tokens", "hour")
    tokens_per_day: Count | None = total("tokens", "day")
    tokens_per_week: Count | None = total("tokens", "week")
    tokens_per_month: Count | None = total("tokens", "month")
    tokens_lifetime: Count | None = total("tokens", "lifetime")
    requests_per_hour: Count | None = total("requests", "hour")
    requests_per_day: Count | None = total("requests", "day")
    requests_per_week: Count | None = total("requests", "week")
    requests_per_month: Count | None = total("requests", "month")
    requests_lifetime: Count | None = total("requests", "lifetime")

    @property
    def set_limits(self) -> dict[str, float]:
        """The limits that are set, by name."""
        given = ((name, getattr(self, name)) for name in LIMITS)
        return {name: limit for name, limit in given if limit is not None}


class QuotaSubjectSettings(ConfigGroup):
    """The settings of a quota that say which calls are added up."""

    name: Annotated[Text, AfterValidator(quota_name)] = Field(
        description="Name of the quota, in messages, metrics and policies. The use so far is kept under this name."
    )
    per: PerName = Field(
        description="Whose calls are added up. all: those of everybody together. label:NAME: those with the same value "
        "of a label. A value that clients send in a header counts separately from the same verified one, and calls "
        "without the label count together."
    )
    match: Match = Field(
        default={},
        description="Only calls that match all these fields of the policy's input. Patterns have `*`, `?` and `[…]` "
        "and are case-sensitive. `agent`, `role` and `type` are short for `agent.id`, `agent.role` and `agent.type`.",
        examples=[{"role": "senior", "model": "gpt-5*"}],
    )

    @field_validator("match")
    @classmethod
    def check_patterns(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        """Refuse a field with an empty list, which no call matches. Raises ValueError."""
        if empty := [name for name, patterns in value.items() if not patterns]:
            raise ValueError(f"{empty[0]} has an empty list, which no call matches. Add a pattern or remove it")
        return value


class NotifyConfig(ConfigGroup):
    """The setting `notify` of a quota."""

    url: ServerURL = Field(
        description="Receiver of the notices: https, or http to this machine.",
        examples=["https://hooks.corp.example/wirekey"],
    )
    secret: Reference = Field(
        description="The secret that notices are signed with: base64 of 24 to 64 random bytes.",
        examples=["env:NOTICE_SECRET"],
    )


class QuotaConfig(LimitSettings, QuotaSubjectSettings):  # the settings of the last one come first
    """An entry of the setting `quotas`."""

    overrides: dict[Text, LimitSettings] = Field(
        default={},
        description="Other limits for some subjects, by the agent, the role or the value that `per` adds up. A limit "
        "that an entry does not set is that of the quota.",
        examples=[{"alice": {"usd_per_day": 80}}],
    )
    warn_at: Shares = Field(
        default=(0.8,),
        description="Shares of a total at which a warning is logged, once a period: 0.8 or [0.5, 0.8, 1].",
        examples=[0.8],
    )
    notify: NotifyConfig | None = Field(
        default=None,
        description="Receiver of a signed notice of each share in `warn_at`, and of 1. null: warnings are only logged.",
        examples=[{"url": "https://hooks.corp.example/wirekey", "secret": "env:NOTICE_SECRET"}],
    )
    timezone: Annotated[Text, AfterValidator(time_zone)] = Field(
        default="UTC",
        description="Time zone of days, of weeks, which begin on Monday, and of months. Hours are those of UTC.",
        examples=["Europe/Berlin"],
    )
    on_unknown_price: Literal["refuse", "allow"] = Field(
        default="refuse",
        description="Calls of models without a list price, if the quota has a budget. refuse: 403. allow: they count "
        "as free.",
    )
    reserve: Literal["worst", "expected"] = Field(
        default="worst",
        description="The amount that a call reserves of budgets before it is sent. worst: its largest possible cost. "
        "expected: its input, and as much output as nine of ten of the last calls of the same agent, model and "
        "operation had.",
    )
    burst: Share = Field(
        default=0.02,
        description="Share of a limit per minute that may be used at once. In no minute are more than the limit and "
        "this share of it used, and one call more.",
    )

    @model_validator(mode="after")
    def check_limits(self) -> Self:
        """Refuse a quota that limits nothing, and limits that others never allow. Raises ValueError."""
        if not self.set_limits and not self.overrides:
            raise ValueError(f"limits nothing. Add one of {', '.join(LIMITS)}")
        if self.overrides and self.per == "all":
            raise ValueError("has overrides, but adds up the calls of everybody together. Remove one of the two")
        for problem in ineffective(self.set_limits):
            raise ValueError(problem)
        for subject, limits in self.overrides.items():
            if not limits.set_limits:
                raise ValueError(f"overrides.{subject} limits nothing. Add a limit or remove it")
            for problem in ineffective(self.set_limits | limits.set_limits):
                raise ValueError(f"overrides.{subject}: {problem}")
        return self


def ineffective(limits: dict[str, float]) -> Iterator[str]:
    """Yield what is wrong with a limit of a period that a longer one never allows."""
    for kind in KINDS:
        for shorter, longer in combinations([name_of(kind, window) for window in WINDOWS], 2):
            if limits.get(shorter, 0) > limits.get(longer, float("inf")):
                yield f"{shorter} is larger than {longer}, so it has no effect. Correct one of the two"


class QuotasSetting(ConfigGroup):
    """The setting `quotas`."""

    quotas: tuple[QuotaConfig, ...] = Field(
        default=(),
        description="Rate limits and budgets. All that match a call apply to it, and the first that is exhausted "
        "refuses it.",
        examples=[
            [
                {"name": "per-agent", "per": "agent", "requests_per_minute": 600, "concurrent": 32},
                {"name": "seniors", "per": "agent", "match": {"role": "senior", "model": "gpt-5*"}, "usd_per_day": 50},
                {"name": "company", "per": "all", "usd_per_month": 20000},
            ]
        ],
    )

    @field_validator("quotas")
    @classmethod
    def check_quota_names(cls, value: tuple[QuotaConfig, ...]) -> tuple[QuotaConfig, ...]:
        """Refuse two quotas of the same name, which would share their use. Raises ValueError."""
        names = [quota.name for quota in value]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise ValueError(
                    f"quotas[{names.index(name)}] and quotas[{index}] have the same name. Each needs its own"
                )
        return value
