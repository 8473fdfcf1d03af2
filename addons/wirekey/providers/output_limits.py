"""How many tokens a model can generate in one response, for the largest possible cost of a call.

The limits are those of the providers' model pages. A model that is not listed has `UNKNOWN`, which no listed one
exceeds, so that its cost is not estimated too low.
"""

from __future__ import annotations

import re
from functools import lru_cache

UNKNOWN = 128_000
LIMITS = (
    # https://docs.claude.com/en/docs/about-claude/models
    (r"claude-3-7", 64_000),
    (r"claude-3-5", 8_192),
    (r"claude-(3|2|instant)", 4_096),
    (r"claude-opus-4-(0|1|2025)|claude-opus-4$", 32_000),
    (r"claude-(opus|sonnet|haiku)-4", 64_000),
    # https://platform.openai.com/docs/models
    (r"gpt-3\.5", 4_096),
    (r"gpt-4o", 16_384),
    (r"gpt-4\.1", 32_768),
    (r"gpt-4\.5", 16_384),
    (r"gpt-4-(turbo|1106|0125|vision)", 4_096),
    (r"gpt-4", 8_192),
    (r"\bo[134](-|$)", 100_000),
    # https://ai.google.dev/gemini-api/docs/models
    (r"gemini-(2\.5|3)", 65_536),
    (r"gemini-(1|2\.0)", 8_192),
    # https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html
    (r"amazon\.nova", 10_000),
    (r"amazon\.titan", 8_192),
    (r"llama-?[34]|meta\.llama", 8_192),
    (r"mistral|mixtral|ministral", 32_768),
    (r"cohere\.command", 4_096),
)
_PATTERNS = tuple((re.compile(pattern), limit) for pattern, limit in LIMITS)


@lru_cache(maxsize=1024)
def output_limit(model: str) -> int:
    """Return the most output tokens of a response of a model, by its name at any provider."""
    return next((limit for pattern, limit in _PATTERNS if pattern.search(model)), UNKNOWN)
