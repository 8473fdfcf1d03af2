"""Counts calls, tokens and costs by the labels that the operator lists, such as the team. No other label is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.audit.event import count, number
from wirekey.core.observing.conventions import OTHER
from wirekey.features.metrics.call_metrics import NOBODY
from wirekey.features.metrics.tallies import CounterFamily

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

    from wirekey.core.call import Call

MAX_VALUES = 100
"""Distinct values of one label that are counted by name: of verified ones, and of unverified ones, which clients can
invent."""


class LabelMetrics:
    """A call observer that counts by labels. `names` returns those that are listed at present."""

    def __init__(self, registry: CollectorRegistry, names: Callable[[], tuple[str, ...]]) -> None:
        self._names = names
        self._seen: dict[tuple[str, str], set[str]] = {}
        labels = ("label", "value", "verified")
        self.calls = CounterFamily(
            "wirekey_label_calls_total", "Calls that ended, by label.", (*labels, "outcome"), registry
        )
        self.tokens = CounterFamily(
            "wirekey_label_tokens_total", "Tokens, by label.", (*labels, "gen_ai_token_type"), registry
        )
        self.cost = CounterFamily(
            "wirekey_label_cost_usd_total", "List price of the calls in US dollars, by label.", labels, registry
        )

    def began(self, call: Call) -> None:
        """Do nothing: only calls that have ended are counted."""

    def ended(self, call: Call) -> None:
        """Count a call that ended, with its tokens and its cost, once for each listed label."""
        for name in self._names():
            self._count(call, self._series(call, name))

    def _count(self, call: Call, series: tuple[str, str, str]) -> None:
        self.calls.labels(*series, call.outcome.value if call.outcome else OTHER).value += 1
        if usage := call.usage:
            self.tokens.labels(*series, "input").value += count(usage.input_tokens) or 0
            self.tokens.labels(*series, "output").value += count(usage.output_tokens) or 0
        if cost := number(call.cost_usd):
            self.cost.labels(*series).value += max(0.0, cost)

    def _series(self, call: Call, name: str) -> tuple[str, str, str]:
        """Return the name of a label, its value or a word in place of it, and whether it is verified."""
        labels = call.labels
        verified = "false" if name in labels.unverified else "true"
        value = labels.verified.get(name) or labels.unverified.get(name)
        if value is None:
            return name, NOBODY, ""
        seen = self._seen.setdefault((name, verified), set())
        if value not in seen:
            if len(seen) >= MAX_VALUES:
                return name, OTHER, verified
            seen.add(value)
        return name, value, verified
