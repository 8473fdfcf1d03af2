"""Vertex AI: models of Google and of partners in a Google Cloud project.

https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest
"""

from __future__ import annotations

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
from wirekey.features.vertex.requests import CLAUDE, VertexRequests, place_of
from wirekey.features.vertex.responses import VertexResponses
from wirekey.providers.companions import NO_COMPANIONS
from wirekey.providers.description import NO_HEADERS, NO_VARIABLES, ProviderHosts
from wirekey.providers.gemini.models import GeminiModels
from wirekey.providers.protocol import Provider

if TYPE_CHECKING:
    from wirekey.core.body import RequestBody
    from wirekey.core.operation import Operation
    from wirekey.providers.model_list import ListedModel


class Vertex(VertexRequests, VertexResponses, VertexErrors, GeminiModels, Provider):
    """Vertex AI: Google's own format, Anthropic's for Claude, and OpenAI's."""

    model_list_targets = ()
    hosts = ProviderHosts(
        own="",
        elsewhere=MappingProxyType(
            {
                "aiplatform.mtls.googleapis.com": "Vertex AI, with a client certificate",
                "*-aiplatform.mtls.googleapis.com": "Vertex AI, with a client certificate",
            }
        ),
        if_configured=MappingProxyType(dict.fromkeys((GLOBAL, f"*-{GLOBAL}", "*.rep.googleapis.com"), "Vertex AI")),
    )
    key_setting = "GOOGLE_APPLICATION_CREDENTIALS"
    headers = NO_HEADERS
    companions = NO_COMPANIONS
    variables = NO_VARIABLES
    key_headers = ("authorization",)
    uses_google_credentials = True
    has_locations = models_have_vendor = rewrites_requests = True
    location_names = LOCATION_NAMES
    speaks = ("gemini", "anthropic", "openai.chat")
    gateway_paths = (live.GATEWAY_PATH,)
    cached_apart = CLAUDE
    counts_beside_choices = True
    otel_name = "gcp.vertex_ai"
    price_list = "google"
    modifier_headers = MappingProxyType({"x-vertex-ai-llm-shared-request-type": "service_tier"})

    def host_of(self, path: str) -> str | None:
        """Return the host of the location that a path names, or None if it names none."""
        place = place_of(path)
        return host_in(place.location) if place else None

    def host_of_message(self, operation: Operation, message: RequestBody) -> str | None:
        """Return the host of the location that the first message of a connection names. Raises Refusal(400)."""
        if operation.body is not Body.MESSAGE:
            return None
        return host_in(live.place_of_setup(message).location) or ""

    def host_in(self, location: str) -> str:
        """Return the host of a location; "" if there is no such location."""
        return host_in(location) or ""

    def location_of(self, host: str) -> str | None:
        """Return the location that a host serves, or None."""
        return location_of(host)

    def in_location(self, target: bytes, location: str) -> bytes:
        """Return a target at another location."""
        return in_location(target, location)

    def answers(self, form: str, model: str) -> bool:
        """Return whether one of its models is called in a format."""
        return answers(form, model)

    def receives(self, operation: Operation, model: str) -> bool:
        """Return whether it answers an operation of another provider in the same format, at a path of its own."""
        form = FORMATS.get(operation.name)
        return form is not None and answers(form, model)

    def receive(  # as in the base class
        self, operation: Operation, target: bytes, body: RequestBody, location: str, model: str, *, stream: bool
    ) -> tuple[bytes, RequestBody]:
        """Return target and body of an operation that it `receives`, as it wants them. Raises Refusal."""
        self.check_model_name(model)
        return moved(operation, target, body, location, model, stream=stream)

    def name_in(self, form: str, model: str) -> str:
        """Return the name of a model as requests in a format have it."""
        return with_publisher(model) if form == "openai.chat" else model

    def default_format(self, client: str, model: str) -> str:
        """Return the format in which a request is sent to a model: that of its maker."""
        return format_of_model(model)

    def inference_path(self, model: ListedModel) -> str:
        """Return the path of a call of one of its models."""
        place = f"/v1/projects/{OWN_PROJECT}/locations/global"
        form = format_of_model(model.id)
        if form == "openai.chat":
            return f"{place}/endpoints/openapi/chat/completions"
        publisher, action = ("anthropic", "rawPredict") if form == "anthropic" else ("google", "generateContent")
        return f"{place}/publishers/{publisher}/models/{model.id}:{action}"

    def credential(self, key: str, path: str) -> tuple[str, str]:
        """Return the header that carries an access token."""
        return "authorization", f"Bearer {key}"
