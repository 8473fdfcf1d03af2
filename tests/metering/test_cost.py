"""Costs agree with genai-prices, which has the price list, and are None if a price or a count is unknown."""

import pytest
from genai_prices import Usage as ListedUsage
from genai_prices import calc_price

from wirekey.core.metering.cost import HOUR, cost_usd, price_lists, prices_of
from wirekey.core.operation import Usage
from wirekey.providers.registry import PROVIDERS


@pytest.mark.parametrize("tokens", [(1000, 200, 100), (250_000, 1000, 5000), (7, 0, 0), (199_999, 1, 1)])
@pytest.mark.parametrize(
    ("provider", "listed_as", "model"),
    [
        ("openai", "openai", "gpt-4o-mini"),
        ("openai", "openai", "gpt-4o-mini-2024-07-18"),
        ("openai", "openai", "ft:gpt-4o-mini-2024-07-18:org::id"),
        ("gemini", "google", "gemini-2.5-flash"),
        ("gemini", "google", "gemini-2.5-pro"),
        ("anthropic", "anthropic", "claude-sonnet-4-5-20250929"),
        ("bedrock", "aws", "anthropic.claude-3-haiku-20240307-v1:0"),
        ("bedrock", "aws", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("bedrock", "aws", "global.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("bedrock", "aws", "eu.amazon.nova-pro-v1:0"),
    ],
)
def test_a_cost_matches_the_price_list(provider, listed_as, model, tokens):
    total_input, cached, output = tokens
    usage = Usage(input_tokens=total_input, cached_input_tokens=cached, output_tokens=output)
    listed = ListedUsage(input_tokens=total_input, cache_read_tokens=cached, output_tokens=output)
    expected = float(calc_price(listed, model, provider_id=listed_as).total_price)
    assert cost_usd(PROVIDERS[provider], model, usage) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("provider", "spelling", "model"),
    [
        ("gemini", "models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("bedrock", "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0"),
        ("bedrock", "arn:aws:bedrock:us-east-1:1:inference-profile/us.amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0"),
        ("bedrock", "jp.amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0"),
        ("openai", "GPT-4o-mini", "gpt-4o-mini"),
    ],
)
def test_a_model_costs_the_same_under_each_of_its_names(provider, spelling, model):
    usage = Usage(input_tokens=1000, output_tokens=1000)
    assert cost_usd(PROVIDERS[provider], spelling, usage) == cost_usd(PROVIDERS[provider], model, usage) > 0


@pytest.mark.parametrize(
    ("tokens", "dollars"),
    [
        ((1000, 0, 400, 300, 200), (600 * 4 + 400 * 32 + 100 * 16 + 200 * 64) / 1e6),
        ((1000, 500, 400, 0, 0), (100 * 4 + 500 * 0.4 + 400 * 32) / 1e6),
        ((1000, 700, 400, 0, 0), (700 * 0.4 + 300 * 32) / 1e6),
    ],
)
def test_audio_has_prices_of_its_own(tokens, dollars):
    total, cached, audio, output, audio_output = tokens
    usage = Usage(
        input_tokens=total,
        cached_input_tokens=cached,
        audio_input_tokens=audio,
        output_tokens=output,
        audio_output_tokens=audio_output,
    )
    assert cost_usd(PROVIDERS["openai"], "gpt-realtime", usage) == pytest.approx(dollars, rel=1e-9)


SOME = Usage(input_tokens=10, output_tokens=10)


@pytest.mark.parametrize(
    ("provider", "model", "usage"),
    [
        ("openai", "no-such-model", SOME),
        ("openai", None, SOME),
        ("openai", "", SOME),
        ("gemini", "tunedModels/gemini-2.5-flash", SOME),
        ("bedrock", "arn:aws:bedrock:us-east-1:1:application-inference-profile/a1b2c3", SOME),
        ("openai", "gpt-4o", Usage()),
        ("openai", "gpt-4o", Usage(output_tokens=5)),
        ("openai", "gpt-4o", Usage(input_tokens=5)),
        ("openai", "gpt-4o", Usage(input_tokens=5, output_tokens=5, cached_input_tokens=6)),
        ("openai", "gpt-4o", Usage(input_tokens=-5, output_tokens=5)),
        ("openai", "gpt-4o", Usage(input_tokens=5, output_tokens=-5)),
    ],
)
def test_an_unknown_cost_is_none(provider, model, usage):
    assert cost_usd(PROVIDERS[provider], model, usage) is None


def test_embeddings_have_no_output():
    assert cost_usd(PROVIDERS["openai"], "text-embedding-3-small", Usage(input_tokens=1_000_000)) == pytest.approx(0.02)


@pytest.mark.parametrize(("provider", "model"), [("openai", "gpt-5"), ("gemini", "gemini-2.5-flash")])
def test_reasoning_is_part_of_the_output(provider, model):
    reasoning = Usage(input_tokens=10, output_tokens=100, reasoning_tokens=90)
    plain = Usage(input_tokens=10, output_tokens=100)
    assert cost_usd(PROVIDERS[provider], model, reasoning) == cost_usd(PROVIDERS[provider], model, plain)


def test_only_the_price_lists_of_the_providers_are_kept():
    kept = {listed.id for listed in price_lists().providers}
    assert kept == {provider.prices.price_list for provider in PROVIDERS.values()} - {""}


def test_all_models_on_the_list_can_be_priced():
    from genai_prices.data_snapshot import get_snapshot

    for listed_as in ("openai", "google", "anthropic"):
        for model in get_snapshot().find_provider(None, listed_as, None).models:
            prices = prices_of.__wrapped__(listed_as, model.id, 490_000 * 3600 // HOUR)
            assert prices is None or prices.input is not None


@pytest.mark.parametrize(
    ("provider", "listed_as", "model"),
    [("anthropic", "anthropic", "claude-sonnet-4-5"), ("bedrock", "aws", "anthropic.claude-3-5-sonnet-20241022-v2:0")],
)
def test_cache_writes_have_their_own_price(provider, listed_as, model):
    counted_apart = Usage(input_tokens=100, output_tokens=10, cached_input_tokens=2000, cache_write_tokens=3000)
    usage = counted_apart.with_cached_input()
    listed = ListedUsage(input_tokens=5100, cache_read_tokens=2000, cache_write_tokens=3000, output_tokens=10)
    expected = float(calc_price(listed, model, provider_id=listed_as).total_price)
    assert cost_usd(PROVIDERS[provider], model, usage) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("usage", "input_tokens"),
    [
        (Usage(10, 5, 100, cache_write_tokens=1000), 1110),
        (Usage(10, 5, 100), 110),
        (Usage(10, 5), 10),
        (Usage(cached_input_tokens=100), None),
    ],
)
def test_what_a_provider_counts_apart_becomes_part_of_the_input(usage, input_tokens):
    whole = usage.with_cached_input()
    assert (whole.input_tokens, whole.cached_input_tokens) == (input_tokens, usage.cached_input_tokens)
    assert whole.cache_write_tokens == usage.cache_write_tokens
