"""Anthropic: https://docs.anthropic.com/en/api."""

from __future__ import annotations

from wirekey.providers.anthropic.errors import AnthropicErrors
from wirekey.providers.anthropic.models import AnthropicModels
from wirekey.providers.anthropic.requests import AnthropicRequests
from wirekey.providers.anthropic.responses import AnthropicResponses


class Anthropic(AnthropicRequests, AnthropicResponses, AnthropicErrors, AnthropicModels):
    """The protocol of Anthropic's API."""

    key_setting = "ANTHROPIC_API_KEY"

    def credential(self, key: str, path: str) -> tuple[str, str]:
        """Return the header that carries an API key."""
        return "x-api-key", key
