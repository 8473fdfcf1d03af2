"""Makes quotas of the setting `quotas`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from wirekey.features.quotas.config import QuotasSetting
from wirekey.features.quotas.definition import NANODOLLARS, MatchCondition, Quota, SubjectLimits
from wirekey.features.quotas.limit_names import LIMITS, is_money
from wirekey.features.quotas.periods import UTC_CALENDAR, Calendar

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.features.quotas.config import LimitSettings, QuotaConfig


@dataclass(frozen=True, slots=True)
class ConfiguredQuotas:
    """The quotas of a configuration, in its order."""

    quotas: tuple[Quota, ...] = ()


NO_QUOTAS = ConfiguredQuotas()


def configured_quotas(config: Config) -> ConfiguredQuotas | None:
    """Return the quotas of a configuration, or None if it has none."""
    return ConfiguredQuotas(quotas) if (quotas := quotas_of(config)) else None


def quotas_of(config: Config) -> tuple[Quota, ...]:
    """Return the quotas of a configuration, in its order."""
    return tuple(map(quota_of, config.part(QuotasSetting).quotas))


def quota_of(entry: QuotaConfig) -> Quota:
    """Return the quota of one entry of the setting."""
    zone = UTC if entry.timezone == "UTC" else ZoneInfo(entry.timezone)
    usual = limits_in(entry)
    return Quota(
        entry.name,
        entry.per,
        tuple(MatchCondition.of(field, patterns) for field, patterns in entry.match.items()),
        overrides={subject: SubjectLimits(**usual | limits_in(each)) for subject, each in entry.overrides.items()},
        warn_at=entry.warn_at,
        calendar=UTC_CALENDAR if zone is UTC else Calendar(zone, entry.timezone),
        refuses_unknown_price=entry.on_unknown_price == "refuse",
        burst=entry.burst,
        reserves_expected=entry.reserve == "expected",
        **usual,
    )


def limits_in(settings: LimitSettings) -> dict[str, int]:
    """Return the limits that are set, by name. Money is in billionths of a dollar."""
    given = ((name, getattr(settings, name)) for name in LIMITS)
    return {name: round(limit * NANODOLLARS) if is_money(name) else limit for name, limit in given if limit is not None}
