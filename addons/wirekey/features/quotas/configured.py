"""Makes quotas of the setting `quotas`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC
from types import MappingProxyType
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from wirekey.config.problems import ConfigError
from wirekey.features.quotas.config import QuotasSetting
from wirekey.features.quotas.definition import NANODOLLARS, MatchCondition, Quota, SubjectLimits
from wirekey.features.quotas.limit_names import LIMITS, is_money
from wirekey.features.quotas.notice import key_of
from wirekey.features.quotas.periods import UTC_CALENDAR, Calendar
from wirekey.features.quotas.webhook import Webhook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.config import Config
    from wirekey.features.quotas.config import LimitSettings, QuotaConfig


@dataclass(frozen=True, slots=True)
class ConfiguredQuotas:
    """The quotas of a configuration, in its order."""

    quotas: tuple[Quota, ...] = ()
    webhooks: Mapping[str, Webhook] = field(default=MappingProxyType({}))
    """The receivers of notices, by the name of their quota."""


NO_QUOTAS = ConfiguredQuotas()


def configured_quotas(config: Config) -> ConfiguredQuotas | None:
    """Return the quotas of a configuration, or None if it has none. Raises ConfigError."""
    return ConfiguredQuotas(quotas, webhooks_of(config)) if (quotas := quotas_of(config)) else None


def webhooks_of(config: Config) -> dict[str, Webhook]:
    """Return the receivers of notices, by the name of their quota. Raises ConfigError."""
    found = {}
    for index, entry in enumerate(config.part(QuotasSetting).quotas):
        if entry.notify is None:
            continue
        setting = f"quotas[{index}].notify.secret"
        secret = config.secret_of(entry.notify.secret, setting)
        try:
            key_of(secret)
        except ValueError as error:
            raise ConfigError([config.problem(setting, str(error))]) from None
        found[entry.name] = Webhook(entry.notify.url, secret)
    return found


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
        warn_at=tuple(sorted({*entry.warn_at, 1.0})) if entry.notify else entry.warn_at,
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
