"""The operator's own prices, which come before those of the price list."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING

from wirekey.core.metering.price import Price, Prices

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wirekey.config.prices import PriceConfig, TokenPrices

DEFAULT = "prices.default"


@dataclass(frozen=True, slots=True)
class OwnPrice:
    """The prices of some models. None as patterns: all providers, or all regions."""

    prices: Prices
    models: tuple[str, ...]
    providers: tuple[str, ...] | None = None
    regions: tuple[str, ...] | None = None
    begins: float = 0.0
    """Unix seconds."""

    def applies(self, provider: str, model: str, region: str, now: float) -> bool:
        """Return whether these prices count for a model at a provider, at a time."""
        return (
            now >= self.begins
            and any(fnmatchcase(model, pattern) for pattern in self.models)
            and (self.providers is None or any(fnmatchcase(provider, pattern) for pattern in self.providers))
            and (self.regions is None or any(fnmatchcase(region, pattern) for pattern in self.regions))
        )


@dataclass(frozen=True, slots=True)
class OwnPrices:
    """All prices of the operator. The first entry that applies counts."""

    entries: tuple[OwnPrice, ...] = ()
    default: Prices | None = None

    def find(self, provider: str, model: str, region: str, now: float) -> Prices | None:
        """Return the operator's prices of a model, without the default, or None."""
        return next((each.prices for each in self.entries if each.applies(provider, model, region, now)), None)


class InUse:
    """The prices of the configuration in force. A reload replaces them as a whole."""

    own = OwnPrices()


def use_own_prices(own: OwnPrices) -> None:
    """Use these prices from now on."""
    if own != InUse.own:
        InUse.own = own
        own_prices.cache_clear()


@lru_cache(maxsize=1024)
def own_prices(provider: str, model: str, region: str, hour: int) -> Prices | None:
    """Return the operator's prices that hold in this hour (since the epoch), without the default."""
    return InUse.own.find(provider, model, region, hour * 3600.0)


def default_prices() -> Prices | None:
    """Return the operator's prices of models that have no other price, or None."""
    return InUse.own.default


def has_own_prices() -> bool:
    """Return whether the operator has prices of models."""
    return bool(InUse.own.entries)


def read_own_prices(entries: Iterable[tuple[str, PriceConfig]], default: TokenPrices | None) -> OwnPrices:
    """Return the prices of a configuration. `entries`: each with the name of its setting."""
    return OwnPrices(
        tuple(
            OwnPrice(
                prices_of_entry(entry, place),
                entry.match,
                entry.provider,
                entry.region,
                beginning(entry.begins),
            )
            for place, entry in entries
        ),
        prices_of_entry(default, DEFAULT) if default else None,
    )


def prices_of_entry(entry: TokenPrices, place: str) -> Prices:
    """Return the prices of an entry. Tokens cost nothing if it has only a price of requests."""
    plain = price(entry.input) or Price(0.0)
    return Prices(
        input=plain,
        cached=price(entry.cached_input) or plain,
        cache_write=price(entry.cache_write) or plain,
        output=price(entry.output) or Price(0.0),
        audio_input=price(entry.audio_input),
        audio_cached=price(entry.audio_input),
        audio_output=price(entry.audio_output),
        long_cache_write=price(entry.cache_write_1h) or plain.times(2),
        per_request=entry.per_request or 0.0,
        factors=entry.factors,
        source=place,
    )


def beginning(day: str | None) -> float:
    """Return Unix seconds of the beginning of a day in UTC, or 0."""
    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() if day else 0.0


def price(amount: float | None) -> Price | None:
    """Return a price, or None if it is not set."""
    return None if amount is None else Price(amount)
