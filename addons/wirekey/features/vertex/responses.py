"""Responses of Vertex AI, each in the format of its request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.features.vertex.requests import CLAUDE, COUNT, OPENAI, as_message
from wirekey.providers.anthropic.responses import AnthropicResponses
from wirekey.providers.gemini.responses import GeminiResponses
from wirekey.providers.openai.responses import OpenAiResponses

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.core.operation import Facts, Operation, ResponseReader

_MESSAGES, _CHAT = AnthropicResponses(), OpenAiResponses()


class VertexResponses(GeminiResponses):
    """Picks the reader of a response."""

    def response_reader(
        self,
        operation: Operation,
        facts: Facts,
        status: int,
        content_type: str,
        headers: Mapping[str, str] | None = None,
    ) -> ResponseReader | None:
        """Return a reader for a response, or None if nothing can be learned from it."""
        if operation.name in CLAUDE and operation.name != COUNT:
            return _MESSAGES.response_reader(as_message(operation), facts, status, content_type, headers)
        if operation.name in OPENAI.values():
            return _CHAT.response_reader(operation, facts, status, content_type, headers)
        if operation.name in (COUNT, "computeTokens"):
            return None
        return super().response_reader(operation, facts, status, content_type, headers)
