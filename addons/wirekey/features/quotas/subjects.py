"""Finds the quotas that apply to a call, and whose use the call counts towards in each."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from wirekey.core.labels import UNVERIFIED
from wirekey.core.metering.cost import current_prices
from wirekey.features.quotas.definition import NOBODY, Applied, Quota
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from wirekey.features.quotas.definition import SubjectLimits

MOST_APPLIED = 10_000
"""Subjects of quotas whose keys are remembered."""
MOST_UNPRICED = 256
"""Models without a list price that are counted by name. Clients choose these names."""
FORGOTTEN_AFTER = 86400.0
"""Seconds after which the labels that clients have sent are forgotten: sessions and traces are new all the time."""
OTHER = "_OTHER"


class QuotaSubjects:
    """The subjects of the quotas of one process. It remembers a limited number, as clients choose some of the names."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._applied: dict[tuple[Quota, str], Applied] = {}
        self._limits: Callable[[Quota, str], SubjectLimits] = Quota.limits_of
        self._models: set[str] = set()
        """Models without a list price that have a budget or a limit of their own."""
        self._unverified: set[str] = set()
        """Labels that clients have sent since `_unverified_since`. Each has a budget or a limit of its own."""
        self._unverified_since = clock()

    def applied(self, quotas: Iterable[Quota], given: Mapping[str, Any]) -> tuple[Applied, ...]:
        """Return the quotas that apply to a call, in their order. `given`: the policy's input for the call."""
        found = []
        for quota in quotas:
            if quota.conditions and not quota.applies(given):
                continue
            key = quota, self._subject(quota, given)
            applied = self._applied.get(key)
            if applied is None:
                if len(self._applied) >= MOST_APPLIED:
                    self._applied.clear()
                applied = self._applied[key] = Applied(*key)
                applied.limits = self._limits(*key)
            found.append(applied)
        return tuple(found)

    def use(self, limits: Callable[[Quota, str], SubjectLimits]) -> None:
        """Use the limits that a function returns for a subject of a quota, from now on. Call it when they change."""
        self._limits = limits
        for key, applied in self._applied.items():
            applied.limits = limits(*key)

    def _subject(self, quota: Quota, given: Mapping[str, Any]) -> str:
        """Return whose use a call counts towards. The names that clients choose are limited."""
        subject = quota.subject(given)
        if subject.endswith(UNVERIFIED):
            if (now := self._clock()) - self._unverified_since > FORGOTTEN_AFTER:
                self._unverified.clear()
                self._unverified_since = now
            if subject not in self._unverified and len(self._unverified) >= MOST_APPLIED:
                return OTHER
            self._unverified.add(subject)
            return subject
        if quota.per != "model" or subject in self._models or subject == NOBODY:
            return subject
        provider = PROVIDERS.get(given.get("provider", ""))
        prices = current_prices(provider, subject) if provider else None
        if prices and prices.model:
            return prices.model
        if len(self._models) >= MOST_UNPRICED:
            return OTHER
        self._models.add(subject)
        return subject
