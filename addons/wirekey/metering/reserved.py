"""The prices by which a request is reserved in budgets: the dearest that it allows. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wirekey.metering.modifiers import largest_factor, largest_fees
from wirekey.operation import LONG_CACHE

if TYPE_CHECKING:
    from wirekey.metering.cost import Prices
    from wirekey.operation import Facts


def reserved_prices(prices: Prices | None, facts: Facts | None) -> Prices | None:
    """Return the dearest prices that a request allows, or None if one of them is unknown.

    `prices`: those of the model. Fees of tools are in `per_request`. Tokens that are written to a cache have the price
    of the longest life that the request asks for.
    """
    if prices is None or facts is None:
        return prices
    factor = largest_factor(prices.price_list, prices.model, facts.modifiers, prices.factors)
    fees = largest_fees(prices.price_list, facts.paid_tools, prices.search_usd)
    if factor is None or fees is None:
        return None
    if LONG_CACHE in facts.modifiers:
        prices = replace(prices, cache_write=prices.long_cache_write)
    return replace(prices.times(factor), per_request=prices.per_request + fees)
