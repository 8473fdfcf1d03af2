"""Gemini's API on generativelanguage.googleapis.com: https://ai.google.dev/api."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from wirekey.providers.companions import ONLY_CHECKS
from wirekey.providers.description import (
    NEVER,
    NOTHING,
    USUAL_LIMITS,
    ProviderGateway,
    ProviderHeaders,
    ProviderVariables,
    bearer_key,
    one_host,
    own_formats,
    plain_prices,
)
from wirekey.providers.gemini.batches import BATCHES
from wirekey.providers.gemini.errors import GeminiErrors
from wirekey.providers.gemini.facts import as_gemini
from wirekey.providers.gemini.formats import GEMINI_VECTORS, GENERATE_CONTENT
from wirekey.providers.gemini.models import MODELS
from wirekey.providers.gemini.requests import ACTIONS
from wirekey.providers.gemini.responses import GeminiResponses
from wirekey.providers.gemini.setup import GeminiLiveRequests
from wirekey.providers.protocol import Provider, ProviderOperations


class GeminiOperations(GeminiLiveRequests, GeminiResponses, GeminiErrors, ProviderOperations):
    """The operations of Google's Gemini API, and of its OpenAI-compatible API."""


def key_header(key: str, path: str) -> tuple[str, str]:
    """Return the header that carries an API key: each half of the API takes it in one place only."""
    return ("authorization", f"Bearer {key}") if "/openai/" in path else ("x-goog-api-key", key)


def is_of_google(model: str) -> bool:
    """Return whether a model, called in OpenAI's format, is one of Google's."""
    return model.removeprefix("models/").startswith("gemini-")


GEMINI = Provider(
    name="gemini",
    family="",
    setting="providers.gemini",
    otel_name="gcp.gemini",
    otel_operations=NOTHING,
    hosts=one_host(
        "generativelanguage.googleapis.com",
        MappingProxyType(
            {
                "generativelanguage.mtls.googleapis.com": "Gemini, with a client certificate",
                "firebasevertexai.googleapis.com": "Firebase AI Logic",
            }
        ),
    ),
    gateway=ProviderGateway(
        paths=(
            r"/(?:upload/|download/)?v1(?:beta|alpha)/.*",
            r"/(?:upload|download)/v1/.*",
            r"//?ws/google\.ai\.generativelanguage\..*",
            rf"/v1/(?:models|tunedModels|dynamic)/[^/]+:(?:{'|'.join(ACTIONS)})",
        ),
        leads_by_model=False,
        sdk_header="x-goog-api-client",
        sdk_paths=r"/v1/(?:models|tunedModels|files|cachedContents|batches)(?:/.*)?",
        unversioned_paths=NEVER,
    ),
    headers=ProviderHeaders(
        account=("x-goog-user-project", "x-goog-quota-user"),
        shown=(
            "x-goog-api-client",
            "x-goog-upload-command",
            "x-goog-upload-offset",
            "x-goog-upload-protocol",
            "x-goog-upload-status",
            "x-goog-upload-chunk-granularity",
        ),
        shown_families=(),
        limits=USUAL_LIMITS,
    ),
    companions=ONLY_CHECKS,
    credentials=replace(
        bearer_key(
            "GEMINI_API_KEY",
            "X-Gemini-Key",
            ProviderVariables(
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
            ),
        ),
        headers=("x-goog-api-key", "authorization"),
        header=key_header,
        parameter="key",
        has_upload_ids=True,
        refused_sign=(400, b"API_KEY_INVALID"),  # the `reason` of google.rpc.ErrorInfo in the error's `details`
    ),
    operations=GeminiOperations(),
    formats=replace(
        own_formats((GENERATE_CONTENT.name,), GEMINI_VECTORS.name),
        compatible=("openai",),
        owns_model=is_of_google,
        own_facts=as_gemini,
        serves_google_models=True,
        models_have_vendor=True,
    ),
    prices=replace(
        plain_prices("google"),
        modifier_headers=MappingProxyType({"x-gemini-service-tier": "service_tier"}),
        free=("computeTokens", "realtime", "realtime.constrained"),
    ),
    models=MODELS,
    locations=None,
    batches=BATCHES,
)
