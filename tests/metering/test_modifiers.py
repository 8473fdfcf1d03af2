"""What a tier of service, a speed, a place, a cache life and the provider's tools do to the price of a call."""

import re

import pytest

from wirekey.core.metering.cost import cost_usd, price_lists
from wirekey.core.metering.modifiers import factor_of, largest_factor, tier_of
from wirekey.core.metering.price_table import FEES, ROWS
from wirekey.core.operation import LONG_CACHE, Facts, Usage
from wirekey.providers.registry import PROVIDERS

TOKENS = {"input_tokens": 1000, "output_tokens": 100}
FAST, PRIORITY, FLEX = ("speed", "fast"), ("service_tier", "priority"), ("service_tier", "flex")
US = ("inference_geo", "us")


@pytest.mark.parametrize(
    ("provider", "model", "modifiers", "factor"),
    [
        ("openai", "gpt-5.5", [PRIORITY], 2.5),
        ("openai", "gpt-5.5", [("service_tier", "fast")], 2.5),
        ("openai", "gpt-5.5-2026-04-23", [PRIORITY], 2.5),
        ("openai", "gpt-4o-mini", [PRIORITY], 5 / 3),
        ("openai", "gpt-6-astra", [("service_tier", "ultrafast")], 6),
        ("openai", "o3", [FLEX], 0.5),
        ("openai", "o3", [("service_tier", "default")], 1),
        ("anthropic", "claude-opus-4-6", [FAST], 6),
        ("anthropic", "claude-opus-5", [FAST, US], 2.2),
        ("anthropic", "claude-opus-5", [("service_tier", "standard"), ("inference_geo", "global")], 1),
        ("anthropic", "claude-sonnet-4-5", [("inference_geo", "not_available")], 1),
        ("anthropic", "claude-opus-5", [("service_tier", "batch")], 0.5),
        ("gemini", "gemini-3.5-flash", [("service_tier", "SERVICE_TIER_FLEX")], 0.5),
        ("bedrock", "us.anthropic.claude-3-5-haiku-20241022-v1:0", [("latency", "optimized")], 1.25),
        ("bedrock", "amazon.nova-pro-v1:0", [PRIORITY], 1.75),
    ],
)
def test_a_response_costs_what_its_tier_speed_and_place_cost(provider, model, modifiers, factor):
    plain = cost_usd(PROVIDERS[provider], model, Usage(**TOKENS))
    modified = cost_usd(PROVIDERS[provider], model, Usage(**TOKENS, modifiers=tuple(modifiers)))
    assert modified == pytest.approx(plain * factor)


@pytest.mark.parametrize(
    ("provider", "model", "modifier"),
    [
        ("openai", "gpt-5.3-codex", PRIORITY),
        ("openai", "gpt-5.5", ("service_tier", "scale")),
        ("openai", "gpt-5.5", ("service_tier", "a-new-one")),
        ("anthropic", "claude-haiku-4-5", FAST),
        ("anthropic", "claude-haiku-4-5", US),
        ("bedrock", "amazon.nova-pro-v1:0", ("service_tier", "reserved")),
        ("bedrock", "amazon.nova-micro-v1:0", ("latency", "optimized")),
    ],
)
def test_a_modifier_without_a_known_price_makes_the_cost_unknown(provider, model, modifier):
    assert cost_usd(PROVIDERS[provider], model, Usage(**TOKENS)) is not None
    assert cost_usd(PROVIDERS[provider], model, Usage(**TOKENS, modifiers=(modifier,))) is None
    assert cost_usd(PROVIDERS[provider], model, Usage(**TOKENS), Facts(modifiers=(modifier,))) is None


def test_the_response_decides_where_it_differs_from_the_request():
    asked = Facts(modifiers=(PRIORITY,))
    openai, plain = PROVIDERS["openai"], cost_usd(PROVIDERS["openai"], "gpt-5.5", Usage(**TOKENS))
    served = Usage(**TOKENS, modifiers=(("service_tier", "default"),))
    assert cost_usd(openai, "gpt-5.5", served, asked) == plain
    assert cost_usd(openai, "gpt-5.5", Usage(**TOKENS), asked) == pytest.approx(2.5 * plain)
    assert cost_usd(openai, "gpt-5.5", Usage(**TOKENS, modifiers=(PRIORITY,)), Facts()) == pytest.approx(2.5 * plain)


@pytest.mark.parametrize(
    ("price_list", "model", "modifiers", "factor"),
    [
        ("openai", "gpt-5.5", (), 2.5),
        ("openai", "gpt-5.5", (("service_tier", "auto"),), 2.5),
        ("openai", "gpt-5.5", (("service_tier", "default"),), 1),
        ("openai", "gpt-5.5", (FLEX,), 1),
        ("openai", "gpt-5.3-codex", (), 1),
        ("anthropic", "claude-opus-5", (), 1.1),
        ("anthropic", "claude-opus-5", (FAST,), 2.2),
        ("anthropic", "claude-haiku-4-5", (), 1),
        ("google", "gemini-3.5-flash", (), 1),
        ("aws", "amazon.nova-pro-v1:0", (), 1),
    ],
)
def test_a_request_is_reserved_at_the_dearest_that_it_allows(price_list, model, modifiers, factor):
    assert largest_factor(price_list, model, modifiers) == pytest.approx(factor)


def test_the_operators_own_factor_counts_first():
    assert factor_of("openai", "gpt-5.5", (PRIORITY,), {"priority": 3.0}) == 3
    assert factor_of("openai", "gpt-5.5", (("service_tier", "scale"),), {"scale": 0.0}) == 0


def test_tokens_that_stay_cached_for_an_hour_cost_twice_the_input():
    anthropic = PROVIDERS["anthropic"]
    usage = Usage(input_tokens=1000, output_tokens=0, cache_write_tokens=900)
    short = cost_usd(anthropic, "claude-opus-5", usage)
    assert short == pytest.approx((100 * 5 + 900 * 6.25) / 1e6)
    usage.long_cache_write_tokens = 400
    assert cost_usd(anthropic, "claude-opus-5", usage) == pytest.approx((100 * 5 + 500 * 6.25 + 400 * 10) / 1e6)
    usage.long_cache_write_tokens = None
    asked = Facts(modifiers=(LONG_CACHE,))
    assert cost_usd(anthropic, "claude-opus-5", usage, asked) == pytest.approx((100 * 5 + 900 * 10) / 1e6)


@pytest.mark.parametrize(
    ("provider", "model", "used", "asked", "fee"),
    [
        ("anthropic", "claude-opus-5", (("web_search", 3),), (("web_search", None),), 0.03),
        ("anthropic", "claude-opus-5", (), (("web_search", None),), 0),
        ("openai", "gpt-5.5", (("web_search", 2),), (("web_search", None),), 0.02),
        ("openai", "gpt-4o", (("web_search", 2),), (("web_search_preview", None),), 0.05),
        ("openai", "gpt-5.5", (("file_search", 4),), (), 0.01),
        ("openai", "gpt-5.5", (("code_interpreter", 1),), (("code_interpreter_4g", None),), 0.12),
        ("openai", "gpt-4o-search-preview", (), (("search_model", 1),), 0.025),
        ("gemini", "gemini-3.5-flash", (), (("google_maps", 1),), 0.025),
        ("gemini", "gemini-3.5-flash", (("web_search", 2),), (), 0.028),
    ],
)
def test_tools_of_the_provider_cost_a_fee_that_no_tier_changes(provider, model, used, asked, fee):
    plain = cost_usd(PROVIDERS[provider], model, Usage(**TOKENS))
    usage = Usage(**TOKENS, tool_uses=used, modifiers=(("service_tier", "flex"),) if provider == "openai" else ())
    expected = plain * (0.5 if provider == "openai" else 1) + fee
    assert cost_usd(PROVIDERS[provider], model, usage, Facts(paid_tools=asked)) == pytest.approx(expected)


def test_uses_that_were_not_counted_and_tools_without_a_known_fee_make_the_cost_unknown():
    uncounted = Usage(**TOKENS, tool_uses=(("web_search", None),))
    assert cost_usd(PROVIDERS["openai"], "gpt-5.5", uncounted) is None
    unknown = Facts(paid_tools=(("teleport", 1),))
    assert cost_usd(PROVIDERS["openai"], "gpt-5.5", Usage(**TOKENS), unknown) is None


@pytest.mark.parametrize(
    ("modifiers", "tier"),
    [
        ((), None),
        ((("service_tier", "default"),), "default"),
        ((PRIORITY,), "priority"),
        ((("service_tier", "standard"), FAST, US), "fast+us"),
        ((("service_tier", "auto"),), "auto"),
        ((LONG_CACHE,), None),
    ],
)
def test_records_name_the_tier_in_one_word(modifiers, tier):
    assert tier_of(modifiers) == tier


@pytest.mark.parametrize("row", [*ROWS, *FEES], ids=lambda row: "-".join(map(str, row[:4])))
def test_each_row_of_the_table_names_its_page_and_day(row):
    assert re.fullmatch(r".+, 20\d\d-\d\d-\d\d", row.source)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(row[:4]))
def test_each_row_of_the_table_matches_a_model_of_the_price_list(row):
    listed = next(each for each in price_lists().providers if each.id == row.price_list)
    assert any(re.fullmatch(row.models, model.id) for model in listed.models)
