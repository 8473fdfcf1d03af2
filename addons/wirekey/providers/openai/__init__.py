"""OpenAI: https://platform.openai.com/docs/api-reference."""

from __future__ import annotations

from types import MappingProxyType

from wirekey.providers.companions import ONLY_CHECKS
from wirekey.providers.description import ProviderHeaders, ProviderHosts, ProviderVariables
from wirekey.providers.openai.errors import OpenAiErrors
from wirekey.providers.openai.models import OpenAiModels
from wirekey.providers.openai.requests import OpenAiRequests
from wirekey.providers.openai.responses import OpenAiResponses
from wirekey.providers.protocol import Provider


class OpenAi(OpenAiRequests, OpenAiResponses, OpenAiErrors, OpenAiModels, Provider):
    """The protocol of OpenAI, which many other servers speak too."""

    hosts = ProviderHosts(
        own="api.openai.com",
        elsewhere=MappingProxyType(
            {
                # Codex sends its API key there, to ask for the list of models.
                "chatgpt.com": "Codex and ChatGPT, signed in with an OpenAI account",
                "*.chatgpt.com": "Codex and ChatGPT, signed in with an OpenAI account",
                "*.api.openai.com": "OpenAI, regional",
            }
        ),
    )
    key_setting = "OPENAI_API_KEY"
    headers = ProviderHeaders(
        account=("openai-organization", "openai-project"),
        shown=("openai-beta", "openai-version", "openai-model", "openai-processing-ms"),
        shown_families=("x-ratelimit-",),
    )
    companions = ONLY_CHECKS
    variables = ProviderVariables(
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
    )
    key_headers: tuple[str, ...] = ("authorization",)
    client_key_header = "X-OpenAI-Key"
    gateway_paths: tuple[str, ...] = (r"/v1/.*",)
    leads_by_model = True
    speaks = ("openai.responses", "openai.chat")
    compatible_providers = ("gemini",)
    otel_name = price_list = "openai"

    def embeddings_format(self, model: str) -> str | None:
        """Return the format of embeddings, which is the same for all models."""
        return "openai.embeddings"

    def credential(self, key: str, path: str) -> tuple[str, str]:
        """Return the header that carries an API key."""
        return "authorization", f"Bearer {key}"
