"""Custom providers: a format that Wirekey knows, on hosts that the operator names, such as Azure OpenAI or OpenRouter.

A path prefix of the provider (`/openai`, `/api`) is no part of its paths as Wirekey knows them: it is removed when a
request is recognised, and added again when it is sent. Azure's paths are described at
https://learn.microsoft.com/azure/ai-foundry/openai/reference.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from wirekey.core.operation import Facts, Kind
from wirekey.providers.anthropic import Anthropic
from wirekey.providers.companions import NO_COMPANIONS, CompanionPaths
from wirekey.providers.description import NO_HEADERS, NO_VARIABLES, ProviderHeaders, ProviderHosts, ProviderVariables
from wirekey.providers.gemini import Gemini
from wirekey.providers.openai import OpenAi
from wirekey.providers.other_models import others
from wirekey.providers.paths import SEGMENT
from wirekey.providers.protocol import Provider

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.core.body import RequestBody
    from wirekey.core.operation import Operation
    from wirekey.providers.model_list import Document, ListedModel
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


class CustomProvider(Provider):
    """The common part of custom providers of all formats. It comes before the class of the format.

    `family` is the provider of that format. Requests to another provider of the same family need no translation.
    """

    setting = "providers.custom"
    has_deployments = False
    """Whether its paths may name a deployment."""

    # Set by the class of the format, and for each provider.
    name: str
    otel_name: str
    price_list: str
    gateway_paths: tuple[str, ...]
    key_setting: str
    key_headers: tuple[str, ...]
    hosts: ProviderHosts
    headers: ProviderHeaders
    companions: CompanionPaths
    variables: ProviderVariables

    def __init__(self, traits: CustomTraits) -> None:
        self.traits = traits
        self.family = self.name
        self.name = self.otel_name = traits.name
        self.hosts = ProviderHosts(traits.hosts[0], MappingProxyType({}))
        self.path_prefix, self.price_list = traits.path, traits.prices
        self.speaks = (traits.speaks, *(form for form in self.speaks if form != traits.speaks))
        if traits.speaks == "openai.chat":
            self.speaks = ("openai.chat",)
        self.gateway_paths, self.compatible_providers, self.leads_by_model = (), (), False
        self.headers, self.companions, self.variables = NO_HEADERS, NO_COMPANIONS, NO_VARIABLES
        self.key_setting, self.client_key_header, self.sdk_header = "", "", ""
        self.key_headers = tuple(dict.fromkeys((traits.header, "authorization")))

    def plain_target(self, target: str) -> str:
        """Return a raw path with its query without the prefix of this provider."""
        prefix = self.path_prefix
        return super().plain_target(target[len(prefix) :] if prefix and target.startswith(f"{prefix}/") else target)

    def credential(self, key: str, path: str) -> tuple[str, str]:
        """Return the header that carries an API key."""
        header = self.traits.header
        return header, f"Bearer {key}" if header == "authorization" else key

    def owns_model(self, model: str) -> bool:
        """Return False: the name of a model alone never leads to a custom provider."""
        return False

    def read_model(self, row: Document) -> ListedModel | None:
        """Return a model of the provider's list, as one of this provider."""
        found = super().read_model(row)  # type: ignore[safe-super]  # that of the format, which comes next
        return replace(found, provider=self.name) if found else None

    def equivalent_target(self, target: bytes, operation: Operation, provider: str) -> bytes | None:
        """Return the target that means the same at another provider. `provider`: this one, or a family."""
        if provider == self.name:
            return target
        plain = self.family_target(target, operation)
        if provider == self.family:
            return plain
        return super().equivalent_target(plain, operation, provider)  # type: ignore[safe-super]  # as above

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
        edited = super().edit_request(operation, target, content_type, body, here)  # type: ignore[safe-super]  # as above
        if here is edits:
            return edited
        changed = edited.model_changed and edits.model is not None
        return replace(edited, target=self.family_target(edited.target, operation), model_changed=changed)


class CustomOpenAi(CustomProvider, OpenAi):
    """A custom provider with OpenAI's format, perhaps with Azure's paths, in which a deployment is the model."""

    has_deployments = True
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


class CustomGemini(CustomProvider, Gemini):
    """A custom provider with Gemini's format."""


class CustomAnthropic(CustomProvider, Anthropic):
    """A custom provider with Anthropic's format."""


FORMS: Mapping[str, type[CustomOpenAi | CustomGemini | CustomAnthropic]] = {
    "openai.chat": CustomOpenAi,
    "openai.responses": CustomOpenAi,
    "gemini": CustomGemini,
    "anthropic": CustomAnthropic,
}
"""The class of custom providers, by the format that they speak."""


def custom_provider(traits: CustomTraits) -> Provider:
    """Return a custom provider."""
    return FORMS[traits.speaks](traits)
