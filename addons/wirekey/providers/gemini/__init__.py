"""Gemini's API on generativelanguage.googleapis.com: https://ai.google.dev/api."""

from __future__ import annotations

from wirekey.providers.gemini.errors import GeminiErrors
from wirekey.providers.gemini.models import GeminiModels
from wirekey.providers.gemini.requests import GeminiRequests
from wirekey.providers.gemini.responses import GeminiResponses


class Gemini(GeminiRequests, GeminiResponses, GeminiErrors, GeminiModels):
    """The protocol of Google's Gemini API, and OpenAI's as Google speaks it."""

    key_setting = "GEMINI_API_KEY"

    def credential(self, key: str, path: str) -> tuple[str, str]:
        """Return the header that carries an API key: each half of the API takes it in one place only."""
        return ("authorization", f"Bearer {key}") if "/openai/" in path else ("x-goog-api-key", key)
