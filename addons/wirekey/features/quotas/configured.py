"""Makes quotas of the setting `quotas`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from wirekey.features.quotas.config import QuotasSetting
from wirekey.features.quotas.definition import NANODOLLARS, MatchCondition, Quota
from wirekey.features.quotas.periods import UTC_CALENDAR, Calendar

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.features.quotas.config import QuotaConfig


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
    return Quota(
        entry.name,
        entry.per,
        tuple(MatchCondition.of(field, patterns) for field, patterns in entry.match.items()),
        entry.requests_per_minute,
        entry.tokens_per_minute,
        entry.concurrent,
        in_nanodollars(entry.usd_per_day),
        in_nanodollars(entry.usd_per_month),
        entry.warn_at,
        UTC_CALENDAR if zone is UTC else Calendar(zone, entry.timezone),
        entry.on_unknown_price == "refuse",
        entry.burst,
        entry.reserve == "expected",
    )


def in_nanodollars(dollars: float | None) -> int | None:
    """Return an amount in billionths of a dollar."""
    return None if dollars is None else round(dollars * NANODOLLARS)
