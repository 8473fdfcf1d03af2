"""The protocol through which the wire layer reaches the rest of Wirekey. It imports neither addons nor settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from wirekey.core.call import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mitmproxy import http
    from mitmproxy.connection import Server
    from mitmproxy.proxy.commands import StartHook
    from mitmproxy.proxy.layers.http import HttpStream

    from wirekey.core.body import RequestBody, Spool
    from wirekey.core.errors import Refusal
    from wirekey.core.wire.connection_pool import ConnectionPool
    from wirekey.core.wire.takeover import StreamTakeover


@dataclass(frozen=True, slots=True)
class WireLimits:
    """Limits of one connection or call: seconds, bytes and counts. The configuration explains each of them."""

    connect: float = 10.0
    first_byte: float = 120.0
    idle: float = 120.0
    total: float | None = None
    head: float = 10.0
    body: float = 10.0
    body_bytes: int = 64 * 1024 * 1024
    header_bytes: int = 64 * 1024

    @property
    def tick(self) -> float:
        """Return the seconds between two checks of the time limits: a quarter of the smallest limit, at most one."""
        return max(0.05, min(1.0, min(self.connect, self.first_byte, self.idle, self.head, self.body) / 4))


class ResponseRefused(Exception):  # noqa: N818  # it ends a response, as a Refusal ends a call
    """Raised by the function that a response streams through: the client must not get the rest of it.

    `passed`: what it gets before the error.
    """

    def __init__(
        self, refusal: Refusal, outcome: Outcome = Outcome.UPSTREAM_ERROR, passed: Sequence[bytes] = ()
    ) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal
        self.outcome = outcome
        self.passed = passed


class RequestRefused(Exception):  # noqa: N818  # it ends a request, as a Refusal ends a call
    """Raised by `WireDelegate.request_parts`: the provider must not get the rest of the request."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


class WireDelegate(Protocol):
    """Decides for the wire layer, and is told what happens on the wire. `Services` implements it.

    No method blocks. A method raises only what its docstring names: any other exception would end the client's
    connection without a response and without an audit event.
    """

    @property
    def limits(self) -> WireLimits:
        """Return the limits of a connection, and of requests that belong to no call yet."""

    @property
    def is_draining(self) -> bool:
        """Return whether the process is about to end, so that clients should leave it."""

    @property
    def connection_pool(self) -> ConnectionPool | None:
        """Return the pool of upstream connections, or None if each client connection has its own."""

    def limits_of(self, flow: http.HTTPFlow) -> WireLimits:
        """Return the limits of one call. Its route may set some of them."""

    # The request, from the client.

    def refuse_malformed(self, flow: http.HTTPFlow, reason: str) -> None:
        """Refuse a request whose head is malformed. The requestheaders hook follows."""

    def report_request_reset(self, flow: http.HTTPFlow) -> None:
        """Note that the client reset an HTTP/2 stream before it had sent the whole request."""

    def reserve_memory(self, flow: http.HTTPFlow, size: int) -> int:
        """Reserve memory for `size` bytes of a body. Returns the bytes reserved for it by now. Raises Refusal."""

    def open_spool(self, flow: http.HTTPFlow) -> Spool:
        """Open a file for a body that is too long for memory. Raises Refusal if the disk has no room."""

    def store_body(self, flow: http.HTTPFlow, body: RequestBody) -> None:
        """Store the complete body of a request. It is never put on the flow."""

    # The request, to the provider.

    def count_attempt(self, flow: http.HTTPFlow) -> None:
        """Count an attempt, before its connection is opened."""

    def wire_request(self, flow: http.HTTPFlow, server: Server, *, keep: bool) -> tuple[http.Request, RequestBody]:
        """Return the request as it is sent, with the credential, and its whole body (b"" if it is streamed).

        `keep`: the same request may be needed again, until `release_body`, even if the plan has no other attempt.
        Raises Refusal if the call must not be sent over this connection.
        """

    def is_two_way(self, flow: http.HTTPFlow) -> bool:
        """Return whether the request of a call streams while its response does, and has no end of its own."""

    def request_parts(self, flow: http.HTTPFlow, data: bytes) -> Iterable[bytes | StartHook]:
        """Yield what the provider gets of a part of a two-way request; b"" stands for the end.

        A hook must have run before the next part is taken. Raises RequestRefused.
        """

    def release_body(self, flow: http.HTTPFlow) -> None:
        """Release the request body, unless the plan of the call has another attempt."""

    def is_retryable_status(self, status: int) -> bool:
        """Return whether a response of this status is a failure that another attempt may follow."""

    def can_retry(self, flow: http.HTTPFlow) -> bool:
        """Return whether the plan of a call has another attempt. The attempt_failed hook then decides."""

    def may_be_resent(self, flow: http.HTTPFlow) -> bool:
        """Return whether a call may be sent twice if the provider may have processed it."""

    def refusal_if_revoked(self, flow: http.HTTPFlow) -> Refusal | None:
        """Return why a running call must end, or None if its agent was not revoked. Called while the call runs."""

    def takeover(self, flow: http.HTTPFlow, stream: HttpStream) -> StreamTakeover | None:
        """Return what takes the stream of a call over that asks for another protocol; None for any other call.

        If that fails, the flow has a response.
        """

    # The response.

    def refusal_of_response(self, flow: http.HTTPFlow, response: http.Response) -> Refusal | None:
        """Return why the client must not get this response, or None if it may. No hook has seen it yet."""

    def refusal_of_hooks(self, flow: http.HTTPFlow) -> Refusal | None:
        """Return why a response whose head the addons have seen must not reach the client; None if it may."""

    def response_head(self, flow: http.HTTPFlow, response: http.Response) -> http.Response:
        """Return the head of a response as the client gets it. The flow shows only a part of it."""

    def holds_response(self, flow: http.HTTPFlow) -> bool:
        """Return whether the head of a response waits for its whole body, because that may change the head."""

    def holds_large_response(self, flow: http.HTTPFlow) -> bool:
        """Return whether the end of such a response takes long. The held_response hook then runs before it."""

    def local_response_body(self, flow: http.HTTPFlow) -> bytes:
        """Return and forget the body of a response of Wirekey's own endpoints; b"" if the flow has it."""

    def error_response(self, flow: http.HTTPFlow, refusal: Refusal) -> http.Response:
        """Return the response, in the provider's format, to a call that Wirekey refuses."""

    def stream_error(self, flow: http.HTTPFlow, refusal: Refusal) -> bytes | None:
        """Return the bytes that end a stream with an error, or None if the stream's format has no errors."""

    def report_end(self, flow: http.HTTPFlow, outcome: Outcome, reason: str | None = None) -> None:
        """Note why a call ends without a complete response. The error or response hook follows."""
