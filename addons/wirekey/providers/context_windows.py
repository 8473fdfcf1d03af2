"""How many tokens of input a model accepts, for calls whose input is not all in the request.

The price list has most context windows. `WINDOWS` has those that it lacks, or gives without the larger window that a
header or a tier of the provider offers. The larger of the two holds. A model that neither has gets `LARGEST`, which no
known one exceeds, so that its input is not estimated too low.
"""

from __future__ import annotations

import re
from functools import lru_cache

LARGEST = 10_000_000
"""Llama 4 Scout's."""
WINDOWS = (
    # https://platform.claude.com/docs/en/about-claude/models and …/build-with-claude/context-windows
    (r"claude-(v1|instant)", 100_000),
    (r"claude-(sonnet-4|4-sonnet)", 1_000_000),
    # https://platform.openai.com/docs/models
    (r"gpt-4\.1", 1_047_576),
    (r"gpt-4\.5|ft:gpt-4o|gpt-4o.*(\.ft-|:extended)", 128_000),
    (r"gpt-(realtime|audio)", 128_000),
    (r"gpt-5\.4-(mini|nano)|gpt-5(?!\.[4-9])", 400_000),
    (r"gpt-(5\.[4-9]|6)", 1_050_000),
    (r"ft:gpt-3\.5|gpt-3\.5", 16_385),
    (r"^(text-)?(ada|babbage|curie|davinci)", 16_384),
    # https://ai.google.dev/gemini-api/docs/models
    (r"gemini-.*tts", 32_768),
    (r"gemini-(1\.5-pro|pro-1\.5)", 2_097_152),
    (r"gemini-(1\.5|flash-1\.5|2|3|live-2)", 1_048_576),
    (r"gemma-[23]", 131_072),
    # https://docs.aws.amazon.com/bedrock/latest/userguide/models-supported.html
    (r"amazon\.nova-sonic", 300_000),
    (r"amazon\.titan-text", 32_768),
    (r"llama-?4-scout", LARGEST),
)
_PATTERNS = tuple((re.compile(pattern), window) for pattern, window in WINDOWS)


@lru_cache(maxsize=1024)
def context_window(model: str, listed: int | None = None) -> int:
    """Return the most input tokens of a model, by its name at any provider. `listed`: what the price list has."""
    known = next((window for pattern, window in _PATTERNS if pattern.search(model)), None)
    return max((window for window in (known, listed) if window), default=LARGEST)
