"""The providers, by name. A new one is a module and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.providers.anthropic import Anthropic
from wirekey.providers.bedrock import Bedrock
from wirekey.providers.gemini import Gemini
from wirekey.providers.openai import OpenAi

if TYPE_CHECKING:
    from wirekey.providers.protocol import Provider

PROVIDERS: dict[str, Provider] = {
    "openai": OpenAi(),
    "gemini": Gemini(),
    "anthropic": Anthropic(),
    "bedrock": Bedrock(),
}


DEFAULT_PROVIDER = PROVIDERS["openai"]
"""Its format is spoken where nothing says which one is meant."""


def owner_of_model(model: str) -> str:
    """Return the provider that a model belongs to, as far as its name tells; else the default provider."""
    return next((name for name, provider in PROVIDERS.items() if provider.owns_model(model)), DEFAULT_PROVIDER.name)


def answers_format(provider: str, called: str) -> bool:
    """Return whether a provider answers any operation in the format of the provider that was called."""
    return provider == called or provider in PROVIDERS[called].answering_providers


def mcp_server(provider: str) -> str:
    """Name of a provider's proxy in audit events."""
    return f"{provider}-proxy"


def tool_name(provider: str) -> str:
    """Name of a provider's interface in audit events."""
    return f"{provider}-api"
