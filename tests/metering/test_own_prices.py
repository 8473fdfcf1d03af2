"""The operator's own prices: which entry counts, and what a call costs by it."""

import pytest

from wirekey.config.prices import PriceConfig, TokenPrices
from wirekey.core.metering import cost, own_prices
from wirekey.core.metering.cost import cost_usd, current_prices, has_default_price
from wirekey.core.metering.own_prices import OwnPrices, read_own_prices, use_own_prices
from wirekey.core.operation import Facts, Usage
from wirekey.providers.registry import PROVIDERS

OPENAI, BEDROCK = PROVIDERS["openai"], PROVIDERS["bedrock"]
MILLION = Usage(input_tokens=1_000_000, output_tokens=1_000_000)


@pytest.fixture
def use():
    def put(*entries, default=None):
        read = [(f"prices.models[{place}]", PriceConfig(**entry)) for place, entry in enumerate(entries)]
        use_own_prices(read_own_prices(read, TokenPrices(**default) if default else None))

    yield put
    use_own_prices(OwnPrices())


@pytest.mark.parametrize(
    ("entry", "provider", "model_in_region", "dollars"),
    [
        ({"match": "gpt-7*"}, OPENAI, ("gpt-7-mini", ""), 3),
        ({"match": ["o9", "gpt-7"]}, OPENAI, ("gpt-7", ""), 3),
        ({"match": "gpt-5.1"}, OPENAI, ("gpt-5.1", ""), 3),
        ({"match": "*", "provider": "anthropic"}, OPENAI, ("gpt-5.1", ""), 11.25),
        ({"match": "*", "region": "eu-*"}, BEDROCK, ("amazon.nova-pro-v1:0", "eu-west-1"), 3),
        ({"match": "*", "region": "eu-*"}, BEDROCK, ("amazon.nova-pro-v1:0", "us-east-1"), 4),
        ({"match": "*", "region": "eu-*"}, BEDROCK, ("amazon.nova-pro-v1:0", ""), 4),
        ({"match": "gpt-5.1", "from": "2999-01-01"}, OPENAI, ("gpt-5.1", ""), 11.25),
        ({"match": "gpt-5.1", "from": "2020-01-01"}, OPENAI, ("gpt-5.1", ""), 3),
    ],
)
def test_an_entry_counts_for_its_models_providers_regions_and_days(use, entry, provider, model_in_region, dollars):
    model, region = model_in_region
    use({**entry, "input": 1, "output": 2})
    assert cost_usd(provider, model, MILLION, region=region) == pytest.approx(dollars)


def test_the_first_entry_that_applies_counts(use):
    use({"match": "m", "input": 1, "output": 0}, {"match": "*", "input": 2, "output": 0})
    assert current_prices(OPENAI, "m").source == "prices.models[0]"
    assert current_prices(OPENAI, "n").source == "prices.models[1]"


def test_each_kind_of_token_and_the_request_have_a_price(use):
    prices = {"input": 1, "cached_input": 0.5, "cache_write": 2, "cache_write_1h": 3, "output": 4}
    use({"match": "m", **prices, "audio_input": 5, "audio_output": 6, "per_request": 7})
    usage = Usage(
        input_tokens=1_000_000,
        cached_input_tokens=100_000,
        cache_write_tokens=300_000,
        long_cache_write_tokens=200_000,
        audio_input_tokens=100_000,
        output_tokens=1_000_000,
        audio_output_tokens=500_000,
    )
    expected = 0.5 * 1 + 0.1 * 0.5 + 0.1 * 2 + 0.2 * 3 + 0.1 * 5 + 0.5 * 4 + 0.5 * 6 + 7
    assert cost_usd(OPENAI, "m", usage) == pytest.approx(expected)


def test_what_an_entry_leaves_out_costs_as_the_input_and_an_hour_in_the_cache_twice_as_much(use):
    use({"match": "m", "input": 1, "output": 0})
    prices = current_prices(OPENAI, "m")
    assert (prices.cached.base, prices.cache_write.base, prices.long_cache_write.base) == (1, 1, 2)


def test_a_price_of_requests_alone_makes_tokens_free(use):
    use({"match": "m", "per_request": 0.25})
    assert cost_usd(OPENAI, "m", MILLION) == 0.25


def test_own_factors_count_for_prices(use):
    use({"match": "m", "input": 1, "output": 1, "factors": {"priority": 3}})
    tier = (("service_tier", "priority"),)
    assert cost_usd(OPENAI, "m", MILLION, Facts(modifiers=tier)) == pytest.approx(6)
    assert cost_usd(OPENAI, "m", MILLION, Facts(modifiers=(("service_tier", "scale"),))) is None


def test_the_default_counts_only_for_models_without_another_price(use):
    use({"match": "m", "input": 1, "output": 1}, default={"input": 10, "output": 50})
    assert cost_usd(OPENAI, "no-such-model", MILLION) == pytest.approx(60)
    assert cost_usd(OPENAI, "gpt-5.1", MILLION) == pytest.approx(11.25)
    assert cost_usd(OPENAI, "m", MILLION) == pytest.approx(2)
    assert [has_default_price(OPENAI, model) for model in ("no-such-model", "gpt-5.1", "m")] == [True, False, False]


def test_prices_keep_what_the_list_knows_of_a_model(use):
    listed = current_prices(OPENAI, "gpt-5.1")
    use({"match": "gpt-5*", "input": 1, "output": 1})
    own = current_prices(OPENAI, "gpt-5.1")
    assert (own.model, own.context, own.search_usd) == (listed.model, listed.context, listed.search_usd)


def test_an_entry_is_in_force_from_its_day_on(use, monkeypatch):
    use({"match": "m", "input": 2, "output": 0, "from": "2030-01-02"}, {"match": "m", "input": 1, "output": 0})
    day = 1_893_542_400  # 2030-01-02
    for now, dollars in ((day - 3600, 1), (day, 2), (day + 3600, 2)):
        monkeypatch.setattr(cost.time, "time", lambda now=now: now)
        assert current_prices(OPENAI, "m").input.base == dollars


def test_prices_are_found_again_only_after_they_have_changed(use):
    use({"match": "m", "input": 1, "output": 1})
    current_prices(OPENAI, "m")
    before = own_prices.own_prices.cache_info().currsize
    use({"match": "m", "input": 1, "output": 1})
    assert own_prices.own_prices.cache_info().currsize == before == 1
    use({"match": "m", "input": 2, "output": 1})
    assert current_prices(OPENAI, "m").input.base == 2
