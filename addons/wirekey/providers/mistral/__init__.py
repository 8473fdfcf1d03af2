"""Mistral: https://docs.mistral.ai/api. Its chat is OpenAI's with further members, and refuses those that it lacks."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from wirekey.providers.companions import ONLY_CHECKS
from wirekey.providers.description import ProviderHeaders, ProviderHosts, ProviderVariables
from wirekey.providers.mistral.errors import MistralErrors
from wirekey.providers.mistral.models import MistralModels
from wirekey.providers.mistral.receiving import RECEIVED, received
from wirekey.providers.mistral.requests import MistralRequests
from wirekey.providers.mistral.responses import MistralResponses
from wirekey.providers.protocol import Provider

if TYPE_CHECKING:
    from wirekey.core.body import RequestBody
    from wirekey.core.operation import Operation

OWN_MODEL = re.compile(
    r"(?:ft:)?(?:labs-|open-)?(?:codestral|devstral|leanstral|magistral|ministral|mistral|mixtral|pixtral|voxtral)(?:[-:]|$)"
)


class Mistral(MistralRequests, MistralResponses, MistralErrors, MistralModels, Provider):
    """The protocol of Mistral's API."""

    hosts = ProviderHosts(
        own="api.mistral.ai",
        elsewhere=MappingProxyType(
            {
                "codestral.mistral.ai": "Codestral, with a key of its own",
                "*.api.mistral.ai": "Mistral, regional",
            }
        ),
    )
    key_setting = "MISTRAL_API_KEY"
    headers = ProviderHeaders(account=(), shown=("mistral-correlation-id",), shown_families=("x-ratelimit-",))
    companions = ONLY_CHECKS
    variables = ProviderVariables(
        usual=("MISTRAL_API_KEY",),
        keys=("MISTRAL_API_KEY",),
        own=("MISTRAL_API_KEY", "CODESTRAL_API_KEY"),
        pointers=("MISTRAL_SA_TOKEN_PATH",),
        base_urls=MappingProxyType({"MISTRAL_API_BASE": "/api/v1/mistral/v1"}),
    )
    key_headers: tuple[str, ...] = ("authorization",)
    client_key_header = "X-Mistral-Key"
    gateway_paths: tuple[str, ...] = (r"/v1/(?:fim|batch|libraries)(?:/.*)?", r"/v1/(?:agents/completions|ocr)")
    rewrites_requests = True
    counts_beside_choices = True
    speaks = ("openai.chat",)
    otel_name = "mistral_ai"
    price_list = "mistral"

    def embeddings_format(self, model: str) -> str | None:
        """Return the format of embeddings, which is the same for all models."""
        return "openai.embeddings"

    def credential(self, key: str, path: str) -> tuple[str, str]:
        """Return the header that carries an API key."""
        return "authorization", f"Bearer {key}"

    def owns_model(self, model: str) -> bool:
        """Return whether a model, asked for in OpenAI's format, is one of Mistral's."""
        return OWN_MODEL.match(model) is not None

    def receives(self, operation: Operation, model: str) -> bool:
        """Return whether it answers an operation of OpenAI's format."""
        return operation.name in RECEIVED

    def receive(  # as in the base class
        self, operation: Operation, target: bytes, body: RequestBody, location: str, model: str, *, stream: bool
    ) -> tuple[bytes, RequestBody]:
        """Return target and body of an operation that it `receives`, as it wants them. Raises Refusal."""
        self.check_model_name(model)
        return received(operation, body, model)
