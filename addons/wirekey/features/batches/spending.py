"""Adds up what the requests of a batch have used, and what they cost at the prices of batches. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from wirekey.core.metering.cost import cost_usd
from wirekey.core.operation import Usage, with_modifier
from wirekey.providers.batches import BATCH_TIER
from wirekey.providers.places import place_of
from wirekey.providers.registry import PROVIDERS

COUNTS = (
    *("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens", "cache_write_tokens"),
    *("audio_input_tokens", "audio_output_tokens", "image_input_tokens", "image_output_tokens"),
    *("video_input_tokens", "video_output_tokens", "long_cache_write_tokens"),
)


@dataclass(slots=True)
class Spending:
    """The use of the requests of one batch. Each is priced by itself, as its size may decide the price."""

    provider: str
    """The provider that has the batch."""
    upstream: str | None = None
    """The host that has it: prices may depend on the place."""
    made_for: str | None = None
    """The model that the batch was made for, if that is known."""
    usage: Usage = field(default_factory=Usage)
    requests: int = 0
    """Those that are billed."""
    known_cost: float = 0.0
    """The cost of those whose cost is known."""
    unpriced: int = 0
    """The number of the others."""

    @property
    def cost(self) -> float | None:
        """The cost in US dollars; None if that of a request is unknown."""
        return None if self.unpriced else round(self.known_cost, 12)

    @property
    def model(self) -> str | None:
        """The model that the results name, or else the one that the batch was made for."""
        return self.usage.model or self.made_for

    @property
    def tokens(self) -> int:
        """All tokens."""
        return (self.usage.input_tokens or 0) + (self.usage.output_tokens or 0)

    def add(self, usage: Usage) -> None:
        """Add one request."""
        usage = self.with_all_input(usage)
        self._count(usage, 1, self.cost_of(usage))

    def add_sum(self, usage: Usage, requests: int) -> None:
        """Add many requests of which only the sum is known. They are priced as if all had the same size."""
        usage, requests = self.with_all_input(usage), max(1, requests)
        counts = {name: getattr(usage, name) for name in COUNTS}
        mean = replace(usage, **{name: count / requests for name, count in counts.items() if count is not None})
        cost = self.cost_of(mean)
        self._count(usage, requests, None if cost is None else cost * requests)

    def add_unknown(self, requests: int = 1) -> None:
        """Add requests whose results could not be read."""
        self._count(Usage(), requests, None)

    def _count(self, usage: Usage, requests: int, cost: float | None) -> None:
        self.usage = replace(self.usage.plus(usage), finish_reason=None)
        self.requests += requests
        self.known_cost += cost or 0.0
        self.unpriced += requests if cost is None else 0

    def with_all_input(self, usage: Usage) -> Usage:
        """Return the usage of a request with all input in `input_tokens`."""
        provider = PROVIDERS[self.provider]
        api = provider.batches
        apart = api is not None and provider.prices.counts_cached_apart(api.request)
        return usage.with_cached_input() if apart else usage

    def cost_of(self, usage: Usage) -> float | None:
        """Return the cost of a request in US dollars, at the batch price of its model, or at its list price.

        The list price is for models without a known batch price: rather too much than nothing.
        """
        provider = PROVIDERS[self.provider]
        place = place_of(provider, self.upstream)
        batched = replace(usage, modifiers=with_modifier(usage.modifiers, *BATCH_TIER))
        plain = replace(usage, modifiers=tuple(each for each in usage.modifiers if each[0] != BATCH_TIER[0]))
        models = (usage.model, self.made_for)
        costs = (cost_usd(provider, model, each, None, place) for each in (batched, plain) for model in models)
        return next((cost for cost in costs if cost is not None), None)
