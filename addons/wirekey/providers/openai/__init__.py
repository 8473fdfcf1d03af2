"""OpenAI: https://platform.openai.com/docs/api-reference."""

from __future__ import annotations

from wirekey.providers.openai.errors import OpenAiErrors
from wirekey.providers.openai.models import OpenAiModels
from wirekey.providers.openai.requests import OpenAiRequests
from wirekey.providers.openai.responses import OpenAiResponses


class OpenAi(OpenAiRequests, OpenAiResponses, OpenAiErrors, OpenAiModels):
    """The protocol of OpenAI, which many other servers speak too."""

    key_setting = "OPENAI_API_KEY"

    def credential(self, key: str, path: str) -> tuple[str, str]:
        """Return the header that carries an API key."""
        return "authorization", f"Bearer {key}"
