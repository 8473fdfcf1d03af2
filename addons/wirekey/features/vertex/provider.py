"""Vertex AI: models of Google and of partners in a Google Cloud project.

https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from wirekey.core.body import Body
from wirekey.features.vertex import live
from wirekey.features.vertex.errors import VertexErrors
from wirekey.features.vertex.moving import (
    FORMATS,
    answers,
    format_of_model,
    in_location,
    moved,
    with_publisher,
)
from wirekey.features.vertex.places import GLOBAL, LOCATION_NAMES, OWN_PROJECT, host_in, location_of
from wirekey.features.vertex.requests import CLAUDE, CLAUDE_ACTIONS, COUNT, VertexRequests, place_of
from wirekey.features.vertex.responses import VertexResponses
from wirekey.providers.companions import NO_COMPANIONS
from wirekey.providers.description import (
    NO_HEADERS,
    NO_VARIABLES,
    ProviderHosts,
    ProviderLocations,
    ProviderPrices,
    Rewriting,
    bearer_key,
    gateway_paths,
    own_formats,
)
from wirekey.providers.gemini.models import MODELS
from wirekey.providers.protocol import Provider, ProviderOperations

if TYPE_CHECKING:
    from wirekey.core.body import RequestBody
    from wirekey.core.operation import Operation
    from wirekey.providers.model_list import ListedModel


class VertexOperations(VertexRequests, VertexResponses, VertexErrors, ProviderOperations):
    """The operations of Vertex AI: Google's own format, Anthropic's for Claude, and OpenAI's."""


OPERATIONS = VertexOperations()


def host_of(path: str) -> str | None:
    """Return the host of the location that a path names, or None if it names none."""
    place = place_of(path)
    return host_in(place.location) if place else None


def host_of_message(operation: Operation, message: RequestBody) -> str | None:
    """Return the host of the location that the first message of a connection names. Raises Refusal(400)."""
    if operation.body is not Body.MESSAGE:
        return None
    return host_in(live.place_of_setup(message).location) or ""


class VertexRewriting(Rewriting):
    """How Vertex AI accepts requests of its formats."""

    def receives(self, operation: Operation, model: str) -> bool:
        """Return whether it answers an operation of another provider in the same format, at a path of its own."""
        form = FORMATS.get(operation.name)
        return form is not None and answers(form, model)

    def receive(  # a request's parts, as in the base class
        self, operation: Operation, target: bytes, body: RequestBody, location: str, model: str, *, stream: bool
    ) -> tuple[bytes, RequestBody]:
        """Return target and body of an operation that it `receives`, as it wants them. Raises Refusal."""
        OPERATIONS.check_model_name(model)
        return moved(operation, target, body, location, model, stream=stream)


def name_in(form: str, model: str) -> str:
    """Return the name of a model as requests in a format have it."""
    return with_publisher(model) if form == "openai.chat" else model


def inference_path(model: ListedModel) -> str:
    """Return the path of a call of one of its models."""
    place = f"/v1/projects/{OWN_PROJECT}/locations/global"
    form = format_of_model(model.id)
    if form == "openai.chat":
        return f"{place}/endpoints/openapi/chat/completions"
    publisher, action = ("anthropic", "rawPredict") if form == "anthropic" else ("google", "generateContent")
    return f"{place}/publishers/{publisher}/models/{model.id}:{action}"


VERTEX = Provider(
    name="vertex",
    family="",
    setting="providers.vertex",
    otel_name="gcp.vertex_ai",
    otel_operations=MappingProxyType(dict.fromkeys(CLAUDE_ACTIONS, "chat")),
    hosts=ProviderHosts(
        own="",
        elsewhere=MappingProxyType(
            {
                "aiplatform.mtls.googleapis.com": "Vertex AI, with a client certificate",
                "*-aiplatform.mtls.googleapis.com": "Vertex AI, with a client certificate",
            }
        ),
        if_configured=MappingProxyType(dict.fromkeys((GLOBAL, f"*-{GLOBAL}", "*.rep.googleapis.com"), "Vertex AI")),
        shared=(),
        path_prefix="",
        host_of=host_of,
    ),
    gateway=gateway_paths(live.GATEWAY_PATH),
    headers=NO_HEADERS,
    companions=NO_COMPANIONS,
    credentials=replace(bearer_key("GOOGLE_APPLICATION_CREDENTIALS", "", NO_VARIABLES), uses_google=True),
    operations=OPERATIONS,
    formats=replace(
        own_formats(("gemini", "anthropic", "openai.chat"), None),
        rewriting=VertexRewriting(),
        default=lambda _, model: format_of_model(model),
        answers=answers,
        name_in=name_in,
        models_have_vendor=True,
    ),
    prices=ProviderPrices(
        "google",
        counts_cached_apart=CLAUDE.__contains__,
        modifier_headers=MappingProxyType({"x-vertex-ai-llm-shared-request-type": "service_tier"}),
        free=(COUNT, "computeTokens", live.OPERATION.name),
        counts_beside_choices=True,
        model_names_region=False,
    ),
    models=replace(MODELS, targets=(), inference_path=inference_path),
    locations=ProviderLocations(LOCATION_NAMES, host_in, location_of, in_location, host_of_message),
    batches=None,
)
