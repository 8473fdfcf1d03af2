"""The providers, by name. To add one, add its package and a line here."""

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
"""The provider whose error format is used when a request does not show which provider it is for."""


def owner_of_model(model: str, default: str | None = None) -> str:
    """Return the name of the provider that a model name belongs to, or `default`, or else the default provider."""
    owner = next((name for name, provider in PROVIDERS.items() if provider.owns_model(model)), default)
    return owner or DEFAULT_PROVIDER.name


def accepts_format(provider: str, called: str) -> bool:
    """Return whether a provider accepts requests in the format of the provider `called`."""
    return provider == called or provider in PROVIDERS[called].compatible_providers
