"""The messages of the Live API at Vertex AI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.features.realtime.gemini import GeminiLive
from wirekey.providers.vertex.live import with_bare_model

if TYPE_CHECKING:
    from wirekey.core.operation import Facts
    from wirekey.providers.request_json import JsonObject


class VertexLive(GeminiLive):
    """The messages of the Live API at Vertex AI."""

    def read_setup(self, message: JsonObject) -> Facts:
        """Return the facts of a `setup`. Raises Refusal(400) if it names no model of a place."""
        return with_bare_model(super().read_setup(message))
