"""Errors of Wirekey's own in the formats of Vertex AI: Google's, but in a stream that of its format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.features.vertex.requests import CLAUDE, OPENAI
from wirekey.providers.anthropic.errors import AnthropicErrors
from wirekey.providers.gemini.errors import GeminiErrors
from wirekey.providers.openai.errors import OpenAiErrors

if TYPE_CHECKING:
    from wirekey.core.errors import Refusal
    from wirekey.core.operation import Operation

_MESSAGES, _CHAT = AnthropicErrors(), OpenAiErrors()


class VertexErrors(GeminiErrors):
    """Writes a refusal as Vertex AI would, so that the SDKs raise their usual exceptions."""

    def stream_error(self, refusal: Refusal, operation: Operation, content_type: str) -> bytes:
        """Return the bytes that end a stream with an error; empty if its format has none."""
        if operation.name in CLAUDE:
            return _MESSAGES.stream_error(refusal, operation, content_type)
        if operation.name in OPENAI.values():
            return _CHAT.stream_error(refusal, operation, content_type)
        return super().stream_error(refusal, operation, content_type)
