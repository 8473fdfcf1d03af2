"""Mistral: https://docs.mistral.ai/api. Its chat is OpenAI's with further members, and refuses those that it lacks."""

from __future__ import annotations

import re
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from wirekey.providers.companions import ONLY_CHECKS
from wirekey.providers.description import (
    NOTHING,
    USUAL_LIMITS,
    ProviderHeaders,
    ProviderVariables,
    Rewriting,
    bearer_key,
    gateway_paths,
    one_host,
    own_formats,
    plain_prices,
)
from wirekey.providers.mistral.errors import MistralErrors
from wirekey.providers.mistral.models import MODELS
from wirekey.providers.mistral.receiving import RECEIVED, received
from wirekey.providers.mistral.requests import MistralRequests
from wirekey.providers.mistral.responses import MistralResponses
from wirekey.providers.protocol import Provider, ProviderOperations

if TYPE_CHECKING:
    from wirekey.core.body import RequestBody
    from wirekey.core.operation import Operation

OWN_MODEL = re.compile(
    r"(?:ft:)?(?:labs-|open-)?(?:codestral|devstral|leanstral|magistral|ministral|mistral|mixtral|pixtral|voxtral)(?:[-:]|$)"
)


class MistralOperations(MistralRequests, MistralResponses, MistralErrors, ProviderOperations):
    """The operations of Mistral's API."""


OPERATIONS = MistralOperations()


def is_of_mistral(model: str) -> bool:
    """Return whether a model, called in OpenAI's format, is one of Mistral's."""
    return OWN_MODEL.match(model) is not None


class MistralRewriting(Rewriting):
    """How Mistral accepts requests of OpenAI's format."""

    def receives(self, operation: Operation, model: str) -> bool:
        """Return whether Mistral answers an operation of OpenAI's format."""
        return operation.name in RECEIVED

    def receive(  # a request's parts, as in the base class
        self, operation: Operation, target: bytes, body: RequestBody, location: str, model: str, *, stream: bool
    ) -> tuple[bytes, RequestBody]:
        """Return target and body of an operation that it `receives`, as it wants them. Raises Refusal."""
        OPERATIONS.check_model_name(model)
        return received(operation, body, model)


MISTRAL = Provider(
    name="mistral",
    family="",
    setting="providers.mistral",
    otel_name="mistral_ai",
    otel_operations=NOTHING,
    hosts=one_host(
        "api.mistral.ai",
        MappingProxyType(
            {
                "codestral.mistral.ai": "Codestral, with a key of its own",
                "*.api.mistral.ai": "Mistral, regional",
            }
        ),
    ),
    gateway=gateway_paths(r"/v1/(?:fim|batch|libraries)(?:/.*)?", r"/v1/(?:agents/completions|ocr)"),
    headers=ProviderHeaders(
        account=(),
        shown=("mistral-correlation-id",),
        shown_families=("x-ratelimit-",),
        limits=USUAL_LIMITS,
    ),
    companions=ONLY_CHECKS,
    credentials=bearer_key(
        "MISTRAL_API_KEY",
        "X-Mistral-Key",
        ProviderVariables(
            usual=("MISTRAL_API_KEY",),
            keys=("MISTRAL_API_KEY",),
            own=("MISTRAL_API_KEY", "CODESTRAL_API_KEY"),
            pointers=("MISTRAL_SA_TOKEN_PATH",),
            base_urls=MappingProxyType({"MISTRAL_API_BASE": "/api/v1/mistral/v1"}),
            settings=(),
        ),
    ),
    operations=OPERATIONS,
    formats=replace(
        own_formats(("openai.chat",), "openai.embeddings"), rewriting=MistralRewriting(), owns_model=is_of_mistral
    ),
    prices=replace(plain_prices("mistral"), counts_beside_choices=True),
    models=MODELS,
    locations=None,
    batches=None,
)
