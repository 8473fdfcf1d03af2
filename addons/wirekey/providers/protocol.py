"""The interface of a provider package. Pure: no I/O, no mitmproxy. The registry is in `registry.py`."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wirekey.core.body import RequestBody
    from wirekey.core.errors import Refusal
    from wirekey.core.operation import Facts, Operation, ResponseReader
    from wirekey.providers.companions import CompanionPaths
    from wirekey.providers.description import ProviderHeaders, ProviderHosts, ProviderVariables
    from wirekey.providers.model_list import Document, ListedModel
    from wirekey.providers.request_edits import EditedRequest, RequestEdits


class Provider(Protocol):
    """One wire protocol."""

    name: str
    """Its name in the registry: Wirekey's own, or the one that the configuration gives it."""
    model_list_targets: tuple[str, ...]
    """The paths, with their query, under which the provider lists its models."""
    key_setting: str
    """The environment variable of its SDK for the key: OPENAI_API_KEY, GEMINI_API_KEY, …"""
    key_headers: tuple[str, ...]
    """Headers, in lower case, in which it looks for an API key; `authorization` holds it after `Bearer`."""
    otel_name: str
    """`gen_ai.provider.name` of OpenTelemetry's semantic conventions."""
    hosts: ProviderHosts
    headers: ProviderHeaders
    companions: CompanionPaths
    variables: ProviderVariables
    price_list: str
    """Its name in the price list of genai-prices."""
    gateway_paths: tuple[str, ...]
    """Patterns of the raw paths at the root of the gateway that belong to it."""

    # Attributes that most providers share.

    family: str = ""
    """The provider whose format and paths it has, if the configuration makes it; "" for the others."""
    path_prefix: str = ""
    """The path before those that Wirekey knows, which only the upstream's own requests have: `/openai` at Azure."""
    uses_aws: bool = False
    """Whether it is a service of AWS: it has a host for each region, and calls without an API key are signed."""
    uses_google_credentials: bool = False
    """Whether its calls are sent with an access token of Google's."""
    keyless: tuple[str, ...] = ()
    """Operations whose requests may lack a key, as their body has the credential."""
    has_locations: bool = False
    """Whether each path names a location, which has a host of its own."""
    location_names: str = ""
    """The names that a location may have, in words."""
    rewrites_requests: bool = False
    """Whether it receives requests of other providers in their format, and wants them changed by `receive`."""
    serves_google_models: bool = False
    """Whether a request in OpenAI's format is read by a model of Google's."""
    models_have_vendor: bool = False
    """Whether the vendor of a model may stand before its name, as in `gemini:google/NAME`."""
    leads_by_model: bool = False
    """Whether a path of the gateway in its format may lead to another provider, depending on the model."""
    speaks: tuple[str, ...] = ()
    """The formats in which a translated request can be sent to it; the first is the default."""
    compatible_providers: tuple[str, ...] = ()
    """Other providers that answer some of the operations in its format."""
    sdk_header: str = ""
    """A header that only its SDKs send."""
    sdk_paths: str = ""
    """Pattern of the gateway paths that are its own if that header is there, and of a shared format otherwise."""
    unversioned_paths: str = "(?!)"
    """Pattern of the gateway paths, with that header, to which an SDK does not add the version `/v1`."""
    key_parameter: str = ""
    """A parameter of the query in which it looks for an API key, too."""
    client_key_header: str = ""
    """The header in which a client sends a key of its own; "" for AWS, which has several."""
    has_upload_ids: bool = False
    """Whether an upload continues at a URL with an `upload_id`, which is its credential."""
    refused_key_sign: tuple[int, bytes] = (0, b"")
    """An ambiguous status, and the text in its body that means that the key itself was refused."""
    model_list_headers: Mapping[str, str] = MappingProxyType({})
    """Headers that a request for a list of models needs."""
    counts_cached_apart: bool = False
    """Whether its own count of input leaves out what was read from its cache or written to it."""
    cached_apart: tuple[str, ...] = ()
    """The operations whose count of input leaves that out, if those of the others do not."""
    modifier_headers: Mapping[str, str] = MappingProxyType({})
    """Header of a request or a response, in lower case → the modifier of the price that it states."""
    counts_beside_choices: bool = False
    """Whether its streams in OpenAI's format have token counts in events with choices, if they were asked for."""
    model_names_region: bool = False
    """Whether the requested model's name says the region, on which the price depends."""

    @property
    def setting(self) -> str:
        """The setting in `wirekey.yaml` that enables it."""
        return f"providers.{self.name}"

    @property
    def parameters(self) -> Mapping[str, tuple[str, ...]]:
        """Operation → the parameters of a model's name that its requests can hold. None for other operations."""

    def host_of(self, path: str) -> str | None:
        """Return the host that must serve a raw path, or None if any host of the provider may."""
        return None

    def host_of_message(self, operation: Operation, message: RequestBody) -> str | None:
        """Return the host that must serve the first message of a connection, or None if any host of the provider may.

        "" if the message names no place that there is. Raises Refusal(400) for a message that is not valid.
        """
        return None

    def host_in(self, location: str) -> str:
        """Return the host of a location; "" if it has no such location."""
        return ""

    def location_of(self, host: str) -> str | None:
        """Return the location that a host serves, or None."""
        return None

    def in_location(self, target: bytes, location: str) -> bytes:
        """Return a target at another location; the same if it has no locations."""
        return target

    def answers(self, form: str, model: str) -> bool:
        """Return whether one of its models is called in a format."""
        return True

    def receives(self, operation: Operation, model: str) -> bool:
        """Return whether it answers an operation of another provider in the same format, at a path of its own."""
        return False

    def receive(  # a request's parts, in the order in which they are known
        self, operation: Operation, target: bytes, body: RequestBody, location: str, model: str, *, stream: bool
    ) -> tuple[bytes, RequestBody]:
        """Return target and body of an operation that it `receives`, as it wants them. `model`: the one to ask for.

        Raises Refusal if the request or the model's name cannot stand there.
        """
        return target, body

    def name_in(self, form: str, model: str) -> str:
        """Return the name of a model as requests in a format have it."""
        return model

    def plain_target(self, target: str) -> str:
        """Return a raw path with its query in the one spelling that `match_operation` knows."""
        return target

    def match_operation(self, method: str, path: str, headers: Mapping[str, str]) -> Operation | None:
        """Return the operation of a request, or None. `path` is raw, without the query."""

    def check_head(self, operation: Operation, query: Mapping[str, str], headers: Mapping[str, str]) -> None:
        """Raise Refusal(400) if the head of a request asks its servers for a response that cannot be metered.

        That of a request in another provider's format, too, if it is sent there.
        """
        return

    def read_upgrade(self, operation: Operation, query: Mapping[str, str]) -> Operation:
        """Return the operation of a request that opens a WebSocket, with its model. Raises Refusal(400)."""
        return operation

    def read_request(
        self, operation: Operation, query: Mapping[str, str], content_type: str, body: RequestBody
    ) -> Facts:
        """Return the facts of a request whose body (of an operation with Body.JSON or MULTIPART) is complete.

        Raises Refusal(400) on a body that is not one strict JSON object, or in which something that
        policy reads has the wrong type or appears twice.
        """

    def facts_at(self, operation: Operation, facts: Facts) -> Facts:
        """Return the facts of a request whose body was read as one of the family, with what its path says."""
        return facts

    def edit_request(  # a request's parts, in the order in which they are known
        self, operation: Operation, target: bytes, content_type: str, body: RequestBody, edits: RequestEdits
    ) -> EditedRequest:
        """Return a recognised, well-formed request with all edits; every other byte stays as it is.

        Raises Refusal(403) or ModelNameError if it cannot be edited so; see `RequestEditor`.
        """

    def equivalent_target(self, target: bytes, operation: Operation, provider: str) -> bytes | None:
        """Return the target (raw path with its query) that means the same at another provider.

        None if that provider does not answer this operation in this format.
        """

    def default_format(self, client: str, model: str) -> str:
        """Return the format in which a request of a client's format is sent to a model, unless the route says one."""
        return self.speaks[0]

    def embeddings_format(self, model: str) -> str | None:
        """Return the format of the provider's requests for vectors by a model, or None if it makes no vectors."""
        return None

    def owns_model(self, model: str) -> bool:
        """Return whether a model, asked for in a format that several providers answer, is this provider's own."""
        return False

    def own_facts(self, facts: Facts) -> Facts:
        """Return what a request in a format of another provider asks of this one."""
        return facts

    def response_reader(
        self,
        operation: Operation,
        facts: Facts,
        status: int,
        content_type: str,
        headers: Mapping[str, str] | None = None,
    ) -> ResponseReader | None:
        """Return a reader for a response, or None if nothing can be learned from it.

        `headers` are the response's, by lower-case name; Bedrock puts token counts there.
        """

    def credential(self, key: str, path: str) -> tuple[str, str]:
        """Return name and value of the header that carries an API key; `path` is raw, without the query."""

    def error_response(self, refusal: Refusal, request_id: str) -> tuple[bytes, dict[str, str]]:
        """Return body and headers (content-type among them) of an error in this provider's format."""

    def stream_error(self, refusal: Refusal, operation: Operation, content_type: str) -> bytes:
        """Return the bytes that end a stream with an error, so that the SDK raises; empty if the format has none."""

    def read_model(self, row: Document) -> ListedModel | None:
        """Return a model of the provider's list, or None if it cannot be called by its name."""

    def inference_path(self, model: ListedModel) -> str:
        """Return the path of a call of one of the provider's models."""

    def write_model(self, model: ListedModel) -> Document:
        """Describe a model of any provider in this provider's format."""

    def write_models(self, models: Sequence[ListedModel]) -> Document:
        """Write a list of models of any provider in this provider's format, in one page."""
