"""The most input that a model accepts."""

from __future__ import annotations

import pytest
from genai_prices import data

from wirekey.providers.context_windows import LARGEST, WINDOWS, context_window
from wirekey.providers.registry import OWN_PROVIDERS, PROVIDERS


@pytest.mark.parametrize(
    ("model", "listed", "window"),
    [
        ("gpt-4o", 128_000, 128_000),
        ("ft:gpt-4o-2024-08-06:acme::abc", None, 128_000),
        ("gpt-5-mini", None, 400_000),
        ("gpt-5.4-mini", None, 400_000),
        ("gpt-5.4", None, 1_050_000),
        ("global.openai.gpt-6-sol", 1_000_000, 1_050_000),
        # The list has the window without the header for a longer context.
        ("claude-sonnet-4-5-20250929", 200_000, 1_000_000),
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", 200_000, 1_000_000),
        ("claude-opus-4-1", 200_000, 200_000),
        ("models/gemini-1.5-pro-002", 1_000_000, 2_097_152),
        ("gemini-2.5-flash-lite", 1_000_000, 1_048_576),
        ("gemini-2.5-pro", None, 1_048_576),
        ("a-model-of-next-year", 3_000_000, 3_000_000),
        ("a-model-of-next-year", None, LARGEST),
        ("", None, LARGEST),
    ],
)
def test_the_larger_window_of_the_table_and_the_price_list_holds(model, listed, window):
    assert context_window(model, listed) == window


def test_no_known_window_is_larger_than_that_of_an_unknown_model():
    known = {PROVIDERS[name].prices.price_list for name in OWN_PROVIDERS}
    lists = (provider.models for provider in data.providers if provider.id in known)
    listed = (model.context_window or 0 for models in lists for model in models)
    assert max(*listed, *(window for _, window in WINDOWS)) == LARGEST
