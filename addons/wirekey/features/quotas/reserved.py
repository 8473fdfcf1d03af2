"""The prices by which a request is reserved in budgets: the dearest that it allows. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wirekey.core.metering.modifiers import NO_DEFAULTS, largest_factor, largest_fees, one_factor
from wirekey.core.operation import LONG_CACHE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from wirekey.core.metering.price import Prices
    from wirekey.core.operation import Facts

TIER = "service_tier"


def reserved_prices(
    prices: Prices | None, facts: Facts | None, defaults: Mapping[str, Collection[str]] = NO_DEFAULTS
) -> Prices | None:
    """Return the dearest prices that a request allows, or None if one of them is unknown.

    `prices`: those of the model. Fees of tools are in `per_request`. Tokens that are written to a cache have the price
    of the longest life that the request asks for. `defaults`: modifier → the defaults that the account
    is known to have.
    """
    if prices is None or facts is None:
        return prices
    factor = largest_factor(prices.price_list, prices.model, facts.modifiers, prices.factors, defaults)
    fees = largest_fees(prices.price_list, facts.paid_tools, prices.search_usd)
    if factor is None or fees is None:
        return None
    outputs = (prices.output, prices.audio_output, prices.image_output, prices.video_output)
    dearest = max((price for price in outputs if price), key=lambda price: price.base, default=None)
    prices = replace(prices, output=dearest)
    if LONG_CACHE in facts.modifiers:
        prices = replace(prices, cache_write=prices.long_cache_write)
    return replace(prices.times(factor), per_request=prices.per_request + fees)


def carried_facts(facts: Facts | None, prices: Prices | None) -> Facts | None:
    """Return the facts of a request as its translation carries them: a tier that the upstream has, and no own tools.

    `prices`: those of the model at the upstream.
    """
    if facts is None or prices is None:
        return facts
    carried = tuple(
        (name, value)
        for name, value in facts.modifiers
        if name == TIER and one_factor(prices.price_list, prices.model, name, value, prices.factors) is not None
    )
    long_lived = (LONG_CACHE,) if LONG_CACHE in facts.modifiers else ()
    return replace(facts, modifiers=(*carried, *long_lived), paid_tools=())
