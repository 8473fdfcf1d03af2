"""The largest use of a call before it is sent, and its real use afterwards."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirekey.core.body import Body
from wirekey.core.metering.cost import cost_usd, current_prices
from wirekey.core.metering.price import Price, Prices
from wirekey.core.operation import MOST_TOKENS, Facts, Kind, Operation, Usage
from wirekey.features.quotas.estimate import NOTHING, EstimatedRequest, Use, largest_use, nanodollars, real_use
from wirekey.providers.context_windows import LARGEST
from wirekey.providers.output_limits import UNKNOWN, output_limit
from wirekey.providers.registry import PROVIDERS

CHAT = Operation("chat.completions", Body.JSON, Kind.INFERENCE)
LIST = Operation("models.list", Body.NONE, Kind.LISTING)
COUNT = Operation("messages.count_tokens", Body.JSON, Kind.INFERENCE)
PRICES = Prices(Price(1.0), Price(0.1), Price(1.25), Price(10.0), "m", 10_000)


@pytest.mark.parametrize(
    ("model", "limit"),
    [
        ("gpt-4o-mini", 16_384),
        ("gpt-4", 8_192),
        ("gpt-5-mini", UNKNOWN),
        ("o3-mini", 100_000),
        ("claude-3-haiku-20240307", 4_096),
        ("claude-3-5-sonnet-20241022", 8_192),
        ("claude-opus-4-20250514", 32_000),
        ("claude-opus-4-1", 32_000),
        ("claude-opus-4-5", 64_000),
        ("claude-sonnet-4-5-20250929", 64_000),
        ("us.anthropic.claude-3-5-sonnet-20241022-v2:0", 8_192),
        ("models/gemini-2.5-flash", 65_536),
        ("gemini-1.5-pro", 8_192),
        ("us.amazon.nova-lite-v1:0", 10_000),
        ("", UNKNOWN),
        ("a-model-of-next-year", UNKNOWN),
    ],
)
def test_the_longest_response_depends_on_the_model(model, limit):
    assert output_limit(model) == limit


@pytest.mark.parametrize(
    ("facts", "size", "cap", "tokens", "cost"),
    [
        # 3000 bytes are at most 1001 tokens, at the price of tokens that are written to a cache.
        (Facts(max_tokens=100), 3000, None, 1101, 1001 * 1.25e-6 + 100 * 10e-6),
        (Facts(max_tokens=100), 3000, 50, 1051, 1001 * 1.25e-6 + 50 * 10e-6),
        (Facts(max_tokens=100, choices=3), 3000, None, 1301, 1001 * 1.25e-6 + 300 * 10e-6),
        # A larger request than the model accepts is refused by the provider.
        (Facts(max_tokens=100), 900_000, None, 10_100, 10_000 * 1.25e-6 + 100 * 10e-6),
        # Without a limit of its own, the longest response: but a limit per minute reserves what is usual.
        (Facts(), 0, None, 1 + 4096, 1.25e-6 + 16_384 * 10e-6),
        (None, 0, None, 1 + 4096, 1.25e-6 + 16_384 * 10e-6),
        (Facts(max_tokens=20_000), 0, None, 1 + 4096, 1.25e-6 + 20_000 * 10e-6),
        # What no provider accepts reserves no more than the longest response of any model.
        (Facts(max_tokens=10**12, choices=10**9), 0, None, 1 + 4096, 1.25e-6 + 128 * UNKNOWN * 10e-6),
        (Facts(max_tokens=-5), 0, None, 1 + 4096, 1.25e-6 + 16_384 * 10e-6),
        # A limit of 0 counts as no limit: some providers refuse it, others write as much as they can.
        (Facts(max_tokens=0), 0, None, 1 + 4096, 1.25e-6 + 16_384 * 10e-6),
        (Facts(max_tokens=0), 0, 50, 1 + 50, 1.25e-6 + 50 * 10e-6),
        # Input that is not in the request may fill the whole context: but a limit per minute reserves what is usual.
        (Facts(max_tokens=100, reads_elsewhere=True), 30, None, 11 + 4096 + 100, 10_000 * 1.25e-6 + 100 * 10e-6),
        (Facts(max_tokens=100, reads_elsewhere=True), 900_000, None, 10_100, 10_000 * 1.25e-6 + 100 * 10e-6),
    ],
)
def test_the_largest_use_is_the_request_and_the_longest_response(facts, size, cap, tokens, cost):
    found = largest_use(EstimatedRequest(CHAT, facts, "gpt-4o", size, cap), PRICES)
    assert (found.tokens, found.cost) == (tokens, pytest.approx(cost * 1e9, abs=1))


def test_a_call_that_generates_nothing_is_free():
    for operation in (LIST, COUNT):
        assert largest_use(EstimatedRequest(operation, Facts(max_tokens=9), "gpt-4o", 900), PRICES) == NOTHING


@pytest.mark.parametrize("name", ["batches.create", "messages.batches.create", "batchGenerateContent"])
def test_a_batch_needs_a_budget_that_is_not_used_up(name):
    """It takes the least that a used-up budget refuses, and gives it back: its cost is charged later."""
    batch = Operation(name, Body.JSON, Kind.STORAGE)
    assert largest_use(EstimatedRequest(batch, None, None, 100), None) == Use(0, 1, 1)
    assert largest_use(EstimatedRequest(batch, Facts(model="m"), "m", 100), PRICES) == Use(0, 1, 1)
    assert largest_use(EstimatedRequest(batch, Facts(model="m"), "m", 100), None).cost is None
    assert real_use(Use(0, 1, 1), batch, 200, None, None) == NOTHING


def test_the_cost_of_a_model_without_a_price_is_unknown():
    found = largest_use(EstimatedRequest(CHAT, Facts(max_tokens=9), "my-model", 30), None)
    assert found == Use(20, None, 20)


def test_R42_input_elsewhere_of_a_model_without_a_known_window_is_the_largest_known_one():
    prices = replace(PRICES, context=None)
    facts = Facts(max_tokens=100, reads_elsewhere=True)
    found = largest_use(EstimatedRequest(CHAT, facts, "a-model-of-next-year", 30), prices)
    assert found.cost == pytest.approx((LARGEST * 1.25e-6 + 100 * 10e-6) * 1e9, abs=1)


def test_R42_input_elsewhere_is_reserved_at_the_dearest_price_that_it_can_have():
    prices = replace(PRICES, audio_input=Price(40.0))
    for elsewhere, price, tokens in ((True, 40e-6, 10_000), (False, 1.25e-6, 11)):
        facts = Facts(max_tokens=100, reads_elsewhere=elsewhere)
        found = largest_use(EstimatedRequest(CHAT, facts, "gpt-4o", 30), prices)
        assert found.cost == pytest.approx((tokens * price + 100 * 10e-6) * 1e9, abs=1)


def test_totals_of_tokens_reserve_the_whole_input_and_output():
    reads_elsewhere = EstimatedRequest(CHAT, Facts(max_tokens=60_000, reads_elsewhere=True), "m", 30)
    found = largest_use(reads_elsewhere, replace(PRICES, context=1_000_000))
    assert found.all_tokens == 1_060_000
    assert found.tokens < 9000


def test_R42_input_elsewhere_has_the_price_of_a_long_context():
    prices = replace(PRICES, input=Price(1.0, ((200_000, 2.0),)), cache_write=None, context=1_000_000)
    facts = Facts(max_tokens=100, reads_elsewhere=True)
    found = largest_use(EstimatedRequest(CHAT, facts, "m", 30), prices)
    assert found.cost == pytest.approx((1_000_000 * 2e-6 + 100 * 10e-6) * 1e9, abs=1)


RESERVED = Use(5000, 7_000_000, 8000)


@pytest.mark.parametrize(
    ("operation", "status", "usage", "cost", "used"),
    [
        (CHAT, 200, Usage(100, 50), 0.001, Use(150, 1_000_000, 150)),
        # Unknown use counts as it was reserved.
        (CHAT, 200, None, None, RESERVED),
        (CHAT, None, None, None, RESERVED),
        (CHAT, 200, Usage(100, None), None, RESERVED),
        (CHAT, 200, Usage(100, 50), None, Use(150, 7_000_000, 150)),
        # Embeddings have no output.
        (CHAT, 200, Usage(100, None), 0.002, Use(100, 2_000_000, 100)),
        # An error costs nothing, and neither does what generates nothing.
        (CHAT, 500, None, None, NOTHING),
        (CHAT, 429, Usage(100, 50), 0.001, NOTHING),
        (LIST, 200, None, None, NOTHING),
        (COUNT, 200, Usage(100, None), 0.001, NOTHING),
    ],
)
def test_the_real_use_is_what_the_provider_counted(operation, status, usage, cost, used):
    assert real_use(RESERVED, operation, status, usage, cost) == used


@pytest.mark.parametrize(
    ("usage", "cost", "used"),
    [
        (Usage(100, 1), 0.001, RESERVED),
        (Usage(100, None), None, RESERVED),
        (None, None, RESERVED),
        # What was counted so far may be more than was reserved.
        (Usage(9000, 1), 0.009, Use(9001, 9_000_000, 9001)),
    ],
)
def test_R42_counts_from_the_middle_of_a_response_never_lower_what_was_reserved(usage, cost, used):
    assert real_use(RESERVED, CHAT, 200, usage, cost, is_final=False) == used


@pytest.mark.parametrize(("cost", "used"), [(None, Use(5000, None, 8000)), (0.001, Use(5000, 1_000_000, 8000))])
def test_counts_from_the_middle_of_a_response_of_unknown_price_stay_unknown(cost, used):
    assert real_use(Use(5000, None, 8000), CHAT, 200, Usage(100, 1), cost, is_final=False) == used


@given(
    st.sampled_from(("gpt-4o-mini", "gpt-5", "gpt-4.1", "o3")),
    st.integers(0, 30_000),
    st.integers(0, 8_000),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_no_response_within_its_limits_costs_more_than_is_reserved(model, size, limit, read, written):
    provider = PROVIDERS["openai"]
    reserved = largest_use(
        EstimatedRequest(CHAT, Facts(model=model, max_tokens=limit), model, size), current_prices(provider, model)
    )
    usage = Usage(int(read * (size // 3 + 1)), int(written * limit), model=model)
    cost = cost_usd(provider, model, usage)
    assert cost is not None
    assert reserved.cost is not None
    assert nanodollars(cost) <= reserved.cost + 1


@pytest.mark.parametrize("model", ["gpt-4", "o1-pro", "gpt-4.5-preview"])
def test_the_largest_cost_of_a_response_fits_a_thousand_times_into_a_column_of_a_database(model):
    usage = Usage(input_tokens=MOST_TOKENS, output_tokens=MOST_TOKENS)
    cost = cost_usd(PROVIDERS["openai"], model, usage)
    assert cost
    assert 1000 * nanodollars(cost) < 2**63
