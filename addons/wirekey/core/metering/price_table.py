"""The reviewed table of what changes a list price: tiers of service, speeds, places, and tools with a fee.

A row says which page it was read from, and when. A value that no row has for a model has no known price. Change a row
only with the page at hand. `Factor.exact` is False where the page gives a range: the row then has its upper end.
"""

from __future__ import annotations

from typing import NamedTuple


class Factor(NamedTuple):
    """The factor by which a modifier multiplies the token prices of some models."""

    price_list: str
    modifier: str
    value: str
    models: str
    """A regular expression for names on the price list."""
    factor: float
    source: str
    """The page, and the day it was read."""
    exact: bool = True


class Fee(NamedTuple):
    """The price of one use of a tool."""

    price_list: str
    tool: str
    usd: float
    uses: int
    """How many uses are reserved if the request sets no limit."""
    source: str
    is_reported: bool = True
    """Whether responses say how often they have used the tool."""


OPENAI_FAST = "OpenAI, Fast mode for API customers, 2026-11-24"
OPENAI_PRICING = "OpenAI API, Pricing, 2026-11-24"
CLAUDE_FAST = "Claude Docs, Fast mode, 2026-11-24"
CLAUDE_PRICING = "Claude Docs, Pricing, 2026-11-24"
CLAUDE_TIERS = "Claude Docs, Service tiers, 2026-11-24"
GEMINI_TIERS = "Gemini API, Optimization and inference tiers, 2026-11-24"
GEMINI_PRICING = "Gemini API, Pricing, 2026-11-24"
CLOUD_PRICING = "Google Cloud, Pricing of generative AI, 2026-11-24"
CLAUDE_AT_GOOGLE = "Google Cloud, Claude Fable 5.2, 2026-11-24"
BEDROCK_PRICING = "Amazon Bedrock, Pricing and service tiers, 2026-11-24"

ANY = ".*"
NEW_CLAUDE = r"claude-(?:opus-(?:4-[6-9]|[5-9].*)|sonnet-(?:4-6|[5-9].*)|haiku-[5-9].*|fable-.*|mythos-.*)"
FAST_BEDROCK = r"(?:regional\.)?(?:amazon\.nova-pro-.*|anthropic\.claude-3-5-haiku-.*|meta\.llama3-1-(?:70|405)b-.*)"

ROWS = (
    Factor("openai", "service_tier", "flex", ANY, 0.5, OPENAI_PRICING),
    Factor("openai", "service_tier", "batch", ANY, 0.5, OPENAI_PRICING),
    Factor("openai", "service_tier", "priority", r"gpt-5\.5", 2.5, OPENAI_FAST),
    Factor("openai", "service_tier", "priority", r"gpt-6\.1-sol|gpt-5\.6-(?:sol|terra|luna)", 2, OPENAI_FAST),
    Factor("openai", "service_tier", "priority", r"gpt-5|gpt-5\.[124]|gpt-5\.4-mini", 2, OPENAI_FAST),
    Factor("openai", "service_tier", "priority", "gpt-5-mini", 1.8, OPENAI_FAST),
    Factor("openai", "service_tier", "priority", r"gpt-4\.1|gpt-4\.1-mini|o3", 1.75, OPENAI_FAST),
    Factor("openai", "service_tier", "priority", r"gpt-4\.1-nano", 2, OPENAI_FAST),
    Factor("openai", "service_tier", "priority", "gpt-4o", 1.7, OPENAI_FAST),
    Factor("openai", "service_tier", "priority", "gpt-4o-2024-05-13", 1.75, OPENAI_FAST),
    Factor("openai", "service_tier", "priority", "gpt-4o-mini", 5 / 3, OPENAI_FAST),
    Factor("openai", "service_tier", "priority", "o4-mini", 20 / 11, OPENAI_FAST),
    Factor("openai", "service_tier", "ultrafast", r"gpt-6-astra|gpt-6\.1-sol", 6, OPENAI_PRICING),
    Factor("anthropic", "service_tier", "batch", ANY, 0.5, CLAUDE_PRICING),
    # Tokens of this tier are bought beforehand, at prices of a contract. They use it up in proportion to list prices.
    Factor("anthropic", "service_tier", "priority", ANY, 1, CLAUDE_TIERS),
    Factor("anthropic", "speed", "fast", "claude-opus-4-[67]", 6, CLAUDE_FAST),
    Factor("anthropic", "speed", "fast", "claude-opus-4-8|claude-opus-5", 2, CLAUDE_FAST),
    Factor("anthropic", "inference_geo", "us", NEW_CLAUDE, 1.1, CLAUDE_PRICING),
    Factor("google", "service_tier", "flex", "gemini-.*", 0.5, GEMINI_TIERS),
    Factor("google", "service_tier", "batch", "gemini-.*", 0.5, GEMINI_PRICING),
    Factor("google", "service_tier", "priority", "gemini-.*", 2, GEMINI_TIERS, exact=False),
    Factor("google", "speed", "fast", "claude-fable-5-2", 2, CLAUDE_AT_GOOGLE),
    Factor("aws", "service_tier", "flex", ANY, 0.5, BEDROCK_PRICING),
    Factor("aws", "service_tier", "priority", ANY, 1.75, BEDROCK_PRICING, exact=False),
    Factor("aws", "latency", "optimized", FAST_BEDROCK, 1.25, BEDROCK_PRICING),
)

FEES = (
    Fee("openai", "web_search", 0.010, 50, OPENAI_PRICING),
    # Models that do not reason; others cost less.
    Fee("openai", "web_search_preview", 0.025, 50, OPENAI_PRICING),
    # One search for each request to a model that searches by itself.
    Fee("openai", "search_model", 0.025, 1, OPENAI_PRICING, is_reported=False),
    Fee("openai", "file_search", 0.0025, 50, OPENAI_PRICING),
    # For each container of this memory, which several uses may share. The first has 1 GB.
    Fee("openai", "code_interpreter", 0.03, 4, OPENAI_PRICING),
    Fee("openai", "code_interpreter_4g", 0.12, 4, OPENAI_PRICING),
    Fee("openai", "code_interpreter_16g", 0.48, 4, OPENAI_PRICING),
    Fee("openai", "code_interpreter_64g", 1.92, 4, OPENAI_PRICING),
    # One image of the largest size and the best quality.
    Fee("openai", "image_generation", 0.25, 4, OPENAI_PRICING),
    Fee("anthropic", "web_search", 0.010, 50, CLAUDE_PRICING),
    Fee("google", "web_search", 0.035, 50, GEMINI_PRICING),
    Fee("google", "enterprise_web_search", 0.045, 50, CLOUD_PRICING, is_reported=False),
    Fee("google", "google_maps", 0.025, 1, GEMINI_PRICING, is_reported=False),
)

ORDINARY = {
    "service_tier": ("default", "standard", "standard_only", "on_demand", "unspecified"),
    "speed": ("standard",),
    "inference_geo": ("global", "not_available"),
    "latency": ("standard",),
    "cache_ttl": ("5m", "1h", "30m"),  # these tokens have a price of their own
}
"""The values that change no price."""
ALIASES = {("service_tier", "fast"): "priority"}
"""Other spellings of a value."""
DEFAULTS = {
    ("openai", "service_tier"): ("priority",),
    ("anthropic", "inference_geo"): ("us",),
}
"""The values that an account can have as its default. A request that names none, or `auto`, may get them."""
UNSAID = "auto"
"""The value that leaves a modifier to the account."""
