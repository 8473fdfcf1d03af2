"""Which provider answers which other one's wire format, and at which path. Pure.

Google answers OpenAI's format besides its own: https://ai.google.dev/gemini-api/docs/openai
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wirekey.providers.protocol import Operation

PROVIDER_HOSTS = {
    "openai": "api.openai.com",
    "gemini": "generativelanguage.googleapis.com",
    "anthropic": "api.anthropic.com",
}
"""Where a provider is when it was another one that the client called. Bedrock has a host for each region."""

_OPENAI_AT_GEMINI = ("chat.completions", "embeddings", "images.generations", "models.list", "models.get")
_AT_GEMINI = re.compile(rb"/(?:v1beta|v1alpha|v1)/openai(?=/)")


def equivalent_target(target: bytes, operation: Operation, called: str, provider: str) -> bytes | None:
    """Give the target (raw path with its query) that means the same at `provider` as this one where it was called.

    None: that provider does not answer this operation in this format.
    """
    if called == provider:
        return target
    if operation.name not in _OPENAI_AT_GEMINI:
        return None
    if (called, provider) == ("openai", "gemini"):
        return b"/v1beta/openai" + target.removeprefix(b"/v1")
    if (called, provider) == ("gemini", "openai") and (found := _AT_GEMINI.match(target)):
        return b"/v1" + target[found.end() :]
    return None


def speaks(called: str, provider: str) -> bool:
    """Tell whether `provider` answers any operation of the format of `called`."""
    return called == provider or {called, provider} == {"openai", "gemini"}
