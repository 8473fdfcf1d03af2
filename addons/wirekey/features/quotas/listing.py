"""The limits of quotas as commands show them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.features.quotas.definition import NANODOLLARS
from wirekey.features.quotas.limit_names import LIMITS, is_money

if TYPE_CHECKING:
    from wirekey.features.quotas.definition import Quota, SubjectLimits


def shown_limits(limits: SubjectLimits) -> dict[str, float]:
    """Return the limits that are set, by name, money in dollars."""
    given = ((name, getattr(limits, name)) for name in LIMITS)
    return {name: limit / NANODOLLARS if is_money(name) else limit for name, limit in given if limit is not None}


def shown_overrides(quota: Quota) -> dict[str, dict[str, float]]:
    """Return the limits of the subjects of a quota that have others."""
    return {subject: shown_limits(limits) for subject, limits in quota.overrides.items()}


def in_words(limits: SubjectLimits) -> str:
    """Return limits as the text of a cell."""
    given = shown_limits(limits).items()
    return ", ".join(f"{name} {limit:,.2f}".removesuffix(".00") for name, limit in given) or "-"
