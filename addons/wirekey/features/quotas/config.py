"""The setting `quotas`: rate limits and budgets."""

from __future__ import annotations

import difflib
import re
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from wirekey.config.group import ConfigGroup
from wirekey.config.values import Count, Patterns, Text, ValueFormat, money
from wirekey.core.labels import NAME as LABEL_NAME
from wirekey.core.labels import NAME_RULE
from wirekey.features.quotas.definition import GROUPS, LABEL, MATCHED, SUBJECT_FIELDS

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
LIMITS = ("requests_per_minute", "tokens_per_minute", "concurrent", "usd_per_day", "usd_per_month")


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
    if not value.startswith(LABEL):
        raise ValueError(f"must be {', '.join(SUBJECT_FIELDS)}, all or {LABEL}NAME")
    if not LABEL_NAME.fullmatch(value.removeprefix(LABEL)):
        raise ValueError(f"names a label that cannot exist. The name of a label has {NAME_RULE}")
    return value


def share(value: Any) -> Any:
    """Refuse what is not a number from 0 to 1. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ValueError("must be a share between 0 and 1, such as 0.8")
    return float(value)


def time_zone(value: str) -> str:
    """Check the name of a time zone. Raises ValueError."""
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must be UTC, or the name of a time zone, such as Europe/Berlin") from None
    return value


Dollars = Annotated[float, BeforeValidator(money), Field(gt=0, le=1_000_000), ValueFormat("US dollars")]
Share = Annotated[float, BeforeValidator(share), ValueFormat("share from 0 to 1")]
Match = Annotated[
    dict[str, Patterns], BeforeValidator(matched_fields), ValueFormat("fields, each with a pattern or a list of them")
]


PerName = Annotated[str, AfterValidator(per_name), ValueFormat(" \\| ".join((*SUBJECT_FIELDS, "all", f"{LABEL}NAME")))]


class QuotaConfig(ConfigGroup):
    """An entry of the setting `quotas`."""

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
    requests_per_minute: Count | None = Field(default=None, description="Most calls in a minute.", examples=[600])
    tokens_per_minute: Count | None = Field(
        default=None, description="Most tokens in a minute, of input and output together.", examples=[200000]
    )
    concurrent: Count | None = Field(default=None, description="Most calls at the same time.", examples=[32])
    usd_per_day: Dollars | None = Field(
        default=None, description="Most US dollars in a calendar day, by list prices.", examples=[50]
    )
    usd_per_month: Dollars | None = Field(
        default=None, description="Most US dollars in a calendar month, by list prices.", examples=[800]
    )
    warn_at: Share = Field(default=0.8, description="Share of a budget at which a warning is logged, once a period.")
    timezone: Annotated[Text, AfterValidator(time_zone)] = Field(
        default="UTC", description="Time zone of the days and months.", examples=["Europe/Berlin"]
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

    @field_validator("match")
    @classmethod
    def check_patterns(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        """Refuse a field with an empty list, which no call matches. Raises ValueError."""
        if empty := [name for name, patterns in value.items() if not patterns]:
            raise ValueError(f"{empty[0]} has an empty list, which no call matches. Add a pattern or remove it")
        return value

    @model_validator(mode="after")
    def check_limits(self) -> Self:
        """Refuse a quota that limits nothing, and a day's budget that the month's never allows. Raises ValueError."""
        if not any(getattr(self, name) is not None for name in LIMITS):
            raise ValueError(f"limits nothing. Add one of {', '.join(LIMITS)}")
        if self.usd_per_day is not None and self.usd_per_month is not None and self.usd_per_day > self.usd_per_month:
            raise ValueError("usd_per_day is larger than usd_per_month, so it has no effect. Correct one of the two")
        return self


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
