"""Custom providers: a format that Wirekey knows, on hosts that the operator names, such as Azure OpenAI or OpenRouter.

A path prefix of the provider (`/openai`, `/api`) is no part of its paths as Wirekey knows them: it is removed when a
request is recognised, and added again when it is sent. Azure's paths are described at
https://learn.microsoft.com/azure/ai-foundry/openai/reference.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wirekey.core.operation import Facts, Kind
from wirekey.providers.anthropic import ANTHROPIC, AnthropicOperations
from wirekey.providers.companions import NO_COMPANIONS
from wirekey.providers.description import NO_HEADERS, NO_VARIABLES, NOTHING, always, gateway_paths, key_in, one_host
from wirekey.providers.formats import FORMATS
from wirekey.providers.gemini import GEMINI, GeminiOperations
from wirekey.providers.openai import OPENAI, OpenAiOperations
from wirekey.providers.other_models import others
from wirekey.providers.paths import SEGMENT
from wirekey.providers.request_edits import RequestEditor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wirekey.core.body import RequestBody
    from wirekey.core.operation import Operation
    from wirekey.providers.model_list import ListedModel
    from wirekey.providers.protocol import Provider, ProviderOperations
    from wirekey.providers.request_edits import EditedRequest, RequestEdits

DEPLOYMENT = re.compile(rf"/deployments/(?P<model>{SEGMENT})(?P<rest>/.+)")
OF_DEPLOYMENT = re.compile(r"/deployments(?:/|$)", re.IGNORECASE)
"""A path that Azure may take for one of a deployment, in whatever case it is written."""
WITHOUT_VERSION = re.compile(r"(?!/v1/|/deployments/)/.+")
API_VERSION = re.compile(rb"(?:^|&)api-version=[^&]*")


@dataclass(frozen=True, slots=True)
class CustomTraits:
    """The operator's settings of a custom provider. `header`: the lower-case name of the header with its key."""

    name: str
    hosts: tuple[str, ...]
    speaks: str
    header: str = "authorization"
    path: str = ""
    deployments: bool = False
    prices: str = ""


class CustomOperations(RequestEditor):
    """The common part of the operations of custom providers. It comes before the class of the format.

    `family` is the provider of that format. Requests to another provider of the same family need no translation.
    """

    def __init__(self, traits: CustomTraits) -> None:
        self.traits = traits
        self.family, self.name = self.name, traits.name

    def plain_target(self, target: str) -> str:
        """Return a raw path with its query without the prefix of this provider."""
        prefix = self.traits.path
        return super().plain_target(target[len(prefix) :] if prefix and target.startswith(f"{prefix}/") else target)

    def equivalent_target(self, target: bytes, operation: Operation, provider: str) -> bytes | None:
        """Return the target that means the same at another provider. `provider`: this one, or a family."""
        if provider == self.name:
            return target
        plain = self.family_target(target, operation)
        if provider == self.family:
            return plain
        return super().equivalent_target(plain, operation, provider)

    def family_target(self, target: bytes, operation: Operation) -> bytes:
        """Return a target as the family writes it."""
        return target

    def edit_request(  # as in the base class
        self, operation: Operation, target: bytes, content_type: str, body: RequestBody, edits: RequestEdits
    ) -> EditedRequest:
        """Return a recognised, well-formed request with all edits; at another provider, the body names the model."""
        here = edits
        if edits.provider == self.family:
            here = replace(edits, provider=self.name, model=edits.model or operation.model)
        edited = super().edit_request(operation, target, content_type, body, here)
        if here is edits:
            return edited
        changed = edited.model_changed and edits.model is not None
        return replace(edited, target=self.family_target(edited.target, operation), model_changed=changed)


class CustomOpenAi(CustomOperations, OpenAiOperations):
    """The operations of OpenAI's format, perhaps with Azure's paths, in which a deployment is the model."""

    model_in_path = re.compile(rb"/(?:models|deployments)/([^/]+)")

    def match_operation(self, method: str, path: str, headers: Mapping[str, str]) -> Operation | None:
        """Return the operation of a method and raw path, or None."""
        if not self.traits.deployments:
            return super().match_operation(method, path, headers)
        found = DEPLOYMENT.fullmatch(path)
        if found is None and OF_DEPLOYMENT.match(path):
            return None
        operation = super().match_operation(method, self.family_path(path), headers)
        if found is None or operation is None:
            return operation
        # Other operations exist only without a deployment; the rest of the path may be anything, also a deployment.
        return replace(operation, model=found["model"]) if operation.kind is Kind.INFERENCE else None

    def family_path(self, path: str) -> str:
        """Return a path as OpenAI has it."""
        if found := DEPLOYMENT.fullmatch(path):
            return f"/v1{found['rest']}"
        return f"/v1{path}" if WITHOUT_VERSION.fullmatch(path) else path

    def family_target(self, target: bytes, operation: Operation) -> bytes:
        """Return a target as OpenAI writes it, which has no `api-version`."""
        if not self.traits.deployments:
            return target
        path, _, query = target.partition(b"?")
        path = self.family_path(path.decode("latin-1")).encode("latin-1")
        query = API_VERSION.sub(b"", query).removeprefix(b"&")
        return path + (b"?" + query if query else b"")

    def read_request(
        self, operation: Operation, query: Mapping[str, str], content_type: str, body: RequestBody
    ) -> Facts:
        """Return what a request asks for. Raises Refusal(400)."""
        return self.facts_at(operation, super().read_request(operation, query, content_type, body))

    def facts_at(self, operation: Operation, facts: Facts) -> Facts:
        """Return the facts of a request whose path names the deployment. Azure ignores the model of the body then."""
        model = operation.model
        if model is None or operation.kind is not Kind.INFERENCE:
            return facts
        return replace(facts, model=model, other_models=others([facts.model, *facts.other_models], model))


class CustomGemini(CustomOperations, GeminiOperations):
    """The operations of Gemini's format."""


class CustomAnthropic(CustomOperations, AnthropicOperations):
    """The operations of Anthropic's format."""


FAMILIES = ((OPENAI, CustomOpenAi), (GEMINI, CustomGemini), (ANTHROPIC, CustomAnthropic))
FORMS: Mapping[str, tuple[Provider, Callable[[CustomTraits], ProviderOperations]]] = {
    form.name: (family, made) for family, made in FAMILIES for form in FORMATS.values() if form.called == family.name
}
"""The family of custom providers, and the class of their operations, by the format that they speak."""


def custom_provider(traits: CustomTraits) -> Provider:
    """Return a custom provider: its family, with hosts, credentials and operations of its own."""
    family, operations = FORMS[traits.speaks]
    others = () if FORMATS[traits.speaks].counted_in else family.formats.speaks
    return replace(
        family,
        name=traits.name,
        family=family.name,
        setting="providers.custom",
        otel_name=traits.name,
        hosts=replace(one_host(traits.hosts[0], NOTHING), path_prefix=traits.path),
        gateway=gateway_paths(),
        headers=NO_HEADERS,
        companions=NO_COMPANIONS,
        credentials=replace(
            family.credentials,
            setting="",
            headers=tuple(dict.fromkeys((traits.header, "authorization"))),
            header=key_in(traits.header),
            client_header="",
            variables=NO_VARIABLES,
        ),
        operations=operations(traits),
        formats=replace(
            family.formats,
            speaks=(traits.speaks, *(form for form in others if form != traits.speaks)),
            compatible=(),
            default=always(traits.speaks),
            owns_model=always(False),  # the name of a model alone never leads to a custom provider
        ),
        prices=replace(family.prices, price_list=traits.prices),
        models=replace(family.models, read_model=lambda row: own_model(family.models.read_model(row), traits.name)),
    )


def own_model(listed: ListedModel | None, name: str) -> ListedModel | None:
    """Return a model of the list, as one of this provider."""
    return replace(listed, provider=name) if listed else None
