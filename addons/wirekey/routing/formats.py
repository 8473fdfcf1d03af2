"""Which provider answers which other one's wire format, and at which path. Pure.

Google answers OpenAI's format besides its own: https://ai.google.dev/gemini-api/docs/openai
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.providers import PROVIDERS

if TYPE_CHECKING:
    from wirekey.providers.protocol import Operation

PROVIDER_HOSTS = {
    "openai": "api.openai.com",
    "gemini": "generativelanguage.googleapis.com",
    "anthropic": "api.anthropic.com",
}
"""Where a provider is when it was another one that the client called. Bedrock has a host for each region."""


def equivalent_target(target: bytes, operation: Operation, called: str, provider: str) -> bytes | None:
    """Give the target (raw path with its query) that means the same at `provider` as this one where it was called.

    None: that provider does not answer this operation in this format.
    """
    return PROVIDERS[called].equivalent_target(target, operation, provider)


def speaks(called: str, provider: str) -> bool:
    """Tell whether `provider` answers any operation of the format of `called`."""
    return called == provider or {called, provider} == {"openai", "gemini"}
