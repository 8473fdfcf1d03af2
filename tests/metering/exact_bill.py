"""What a call costs, computed a second time: exactly, as lines of a bill, and from the data of genai-prices itself.

A bill is made of its lines, and the counts that a provider reports are their sums. Wirekey goes the other way: it finds
the lines in the counts. The two share no code and no rounding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import TieredPrices

from wirekey.core.metering.price_table import ROWS
from wirekey.core.operation import Usage

NAMES = {
    "text": ("input_mtok",),
    "cached": ("cache_read_mtok", "input_mtok"),
    "written": ("cache_write_mtok", "input_mtok"),
    "audio": ("input_audio_mtok", "input_mtok"),
    "cached_audio": ("cache_audio_read_mtok", "input_audio_mtok"),
    "image": ("input_image_mtok", "input_mtok"),
    "cached_image": ("cache_image_read_mtok", "input_image_mtok"),
    "video": ("input_video_mtok", "input_mtok"),
    "output": ("output_mtok",),
    "audio_output": ("output_audio_mtok", "output_mtok"),
    "image_output": ("output_image_mtok", "output_mtok"),
    "video_output": ("output_video_mtok", "output_mtok"),
}
"""Line of a bill → the prices of the list that it may have, the first that there is."""
OUTPUTS = ("output", "audio_output", "image_output", "video_output")
MILLION = 1_000_000
LONG = 2
"""Tokens that stay in the cache for an hour cost twice the input, where the list has a price of writes but not this."""


@dataclass(frozen=True)
class Bill:
    """Tokens by line. `written_1h` are counted in `written` by providers, but are a line of their own here."""

    lines: Mapping[str, int]
    modifier: tuple[str, str] | None = None

    def of(self, *names: str) -> int:
        """Return the tokens of some lines."""
        return sum(self.lines.get(name, 0) for name in names)

    @property
    def input(self) -> int:
        """All input tokens."""
        return sum(tokens for name, tokens in self.lines.items() if name not in OUTPUTS)

    def usage(self, reasoning: int) -> Usage:
        """Return what a provider reports. `reasoning`: how much of the output is reasoning, which changes no price."""
        return Usage(
            input_tokens=self.input,
            output_tokens=self.of(*OUTPUTS),
            cached_input_tokens=self.of("cached", "cached_audio", "cached_image"),
            reasoning_tokens=reasoning,
            cache_write_tokens=self.of("written", "written_1h"),
            long_cache_write_tokens=self.of("written_1h"),
            audio_input_tokens=self.of("audio", "cached_audio"),
            audio_output_tokens=self.of("audio_output"),
            image_input_tokens=self.of("image", "cached_image"),
            image_output_tokens=self.of("image_output"),
            video_input_tokens=self.of("video"),
            video_output_tokens=self.of("video_output"),
            modifiers=(self.modifier,) if self.modifier else (),
        )


def listed_models(price_list: str, moment: datetime) -> Iterator[tuple[str, object]]:
    """Yield name and prices of each model of a list that has a price of input. Names that find another are left out."""
    snapshot = get_snapshot()
    provider = snapshot.find_provider(None, price_list, None)
    for model in provider.models:
        prices = model.get_prices(moment)
        found = provider.find_model(model.id, all_providers=snapshot.providers)
        if found is not None and found.id == model.id and prices.input_mtok is not None:
            yield model.id, prices


def dollars(bill: Bill, prices, price_list: str, model: str) -> Fraction:
    """Return the exact cost of a bill in US dollars."""
    total = sum((line_price(name, prices, bill.input) * tokens for name, tokens in bill.lines.items()), Fraction())
    return total / MILLION * factor(bill.modifier, price_list, model)


def line_price(name: str, prices, total_input: int) -> Fraction:
    """Return the price of a million tokens of a line, in a call with so much input."""
    if name == "written_1h":
        own = prices.cache_write_1h_mtok
        base = at(prices.input_mtok, total_input)
        return at(own, total_input) if own is not None else base * (LONG if prices.cache_write_mtok is not None else 1)
    listed = next(value for value in (getattr(prices, each) for each in NAMES[name]) if value is not None)
    return at(listed, total_input)


def at(price, total_input: int) -> Fraction:
    """Return a price in a call with so much input: that of the last tier whose beginning the input exceeds."""
    if not isinstance(price, TieredPrices):
        return Fraction(price)
    passed = [tier for tier in price.tiers if total_input > tier.start]
    return Fraction(max(passed, key=lambda tier: tier.start).price if passed else price.base)


def thresholds(prices) -> list[int]:
    """Return where the long-context prices of a model begin."""
    listed = [getattr(prices, name) for names in NAMES.values() for name in names]
    return sorted({tier.start for price in listed if isinstance(price, TieredPrices) for tier in price.tiers})


def factor(modifier: tuple[str, str] | None, price_list: str, model: str) -> Fraction:
    """Return the factor of a modifier: that of the table's first row for it."""
    if modifier is None:
        return Fraction(1)
    rows = [row for row in ROWS if (row.price_list, row.modifier, row.value) == (price_list, *modifier)]
    return next(Fraction(row.factor) for row in rows if re.fullmatch(row.models, model))


def modifiers_of(price_list: str, model: str) -> list[tuple[str, str]]:
    """Return the modifiers with a known price that a model has."""
    return sorted(
        {(row.modifier, row.value) for row in ROWS if row.price_list == price_list and re.fullmatch(row.models, model)}
    )


def possible_lines(prices) -> list[str]:
    """Return the lines that a bill of a model may have."""
    lines = ["text", "cached", "written", "written_1h"]
    lines += [kind for kind in ("audio", "image", "video") if getattr(prices, f"input_{kind}_mtok") is not None]
    if prices.output_mtok is not None:
        lines.append("output")
        lines += [name for name in OUTPUTS[1:] if getattr(prices, NAMES[name][0]) is not None]
    return lines


def with_cached_kinds(bill: Bill, prices, tokens: Mapping[str, int]) -> Bill:
    """Return a bill whose whole text is cached, and some audio or image, too: a cache begins with the text."""
    lines = {name: count for name, count in bill.lines.items() if name not in ("text", "written", "written_1h")}
    kind = next((kind for kind in ("audio", "image") if getattr(prices, f"input_{kind}_mtok") is not None), None)
    if kind is None:
        return bill
    return replace(bill, lines={**lines, f"cached_{kind}": tokens[kind]})
