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


def mcp_server(provider: str) -> str:
    """Name of a provider's proxy in audit events."""
    return f"{provider}-proxy"


def tool_name(provider: str) -> str:
    """Name of a provider's interface in audit events."""
    return f"{provider}-api"
