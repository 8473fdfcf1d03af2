"""Gemini's API on generativelanguage.googleapis.com: https://ai.google.dev/api."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from wirekey.providers.companions import ONLY_CHECKS
from wirekey.providers.description import ProviderHeaders, ProviderHosts, ProviderVariables
from wirekey.providers.gemini.errors import GeminiErrors
from wirekey.providers.gemini.facts import as_gemini
from wirekey.providers.gemini.models import GeminiModels
from wirekey.providers.gemini.requests import ACTIONS
from wirekey.providers.gemini.responses import GeminiResponses
from wirekey.providers.gemini.setup import GeminiLiveRequests
from wirekey.providers.protocol import Provider

if TYPE_CHECKING:
    from wirekey.core.operation import Facts


class Gemini(GeminiLiveRequests, GeminiResponses, GeminiErrors, GeminiModels, Provider):
    """Google's Gemini API, and its OpenAI-compatible API."""

    hosts = ProviderHosts(
        own="generativelanguage.googleapis.com",
        elsewhere=MappingProxyType(
            {
                "generativelanguage.mtls.googleapis.com": "Gemini, with a client certificate",
                "firebasevertexai.googleapis.com": "Firebase AI Logic",
            }
        ),
    )
    serves_google_models = models_have_vendor = True
    key_setting = "GEMINI_API_KEY"
    headers = ProviderHeaders(
        account=("x-goog-user-project", "x-goog-quota-user"),
        shown=(
            "x-goog-api-client",
            "x-goog-upload-command",
            "x-goog-upload-offset",
            "x-goog-upload-protocol",
            "x-goog-upload-status",
            "x-goog-upload-chunk-granularity",
        ),
    )
    companions = ONLY_CHECKS
    variables = ProviderVariables(
        usual=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        keys=("GEMINI_API_KEY", "GOOGLE_GENERATIVE_AI_API_KEY", "LLM_GEMINI_KEY"),
        own=(
            "GEMINI_API_KEY",
            "GOOGLE_API_KEY",
            "GOOGLE_GENAI_API_KEY",
            "GOOGLE_GENERATIVE_AI_API_KEY",
            "GOOGLE_AI_API_KEY",
            "PALM_API_KEY",
            "GOOGLE_VERTEX_API_KEY",
            "VERTEX_API_KEY",
            "GOOGLE_APPLICATION_CREDENTIALS_JSON",
            "CLOUDSDK_AUTH_ACCESS_TOKEN",
        ),
        pointers=("GOOGLE_APPLICATION_CREDENTIALS",),
        base_urls=MappingProxyType(
            {
                "GOOGLE_GEMINI_BASE_URL": "",
                "GEMINI_API_BASE": "/v1beta",  # LiteLLM, and so aider and mini-swe-agent
            }
        ),
        settings=("OPENCODE_CONFIG_CONTENT",),  # opencode reads the base URL of Google's models only from there
    )
    key_headers: tuple[str, ...] = ("x-goog-api-key", "authorization")
    key_parameter = "key"
    client_key_header = "X-Gemini-Key"
    # The `reason` of google.rpc.ErrorInfo in the error's `details`.
    refused_key_sign = (400, b"API_KEY_INVALID")
    has_upload_ids = True
    gateway_paths: tuple[str, ...] = (
        r"/(?:upload/|download/)?v1(?:beta|alpha)/.*",
        r"/(?:upload|download)/v1/.*",
        r"//?ws/google\.ai\.generativelanguage\..*",
        rf"/v1/(?:models|tunedModels|dynamic)/[^/]+:(?:{'|'.join(ACTIONS)})",
    )
    compatible_providers = ("openai",)
    speaks = ("gemini",)
    sdk_header = "x-goog-api-client"
    sdk_paths = r"/v1/(?:models|tunedModels|files|cachedContents|batches)(?:/.*)?"
    otel_name = "gcp.gemini"
    price_list = "google"
    modifier_headers = MappingProxyType({"x-gemini-service-tier": "service_tier"})

    def embeddings_format(self, model: str) -> str | None:
        """Return the format of embeddings, which is the same for all models."""
        return "gemini.embeddings"

    def credential(self, key: str, path: str) -> tuple[str, str]:
        """Return the header that carries an API key: each half of the API takes it in one place only."""
        return ("authorization", f"Bearer {key}") if "/openai/" in path else ("x-goog-api-key", key)

    def owns_model(self, model: str) -> bool:
        """Return whether a model, asked for in OpenAI's format, is one of Google's."""
        return model.removeprefix("models/").startswith("gemini-")

    def own_facts(self, facts: Facts) -> Facts:
        """Return what a request in OpenAI's format asks of Gemini."""
        return as_gemini(facts)
