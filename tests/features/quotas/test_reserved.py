"""The dearest prices that a request allows."""

from __future__ import annotations

import pytest

from wirekey.config.prices import PriceConfig
from wirekey.core.metering.cost import current_prices
from wirekey.core.metering.own_prices import OwnPrices, read_own_prices, use_own_prices
from wirekey.core.operation import LONG_CACHE, Facts
from wirekey.features.quotas.reserved import reserved_prices
from wirekey.providers.registry import PROVIDERS

PRIORITY = ("service_tier", "priority")


@pytest.mark.parametrize(
    ("provider", "model", "modifier"),
    [
        ("openai", "gpt-5.3-codex", PRIORITY),
        ("openai", "gpt-5.5", ("service_tier", "scale")),
        ("openai", "gpt-5.5", ("service_tier", "a-new-one")),
        ("anthropic", "claude-haiku-4-5", ("speed", "fast")),
        ("anthropic", "claude-haiku-4-5", ("inference_geo", "us")),
        ("bedrock", "amazon.nova-pro-v1:0", ("service_tier", "reserved")),
        ("bedrock", "amazon.nova-micro-v1:0", ("latency", "optimized")),
    ],
)
def test_no_price_is_reserved_for_a_modifier_without_one(provider, model, modifier):
    assert reserved_prices(current_prices(PROVIDERS[provider], model), Facts(modifiers=(modifier,))) is None


def test_the_dearest_of_the_operators_own_factors_is_reserved():
    entry = PriceConfig(match="m", input=1, output=1, factors={"priority": 3})
    use_own_prices(read_own_prices([("prices.models[0]", entry)], None))
    try:
        assert reserved_prices(current_prices(PROVIDERS["openai"], "m"), Facts()).input.base == pytest.approx(3)
    finally:
        use_own_prices(OwnPrices())


def test_the_longest_life_of_a_cache_is_reserved_in_the_dearest_place():
    prices = current_prices(PROVIDERS["anthropic"], "claude-opus-5")
    reserved = reserved_prices(prices, Facts(modifiers=(LONG_CACHE,)))
    assert reserved.cache_write.base == pytest.approx(10 * 1.1)


def test_no_price_is_reserved_for_a_tool_without_one():
    unknown = Facts(paid_tools=(("teleport", 1),))
    assert reserved_prices(current_prices(PROVIDERS["openai"], "gpt-5.5"), unknown) is None


def test_a_request_reserves_the_fees_of_the_tools_that_it_offers():
    prices = current_prices(PROVIDERS["anthropic"], "claude-opus-5")
    assert reserved_prices(prices, Facts(paid_tools=(("web_search", 4),))).per_request == pytest.approx(0.04)
    assert reserved_prices(prices, Facts(paid_tools=(("web_search", None),))).per_request == pytest.approx(0.5)
