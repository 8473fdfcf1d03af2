"""Computes what a response costs, by the price list in the package genai-prices. Nothing is fetched."""

from __future__ import annotations

import difflib
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from wirekey.core.errors import UserError
from wirekey.core.metering.modifiers import factor_of, fees_of, merged
from wirekey.core.metering.own_prices import DEFAULT, default_prices, has_own_prices, own_prices
from wirekey.core.metering.price import Price, Prices, price_lists_in_use
from wirekey.core.operation import LONG_CACHE
from wirekey.core.package_imports import import_on_demand

import_on_demand("genai_prices")

from genai_prices.data_snapshot import DataSnapshot  # noqa: E402  # without the package's HTTP client
from genai_prices.types import TieredPrices  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from wirekey.core.operation import Facts, Usage
    from wirekey.providers.protocol import Provider

HOUR = 3600
LONG_WRITE = 2
"""How much more than input the tokens cost that stay in the cache for an hour, where the list has no price for them."""


def cost_usd(
    provider: Provider, model: str | None, usage: Usage, requested: Facts | None = None, region: str = ""
) -> float | None:
    """Return the cost in USD, or None if the price, or a count that has a price, is unknown.

    `model` is named as the provider names it, on Bedrock also by ARN. `usage` has all input in `input_tokens`.
    `requested`: the facts of the request, for what the response does not report: its tier of service, and tools with a
    fee. `region`: as in `current_prices`.
    """
    if not model or usage.input_tokens is None:
        return None
    listed = current_prices(provider, model, region)
    if listed is None or (usage.output_tokens is None and listed.output is not None):
        return None
    modifiers = merged(requested.modifiers if requested else (), usage.modifiers)
    factor = factor_of(listed.price_list, listed.model, modifiers, listed.factors)
    fees = fees_of(listed.price_list, usage.tool_uses, requested.paid_tools if requested else (), listed.search_usd)
    is_long = requested is not None and LONG_CACHE in requested.modifiers
    if usage.cache_write_tokens and usage.long_cache_write_tokens is None and is_long:
        usage = replace(usage, long_cache_write_tokens=usage.cache_write_tokens)
    tokens = None if factor is None else token_cost(listed, usage)
    if factor is None or fees is None or tokens is None:
        return None
    return round(tokens * factor + fees + listed.per_request, 12)


def token_cost(prices: Prices, usage: Usage) -> float | None:
    """Return the cost of tokens in USD, or None if a count has no price or the counts contradict each other."""
    assert usage.input_tokens is not None
    total_input, output = usage.input_tokens, usage.output_tokens or 0
    written, long_written = usage.cache_write_tokens or 0, usage.long_cache_write_tokens or 0
    # How much of the cached input was audio or an image is not known. Text is cached first, as it stands before them.
    cached = usage.cached_input_tokens or 0
    inputs = [each for each in modal_inputs(prices, usage) if each[0] is not None]
    text = total_input - sum(tokens for _, _, tokens in inputs)
    cached_text = min(cached, max(0, text))
    parts = [(prices.cached, cached_text), (prices.input, text - cached_text - written)]
    left = cached - cached_text
    for price, cached_price, tokens in inputs:
        taken = min(left, tokens)
        left -= taken
        parts += [(cached_price or price, taken), (price, tokens - taken)]
    outputs = [(price, tokens) for price, tokens in modal_outputs(prices, usage) if price is not None]
    parts += [(prices.output, output - sum(tokens for _, tokens in outputs)), *outputs]
    parts += [(prices.cache_write, written - long_written), (prices.long_cache_write, long_written)]
    cost = 0.0
    for price, tokens in parts:
        if not tokens:
            continue
        if tokens < 0 or price is None:
            return None
        cost += price.of(tokens, total_input)
    return None if left else cost


def modal_inputs(prices: Prices, usage: Usage) -> tuple[tuple[Price | None, Price | None, int], ...]:
    """Return price, price from the cache and number of the input tokens that are no text."""
    if not (usage.audio_input_tokens or usage.image_input_tokens or usage.video_input_tokens):
        return ()
    return (
        (prices.audio_input, prices.audio_cached, usage.audio_input_tokens or 0),
        (prices.image_input, prices.image_cached, usage.image_input_tokens or 0),
        (prices.video_input, None, usage.video_input_tokens or 0),
    )


def modal_outputs(prices: Prices, usage: Usage) -> tuple[tuple[Price | None, int], ...]:
    """Return price and number of the output tokens that are no text."""
    if not (usage.audio_output_tokens or usage.image_output_tokens or usage.video_output_tokens):
        return ()
    return (
        (prices.audio_output, usage.audio_output_tokens or 0),
        (prices.image_output, usage.image_output_tokens or 0),
        (prices.video_output, usage.video_output_tokens or 0),
    )


def current_prices(provider: Provider, model: str | None, region: str = "") -> Prices | None:
    """Return the prices of a model of a provider that hold now: the operator's own, those of the list, or the default.

    `region`: the provider's region or location that the call is sent to, "" if it has none.
    """
    if not model:
        return None
    hour = int(time.time()) // HOUR
    listed = prices_of(provider.prices.price_list, model, hour)
    own = own_prices(provider.name, model, region, hour) if has_own_prices() else None
    own = own or (default_prices() if listed is None else None)
    if own is None:
        return listed
    # The list also knows the name that several names share, the context window, and the price of a search.
    if listed is None:
        return replace(own, price_list=provider.prices.price_list)
    return replace(
        own,
        model=listed.model,
        context=listed.context,
        search_usd=listed.search_usd,
        price_list=provider.prices.price_list,
    )


def has_default_price(provider: Provider, model: str | None, region: str = "") -> bool:
    """Return whether a model has only the operator's default price."""
    if default_prices() is None:
        return False
    prices = current_prices(provider, model, region)
    return prices is not None and prices.source == DEFAULT


@lru_cache(maxsize=1024)
def prices_of(price_list: str, model: str, hour: int) -> Prices | None:
    """Find the prices that hold in this hour (since the epoch); None for a model that is not on the list.

    The search takes a tenth of a millisecond. It goes round the library's own cache, which has no bounds.
    """
    if model.startswith(("tunedModels/", "dynamic/")) or not price_list:
        return None
    snapshot = price_lists()
    listed = snapshot.find_provider(None, price_list, None)
    # Gemini's models/NAME, and Bedrock's arn:aws:bedrock:…:inference-profile/NAME
    found = listed.find_model(model, all_providers=snapshot.providers) or listed.find_model(
        model.rpartition("/")[2], all_providers=snapshot.providers
    )
    if found is None:
        return None
    prices = found.get_prices(datetime.fromtimestamp(hour * HOUR, UTC))
    if prices.input_mtok is None:
        return None
    input_price = price_of(prices.input_mtok)
    assert input_price
    written = price_of(prices.cache_write_mtok)
    searches = price_of(prices.web_searches_kcount)
    return Prices(
        input_price,
        price_of(prices.cache_read_mtok) or input_price,
        written or input_price,
        price_of(prices.output_mtok),
        found.id,
        found.context_window,
        price_of(prices.input_audio_mtok),
        price_of(prices.cache_audio_read_mtok) or price_of(prices.input_audio_mtok),
        price_of(prices.output_audio_mtok),
        price_of(prices.input_image_mtok),
        price_of(prices.cache_image_read_mtok),
        price_of(prices.output_image_mtok),
        price_of(prices.input_video_mtok),
        price_of(prices.output_video_mtok),
        price_of(prices.cache_write_1h_mtok) or (input_price.times(LONG_WRITE) if written else input_price),
        searches.base / 1000 if searches else None,
        price_list,
    )


def use_price_lists(named: Mapping[str, str]) -> None:
    """Load price lists, each with the setting that names it. Raises UserError if the package has no list of a name."""
    wanted = named.keys()
    if wanted <= price_lists_in_use:
        return
    from genai_prices import data

    known = {listed.id for listed in data.providers}
    if unknown := sorted(wanted - known):
        close = difflib.get_close_matches(unknown[0], known, 1)
        hint = f"Did you mean {close[0]}?" if close else f"There are: {', '.join(sorted(known))}"
        raise UserError(f"{named[unknown[0]]}: genai-prices has no price list {unknown[0]}. {hint}")
    price_lists_in_use.update(wanted)
    price_lists.cache_clear()
    prices_of.cache_clear()


@cache
def price_lists() -> DataSnapshot:
    """Return the price lists of the providers in use. The package's others are not kept in memory."""
    from genai_prices import data

    wanted = [listed for listed in data.providers if listed.id in price_lists_in_use]
    del sys.modules[data.__name__], sys.modules[data.__package__].data
    return DataSnapshot(providers=wanted, from_auto_update=False)


def price_of(listed: Decimal | TieredPrices | None) -> Price | None:
    """Return a price of the price list, or None if it is not listed."""
    if listed is None:
        return None
    if isinstance(listed, TieredPrices):
        tiers = ((tier.start, float(tier.price)) for tier in reversed(listed.tiers))
        return Price(float(listed.base), tuple(tiers))
    return Price(float(listed))
