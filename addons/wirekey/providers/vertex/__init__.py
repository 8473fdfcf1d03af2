"""Vertex AI: models of Google and of partners in a Google Cloud project.

https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest
"""

from __future__ import annotations

from wirekey.egress.hosts import vertex_host
from wirekey.providers.gemini.models import GeminiModels
from wirekey.providers.protocol import Provider
from wirekey.providers.vertex.errors import VertexErrors
from wirekey.providers.vertex.requests import CLAUDE, VertexRequests, place_of
from wirekey.providers.vertex.responses import VertexResponses


class Vertex(VertexRequests, VertexResponses, VertexErrors, GeminiModels, Provider):
    """Vertex AI: Google's own format, Anthropic's for Claude, and OpenAI's."""

    model_list_targets = ()
    key_setting = "GOOGLE_APPLICATION_CREDENTIALS"
    key_headers = ("authorization",)
    uses_google_credentials = True
    gateway_paths = ()
    cached_apart = CLAUDE
    otel_name = "gcp.vertex_ai"
    price_list = "google"

    def host_of(self, path: str) -> str | None:
        """Return the host of the location that a path names, or None if it names none."""
        place = place_of(path)
        return vertex_host(place.location) if place else None

    def default_format(self, client: str, model: str) -> str:
        """Return the client's own format: requests are not translated for Vertex AI."""
        return client

    def credential(self, key: str, path: str) -> tuple[str, str]:
        """Return the header that carries an access token."""
        return "authorization", f"Bearer {key}"
