"""What a provider module offers. Pure: no I/O, no mitmproxy. The registry is in `providers/__init__.py`.

The words: an *operation* is what an endpoint does (`chat.completions`, `generateContent`, `converse`);
*facts* are what audit and policy learn from a request (names and counts, never content); a *reader* is fed
the bytes of an answer as they pass and learns usage and finish reason from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wirekey.errors import Refusal
    from wirekey.providers.model_list import Document, ListedModel
    from wirekey.providers.request_edits import EditedRequest, RequestEdits
    from wirekey.wire.request_body import RequestBody


class Body(StrEnum):
    """How a request body of an operation is treated."""

    NONE = "none"  # there is none, or it is empty
    JSON = "json"  # read whole, strict UTF-8 JSON object
    MULTIPART = "multipart"  # read whole; only small form fields are looked at
    OPAQUE = "opaque"  # streamed through unread (file bytes)


class Kind(StrEnum):
    """What an operation does to the account, for permissions and policy."""

    INFERENCE = "inference"
    LISTING = "listing"  # reads what is public to the account: models
    STORAGE = "storage"  # files, batches, stored responses, caches: shared by all who use the account


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a provider, as found by method and path."""

    name: str
    body: Body
    kind: Kind
    model: str | None = None
    """The model named by the path, decoded; None where the body names it or there is none."""
    stream: bool = False
    """True where the path alone says that the answer is a stream (streamGenerateContent, converse-stream)."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What one request asks for. None means that the operation has no such thing."""

    model: str | None = None
    stream: bool = False
    message_count: int | None = None
    has_system: bool | None = None
    has_tools: bool | None = None
    tool_count: int | None = None
    max_tokens: int | None = None
    tools: tuple[str, ...] = ()
    """Names of the tools offered, for policy; not in the audit event."""
    other_models: tuple[str, ...] = ()
    """Models that the request names besides, which may answer or help: for policy; not in the audit event."""
    asks_usage: bool = True
    """False only where the client streams and did not ask for the usage event that the provider can send."""


@dataclass(slots=True)
class Usage:
    """What an answer cost. Tokens; None means that the provider did not say."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    reasoning_tokens: int | None = None
    finish_reason: str | None = None
    model: str | None = None
    """The model that the answer names, for the price."""
    cache_write_tokens: int | None = None
    """Input tokens that the provider wrote to its cache, for the price; neither input nor cached ones."""


class ResponseReader(Protocol):
    """Learns from the decoded (content-encoding removed) bytes of one answer as they pass.

    Holds at most one unfinished event, bounded; never raises, whatever the provider sends; does not
    keep content. `finished` tells a whole stream from a truncated one; for a plain JSON body it is
    True once the body parsed. `error_type` is the provider's type word of an error event inside a stream.
    """

    usage: Usage
    finished: bool
    error_type: str | None

    def feed(self, data: bytes) -> None: ...
    def end(self) -> None: ...


class Provider(Protocol):
    """One wire protocol."""

    name: str
    """openai, gemini, anthropic, bedrock"""
    model_list_targets: tuple[str, ...]
    """Where the provider lists its models: paths with their query."""
    key_setting: str
    """The environment variable of its SDK for the key: OPENAI_API_KEY, GEMINI_API_KEY, …"""
    key_headers: tuple[str, ...]
    """Headers, in lower case, in which it looks for an API key; `authorization` holds it after `Bearer`."""
    otel_name: str
    """`gen_ai.provider.name` of OpenTelemetry's semantic conventions."""
    price_list: str
    """Its name in the price list of genai-prices."""
    gateway_paths: tuple[str, ...]
    """Patterns of the raw paths at the root of the gateway that belong to it."""

    # What most providers have alike.

    host: str = ""
    """The provider's own host; "" if it has one for each region."""
    uses_aws: bool = False
    """Whether it is a service of AWS: it has a host for each region, and calls without an API key are signed."""
    leads_by_model: bool = False
    """Whether a path of the gateway in its format may lead to another provider, depending on the model."""
    answering_providers: tuple[str, ...] = ()
    """Other providers that answer some of the operations in its format."""
    sdk_header: str = ""
    """A header that only its SDKs send."""
    sdk_paths: str = ""
    """Pattern of the gateway paths that are its own if that header is there, and of a shared format otherwise."""
    key_parameter: str = ""
    """A parameter of the query in which it looks for an API key, too."""
    client_key_header: str = ""
    """The header in which a client sends a key of its own; "" for AWS, which has several."""
    has_upload_ids: bool = False
    """Whether an upload goes on at a URL with an `upload_id`, which is its credential."""
    refused_key_sign: tuple[int, bytes] = (0, b"")
    """An ambiguous status, and the text in its body that means that the key itself was refused."""
    model_list_headers: Mapping[str, str] = MappingProxyType({})
    """Headers that a request for a list of models needs."""
    counts_cached_apart: bool = False
    """Whether its `input_tokens` leave out those that were read from its cache or written to it."""
    model_names_region: bool = False
    """Whether the requested model's name says the region, on which the price depends."""

    @property
    def parameters(self) -> Mapping[str, tuple[str, ...]]:
        """Operation → the parameters of a model's name that its requests can hold. None for other operations."""

    def match_operation(self, method: str, path: str, headers: Mapping[str, str]) -> Operation | None:
        """Find the operation; `path` is raw, without the query. None: no such operation here."""

    def read_request(
        self, operation: Operation, query: Mapping[str, str], content_type: str, body: RequestBody
    ) -> Facts:
        """Read the facts of a request whose body (of an operation with Body.JSON or MULTIPART) is whole.

        Raises Refusal(400) on a body that is not one strict JSON object, or in which something that
        policy reads has the wrong type or stands twice.
        """

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

    def owns_model(self, model: str) -> bool:
        """Return whether a model, asked for in a format that several providers answer, is this provider's own."""
        return False

    def own_facts(self, facts: Facts) -> Facts:
        """Return what a request in a format of another provider asks of this one."""
        return facts

    def reader(
        self,
        operation: Operation,
        facts: Facts,
        status: int,
        content_type: str,
        headers: Mapping[str, str] | None = None,
    ) -> ResponseReader | None:
        """Give a reader for this answer; None where nothing can be learned from it.

        `headers` are the answer's, by lower-case names; Bedrock puts token counts there.
        """

    def credential(self, key: str, path: str) -> tuple[str, str]:
        """Name and value of the header that carries an API key; `path` is raw, without the query."""

    def error_response(self, refusal: Refusal, request_id: str) -> tuple[bytes, dict[str, str]]:
        """Body and headers (content-type among them) of an error in this provider's shape."""

    def stream_error(self, refusal: Refusal, operation: Operation, content_type: str) -> bytes:
        """Bytes to append to a stream that must end with an error, so that the SDK raises."""

    def read_model(self, row: Document) -> ListedModel | None:
        """Return a model of the provider's list, or None if it cannot be called by its name."""

    def inference_path(self, model: ListedModel) -> str:
        """Return the path of a call of one of the provider's models."""

    def write_model(self, model: ListedModel) -> Document:
        """Describe a model of any provider in this provider's format."""

    def write_models(self, models: Sequence[ListedModel]) -> Document:
        """Write a list of models of any provider in this provider's format, in one page."""
