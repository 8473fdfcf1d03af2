"""The description of a provider. Pure: no I/O, no mitmproxy. The registry is in `registry.py`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.core.body import RequestBody
    from wirekey.core.errors import Refusal
    from wirekey.core.operation import Facts, Operation, ResponseReader
    from wirekey.providers.batches import BatchApi
    from wirekey.providers.companions import CompanionPaths
    from wirekey.providers.description import (
        ProviderCredentials,
        ProviderFormats,
        ProviderGateway,
        ProviderHeaders,
        ProviderHosts,
        ProviderLocations,
        ProviderModels,
        ProviderPrices,
    )
    from wirekey.providers.request_edits import EditedRequest, RequestEdits


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One provider. Each value says one thing of it; those that most providers lack are None."""

    name: str
    """Its name in the registry: Wirekey's own, or the one that the configuration gives it."""
    family: str
    """The provider whose format and paths it has, if the configuration makes it; "" for the others."""
    setting: str
    """The setting in `wirekey.yaml` that enables it."""
    otel_name: str
    """`gen_ai.provider.name` of OpenTelemetry's semantic conventions."""
    otel_operations: Mapping[str, str]
    """Operation → `gen_ai.operation.name`, for those of no format that have a name in these conventions."""
    hosts: ProviderHosts
    gateway: ProviderGateway
    headers: ProviderHeaders
    companions: CompanionPaths
    credentials: ProviderCredentials
    operations: ProviderOperations
    formats: ProviderFormats
    prices: ProviderPrices
    models: ProviderModels
    locations: ProviderLocations | None
    batches: BatchApi | None

    def receives(self, operation: Operation, model: str) -> bool:
        """Return whether it answers an operation of another provider in the same format, at a path of its own."""
        rewriting = self.formats.rewriting
        return rewriting is not None and rewriting.receives(operation, model)

    def location_of(self, host: str) -> str | None:
        """Return the location that a host serves, or None."""
        return self.locations.location_of(host) if self.locations else None


class ProviderOperations(ABC):
    """The operations of a provider: how its requests are recognised, read and edited, and its responses read."""

    @property
    @abstractmethod
    def parameters(self) -> Mapping[str, tuple[str, ...]]:
        """Operation → the parameters of a model's name that its requests can hold. None for other operations."""

    @abstractmethod
    def plain_target(self, target: str) -> str:
        """Return a raw path with its query in the one spelling that `match_operation` knows."""

    @abstractmethod
    def match_operation(self, method: str, path: str, headers: Mapping[str, str]) -> Operation | None:
        """Return the operation of a request, or None. `path` is raw, without the query."""

    @abstractmethod
    def check_head(self, operation: Operation, query: Mapping[str, str], headers: Mapping[str, str]) -> None:
        """Raise Refusal(400) if the head of a request asks its servers for a response that cannot be metered.

        That of a request in another provider's format, too, if it is sent there.
        """

    @abstractmethod
    def read_upgrade(self, operation: Operation, query: Mapping[str, str]) -> Operation:
        """Return the operation of a request that opens a WebSocket, with its model. Raises Refusal(400)."""

    @abstractmethod
    def read_request(
        self, operation: Operation, query: Mapping[str, str], content_type: str, body: RequestBody
    ) -> Facts:
        """Return the facts of a request whose body (of an operation with Body.JSON or MULTIPART) is complete.

        Raises Refusal(400) on a body that is not one strict JSON object, or in which something that
        policy reads has the wrong type or appears twice.
        """

    @abstractmethod
    def facts_at(self, operation: Operation, facts: Facts) -> Facts:
        """Return the facts of a request whose body was read as one of the family, with what its path says."""

    @abstractmethod
    def edit_request(  # a request's parts, in the order in which they are known
        self, operation: Operation, target: bytes, content_type: str, body: RequestBody, edits: RequestEdits
    ) -> EditedRequest:
        """Return a recognised, well-formed request with all edits; every other byte stays as it is.

        Raises Refusal(403) or ModelNameError if it cannot be edited so; see `RequestEditor`.
        """

    @abstractmethod
    def equivalent_target(self, target: bytes, operation: Operation, provider: str) -> bytes | None:
        """Return the target (raw path with its query) that means the same at another provider.

        None if that provider does not answer this operation in this format.
        """

    @abstractmethod
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

    @abstractmethod
    def error_response(self, refusal: Refusal, request_id: str) -> tuple[bytes, dict[str, str]]:
        """Return body and headers (content-type among them) of an error in this provider's format."""

    @abstractmethod
    def stream_error(self, refusal: Refusal, operation: Operation, content_type: str) -> bytes:
        """Return the bytes that end a stream with an error, so that the SDK raises; empty if the format has none."""
