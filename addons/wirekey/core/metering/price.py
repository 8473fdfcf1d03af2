"""The prices of a model."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PER = 1_000_000
price_lists_in_use: set[str] = set()
"""The names of the price lists that are loaded: those of the providers, which add them here."""


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens. A higher price holds for all tokens of a call whose input is above its threshold."""

    base: float
    tiers: tuple[tuple[int, float], ...] = ()
    """Thresholds in tokens and the price above them, highest first."""

    def of(self, tokens: int, input_tokens: int) -> float:
        """Return the price of some tokens in USD, in a call with so much input."""
        price = next((price for above, price in self.tiers if input_tokens > above), self.base)
        return tokens * price / PER

    def times(self, factor: float) -> Price:
        """Return this price multiplied."""
        return Price(self.base * factor, tuple((above, price * factor) for above, price in self.tiers))


@dataclass(frozen=True, slots=True)
class Prices:
    """The prices of one model; None for a kind of token that has none."""

    input: Price | None
    cached: Price | None
    cache_write: Price | None
    output: Price | None
    model: str = ""
    """The model's name on the list, which several names at the provider may share."""
    context: int | None = None
    """The most input tokens that the model accepts, if the list says so."""
    audio_input: Price | None = None
    audio_cached: Price | None = None
    audio_output: Price | None = None
    image_input: Price | None = None
    image_cached: Price | None = None
    image_output: Price | None = None
    video_input: Price | None = None
    video_output: Price | None = None
    long_cache_write: Price | None = None
    """The price of tokens that stay in the cache for an hour."""
    search_usd: float | None = None
    """The price of a web search, if the list has one for this model."""
    price_list: str = ""
    per_request: float = 0.0
    """US dollars for each request, beside its tokens."""
    factors: Mapping[str, float] = MappingProxyType({})
    """The operator's own factors, by the value of a modifier."""
    source: str = "list"
    """`list`, or the operator's own entry, such as `prices.models[0]`."""

    def times(self, factor: float) -> Prices:
        """Return these prices with those of tokens multiplied."""
        if factor == 1:
            return self
        changed = {name: price.times(factor) for name in OF_TOKENS if (price := getattr(self, name)) is not None}
        return replace(self, **changed)


OF_TOKENS = tuple(field.name for field in fields(Prices) if field.type == "Price | None")
