"""The setting `prices`: the operator's own prices of models."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from wirekey.config.group import ConfigGroup
from wirekey.config.values import AbsolutePath, Patterns, ValueFormat, money

PRICES = ("input", "cached_input", "cache_write", "cache_write_1h", "output", "audio_input", "audio_output")
WITHOUT_PRICE = "has no price. Add input and output, or per_request"


def day(value: Any) -> Any:
    """Return a day as 2026-12-01. YAML reads that as a date, unless it is in quotes. Raises ValueError."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    try:
        return date.fromisoformat(value).isoformat()
    except (TypeError, ValueError):
        raise ValueError("must be a day, such as 2026-12-01") from None


def factors(value: Any) -> Any:
    """Check the factors of tiers. Raises ValueError."""
    for tier, factor in value.items() if isinstance(value, dict) else ():
        if not isinstance(tier, str) or isinstance(factor, bool) or not isinstance(factor, int | float) or factor < 0:
            raise ValueError("must be names of tiers, each with a factor, such as {priority: 2.5}")
    return value


Amount = Annotated[float, BeforeValidator(money), Field(ge=0, le=1_000_000), ValueFormat("US dollars")]
Day = Annotated[str, BeforeValidator(day), ValueFormat("day")]
Factors = Annotated[dict[str, float], BeforeValidator(factors), ValueFormat("names of tiers, each with a factor")]


class TokenPrices(ConfigGroup):
    """Prices in US dollars: those of tokens for a million of them."""

    input: Amount | None = Field(default=None, description="Price of a million input tokens.", examples=[1.25])
    cached_input: Amount | None = Field(
        default=None, description="Those read from the provider's cache. null: as `input`.", examples=[0.125]
    )
    cache_write: Amount | None = Field(
        default=None, description="Those written to the provider's cache. null: as `input`.", examples=[1.5625]
    )
    cache_write_1h: Amount | None = Field(
        default=None, description="Those that stay there for an hour. null: twice `input`.", examples=[2.5]
    )
    output: Amount | None = Field(default=None, description="Price of a million output tokens.", examples=[10])
    audio_input: Amount | None = Field(default=None, description="Those of audio. null: as `input`.", examples=[32])
    audio_output: Amount | None = Field(default=None, description="Those of audio. null: as `output`.", examples=[64])
    per_request: Amount | None = Field(
        default=None, description="Price of a request, beside its tokens.", examples=[0.01]
    )
    factors: Factors = Field(
        default={},
        description="Factors of the token prices by tier of service, speed or place, before those that Wirekey knows.",
        examples=[{"priority": 2.5, "scale": 0}],
    )

    @model_validator(mode="after")
    def check_prices(self) -> Self:
        """Refuse an entry without a price, and one that leaves tokens free by oversight. Raises ValueError."""
        named = [name for name in PRICES if getattr(self, name) is not None]
        if not named and self.per_request is None:
            raise ValueError(WITHOUT_PRICE)
        if named and self.input is None:
            raise ValueError(f"has {named[0]} and no input. Add input; 0 means free")
        return self


class PriceConfig(TokenPrices):
    """An entry of `prices.models`."""

    match: Patterns = Field(min_length=1, description="Models with these names.", examples=["gpt-7*"])
    provider: Patterns | None = Field(
        default=None, description="Only at these providers. null: at all.", examples=["openai"]
    )
    region: Patterns | None = Field(
        default=None,
        description="Only in these regions of Bedrock, or locations of Google Cloud. null: everywhere.",
        examples=["eu-*"],
    )
    begins: Day | None = Field(
        default=None, alias="from", description="Only from this day on, in UTC.", examples=["2026-12-01"]
    )


class PriceFile(ConfigGroup):
    """The content of `prices.file`."""

    models: tuple[PriceConfig, ...] = Field(default=(), description="Entries as in `prices.models`.")


class PricesConfig(ConfigGroup):
    """Own prices, before those of the price list."""

    models: tuple[PriceConfig, ...] = Field(
        default=(),
        description="Prices by model. The first entry that matches a call and is in force counts, so put later days "
        "first.",
        examples=[[{"match": "gpt-7*", "provider": "openai", "input": 1.25, "output": 10, "from": "2026-12-01"}]],
    )
    file: AbsolutePath | None = Field(
        default=None,
        description="YAML file with more `models`, which come after these. It is applied when it changes, too.",
        examples=["prices.yaml"],
    )
    default: TokenPrices | None = Field(
        default=None,
        description="Prices of models that have no other price. null: their cost is unknown.",
        examples=[{"input": 10, "output": 50}],
    )
