"""A cost is the sum of tokens times prices: for each kind of token, model, tier and long context, computed exactly."""

from __future__ import annotations

import os
from collections import Counter
from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.metering.exact_bill import (
    MILLION,
    OUTPUTS,
    Bill,
    dollars,
    line_price,
    listed_models,
    modifiers_of,
    possible_lines,
    thresholds,
    with_cached_kinds,
)

from wirekey.config.prices import PriceConfig
from wirekey.core.metering import cost
from wirekey.core.metering.cost import cost_usd
from wirekey.core.metering.own_prices import read_own_prices, use_own_prices
from wirekey.core.operation import Usage
from wirekey.providers.registry import PROVIDERS

BILLS = int(os.environ.get("WIREKEY_BILLS", "300"))
"""Generated bills for each price list."""
MOMENT = 1_764_072_000
"""A fixed hour: a list may have other prices at another time."""
LISTS = {provider.prices.price_list: provider for provider in PROVIDERS.values() if provider.prices.price_list}
CLOSE = Fraction(1, 10**12)
"""US dollars: a cost is rounded to twelve decimals. Relative, it is what sixteen digits of a float leave after sums."""
TOKENS = st.one_of(st.just(0), st.integers(1, 300_000), st.integers(1, 50))


@pytest.fixture
def fixed_time(monkeypatch):
    monkeypatch.setattr(cost.time, "time", lambda: MOMENT)


def is_exact(found: float | None, expected: Fraction) -> bool:
    return found is not None and abs(Fraction(found) - expected) <= CLOSE * (1 + expected)


def models_of(price_list: str) -> list[tuple[str, object]]:
    return list(listed_models(price_list, datetime.fromtimestamp(MOMENT, UTC)))


@pytest.mark.parametrize("price_list", LISTS)
def test_a_generated_bill_is_what_the_list_says(price_list, fixed_time, record_property):
    models, counted, fields = models_of(price_list), Counter(), Counter()
    tiered = [(model, prices) for model, prices in models if thresholds(prices)]
    parts = [(models, False), (tiered, True)] if tiered else [(models, False)]

    @settings(max_examples=BILLS // len(parts))
    @given(data=st.data())
    def check(data, among, is_long):
        model, prices = data.draw(st.sampled_from(among))
        bill = drawn_bill(data, price_list, model, prices, is_long=is_long)
        usage = bill.usage(reasoning=data.draw(st.integers(0, bill.of(*OUTPUTS))))
        if prices.output_mtok is None:
            usage.output_tokens = None
        expected = dollars(bill, prices, price_list, model)
        assert is_exact(cost_usd(LISTS[price_list], model, usage), expected), (model, bill, float(expected))
        counted["bills"] += 1
        fields.update(name for name, tokens in bill.lines.items() if tokens)
        fields["modifier"] += bill.modifier is not None
        fields["long"] += any(bill.input > above for above in thresholds(prices))

    for among, is_long in parts:
        check(among=among, is_long=is_long)
    record_property("generated bills", counted["bills"])
    assert {"text", "cached", "written", "written_1h", "output"} <= {name for name, times in fields.items() if times}
    assert fields["modifier"] or not any(modifiers_of(price_list, model) for model, _ in models)
    assert fields["long"] or not tiered


def drawn_bill(data, price_list: str, model: str, prices, *, is_long: bool) -> Bill:
    """Draw a bill of a model. Some are just at a threshold of long context. With `is_long`, it is above one."""
    lines = {name: data.draw(TOKENS) for name in possible_lines(prices)}
    possible = modifiers_of(price_list, model)
    bill = Bill(lines, data.draw(st.sampled_from([None, *possible])) if possible else None)
    if data.draw(st.booleans()):
        bill = with_cached_kinds(bill, prices, {kind: data.draw(TOKENS) for kind in ("audio", "image")})
    above = thresholds(prices)
    if is_long or (above and data.draw(st.booleans())):
        aimed = data.draw(st.sampled_from(above)) + (1 if is_long else data.draw(st.sampled_from([0, 1])))
        missing = aimed - bill.input
        grown = "text" if "text" in bill.lines else "cached"
        if bill.lines.get(grown, 0) + missing >= 0:
            bill = Bill({**bill.lines, grown: bill.lines.get(grown, 0) + missing}, bill.modifier)
    return bill


@pytest.mark.parametrize("price_list", LISTS)
def test_each_model_of_a_list_costs_what_it_says_below_and_above_each_threshold(
    price_list, fixed_time, record_property
):
    count = 0
    for model, prices in models_of(price_list):
        for total in (1, MILLION, *(above + more for above in thresholds(prices) for more in (0, 1))):
            for line in possible_lines(prices):
                lines = {line: total} if line not in OUTPUTS else {"text": total, line: 1000}
                bill = Bill(lines)
                usage = bill.usage(0)
                if prices.output_mtok is None:
                    usage.output_tokens = None
                expected = dollars(bill, prices, price_list, model)
                assert is_exact(cost_usd(LISTS[price_list], model, usage), expected), (model, bill)
                count += 1
    record_property("generated bills", count)
    assert count > 0


AMOUNTS = st.one_of(st.just(0.0), st.integers(1, 10**7).map(lambda number: number / 10**5))
OWN = {
    "text": "input",
    "cached": "cached_input",
    "written": "cache_write",
    "written_1h": "cache_write_1h",
    "audio": "audio_input",
    "output": "output",
    "audio_output": "audio_output",
}
"""Line of a bill → the setting of its price."""


@settings(max_examples=BILLS)
@given(
    st.fixed_dictionaries(dict.fromkeys(OWN, AMOUNTS)),
    st.fixed_dictionaries(dict.fromkeys(OWN, TOKENS)),
    AMOUNTS,
    st.integers(1, 40).map(lambda number: number / 8),
)
def test_own_prices_are_charged_exactly(prices, lines, per_request, tier):
    settings_of = {OWN[line]: price for line, price in prices.items()}
    entry = PriceConfig(match="m", per_request=per_request, factors={"tier": tier}, **settings_of)
    use_own_prices(read_own_prices([("prices.models[0]", entry)], None))
    try:
        usage: Usage = Bill(lines, ("service_tier", "tier")).usage(0)
        expected = sum((Fraction(price) * lines[line] for line, price in prices.items()), Fraction())
        expected = expected / MILLION * Fraction(tier) + Fraction(per_request)
        assert is_exact(cost_usd(PROVIDERS["openai"], "m", usage), expected)
    finally:
        use_own_prices(read_own_prices([], None))


def test_a_price_changes_only_above_its_threshold():
    """The computation of this file itself, with a known price."""
    (prices,) = [prices for name, prices in models_of("google") if name == "gemini-2.5-pro"]
    assert [line_price("text", prices, total) for total in (200_000, 200_001)] == [Fraction("1.25"), Fraction("2.5")]
