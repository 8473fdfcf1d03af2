"""OpenAI: https://platform.openai.com/docs/api-reference."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from wirekey.providers.companions import ONLY_CHECKS
from wirekey.providers.description import (
    USUAL_LIMITS,
    ProviderHeaders,
    ProviderVariables,
    bearer_key,
    gateway_paths,
    one_host,
    own_formats,
    plain_prices,
)
from wirekey.providers.openai.batches import BATCHES
from wirekey.providers.openai.errors import OpenAiErrors
from wirekey.providers.openai.formats import CHAT, OPENAI_VECTORS, RESPONSES
from wirekey.providers.openai.models import MODELS
from wirekey.providers.openai.requests import OpenAiRequests
from wirekey.providers.openai.responses import OpenAiResponses
from wirekey.providers.protocol import Provider, ProviderOperations


class OpenAiOperations(OpenAiRequests, OpenAiResponses, OpenAiErrors, ProviderOperations):
    """The operations of OpenAI, which many other servers have, too."""


OPENAI = Provider(
    name="openai",
    family="",
    setting="providers.openai",
    otel_name="openai",
    otel_operations=MappingProxyType({"completions": "text_completion"}),
    hosts=one_host(
        "api.openai.com",
        MappingProxyType(
            {
                # Codex sends its API key there, to ask for the list of models.
                "chatgpt.com": "Codex and ChatGPT, signed in with an OpenAI account",
                "*.chatgpt.com": "Codex and ChatGPT, signed in with an OpenAI account",
                "*.api.openai.com": "OpenAI, regional",
            }
        ),
    ),
    gateway=gateway_paths(r"/v1/.*", leads_by_model=True),
    headers=ProviderHeaders(
        account=("openai-organization", "openai-project"),
        shown=("openai-beta", "openai-version", "openai-model", "openai-processing-ms"),
        shown_families=("x-ratelimit-",),
        limits=USUAL_LIMITS,
    ),
    companions=ONLY_CHECKS,
    credentials=bearer_key(
        "OPENAI_API_KEY",
        "X-OpenAI-Key",
        ProviderVariables(
            usual=("OPENAI_API_KEY",),
            keys=("OPENAI_API_KEY", "CODEX_API_KEY"),
            own=(
                "OPENAI_API_KEY",
                "OPENAI_KEY",
                "OPENAI_ADMIN_KEY",
                "OPENAI_ACCESS_TOKEN",
                "OPENAI_WEBHOOK_SECRET",
                "CODEX_API_KEY",
            ),
            pointers=(),
            base_urls=MappingProxyType(
                {
                    "OPENAI_BASE_URL": "/v1",
                    "OPENAI_API_BASE": "/v1",  # LiteLLM, aider, older LangChain
                }
            ),
            settings=(),
        ),
    ),
    operations=OpenAiOperations(),
    formats=replace(own_formats((RESPONSES.name, CHAT.name), OPENAI_VECTORS.name), compatible=("gemini",)),
    prices=replace(plain_prices("openai"), free=("realtime",)),
    models=MODELS,
    locations=None,
    batches=BATCHES,
)
