"""What the HTTP layer asks of the house, so that the layer knows nothing of stations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mitmproxy import http
    from mitmproxy.connection import Server

    from wirekey.call import Outcome
    from wirekey.errors import Refusal
    from wirekey.wire.connection_pool import ConnectionPool
    from wirekey.wire.request_body import RequestBody, Spool


@dataclass(frozen=True, slots=True)
class WireLimits:
    """Seconds, bytes and counts that one connection or call may take."""

    connect: float = 10.0
    first_byte: float = 120.0
    idle: float = 120.0
    total: float | None = None
    head: float = 10.0
    body: float = 10.0
    body_rate: int = 1024
    body_bytes: int = 64 * 1024 * 1024
    header_bytes: int = 64 * 1024
    stream_resets: int = 200
    client_buffer: int = 1024 * 1024

    @property
    def tick(self) -> float:
        """How often limits are looked at: fine enough for the smallest of them, at most once a second."""
        return max(0.05, min(1.0, min(self.connect, self.first_byte, self.idle, self.head, self.body) / 4))


class ResponseRefused(Exception):  # noqa: N818  # it ends a response, as a Refusal ends a call
    """Raised by what a response streams through: nothing more of it may reach the client."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


class WireDelegate(Protocol):
    """The layer's view of the stations. Nothing here blocks."""

    @property
    def limits(self) -> WireLimits:
        """Give the limits of what belongs to no call yet."""

    @property
    def connection_pool(self) -> ConnectionPool | None:
        """Give the idle upstream connections that all clients share; None: each client has its own."""

    def limits_of(self, flow: http.HTTPFlow) -> WireLimits:
        """Give the limits of one call, which its route may set."""

    def count_attempt(self, flow: http.HTTPFlow) -> None:
        """Note that a call is about to go to an upstream."""

    def is_failure(self, status: int) -> bool:
        """Tell whether an answer of this status is one after which another way may be tried."""

    def can_retry(self, flow: http.HTTPFlow) -> bool:
        """Tell, cheaply, whether the plan of a call has another attempt; the hook then says whether it is made."""

    def may_be_resent(self, flow: http.HTTPFlow) -> bool:
        """Tell whether a call may go out twice where it cannot be known that nothing of it was done."""

    def release_body(self, flow: http.HTTPFlow) -> None:
        """Keep the request body no longer, but for another attempt of the plan."""

    def report_invalid(self, flow: http.HTTPFlow, reason: str) -> None:
        """Say that the request head breaks HTTP's rules; the requestheaders hook follows and must refuse."""

    def withdraw(self, flow: http.HTTPFlow) -> None:
        """Note that the client reset a stream before all of its request was there: nothing was decided about it."""

    def reserve(self, flow: http.HTTPFlow, size: int) -> int:
        """Reserve so many bytes for a body. Gives how many are reserved by now. Raises Refusal."""

    def spool(self, flow: http.HTTPFlow) -> Spool:
        """Begin the file of a body that is too long for memory. Raises Refusal where that cannot be."""

    def keep_body(self, flow: http.HTTPFlow, body: RequestBody) -> None:
        """Take a request body that was read whole. It is never put on the flow."""

    def wire_request(self, flow: http.HTTPFlow, server: Server, *, keep: bool) -> tuple[http.Request, RequestBody]:
        """Give the request as it goes on the wire, with the credential, and its whole body (b"" if streamed).

        `keep`: it may be asked for once more, even where the plan has no other attempt, until `release_body`.
        Raises Refusal when the call may not go out on this connection.
        """

    def refusal_of_response(self, flow: http.HTTPFlow, response: http.Response) -> Refusal | None:
        """Return why the client must not get this response, before any hook has seen it; None: it may."""

    def response_head(self, flow: http.HTTPFlow, response: http.Response) -> http.Response:
        """Give the head of an answer as the client gets it, of which the flow shows only a part."""

    def own_body(self, flow: http.HTTPFlow) -> bytes:
        """Give the body of an answer of our own endpoints, once; b"" where there is none beside the flow's."""

    def error_response(self, flow: http.HTTPFlow, refusal: Refusal) -> http.Response:
        """Give the answer for a call that Wirekey ends itself before any byte went to the client."""

    def stream_error(self, flow: http.HTTPFlow, refusal: Refusal) -> bytes | None:
        """Give the bytes that end a running stream with an error; None if its format has no such thing."""

    def withdrawn(self, flow: http.HTTPFlow) -> Refusal | None:
        """Return why a running call must end, if its agent was revoked; asked again and again while it runs."""

    def report_end(self, flow: http.HTTPFlow, outcome: Outcome, reason: str | None = None) -> None:
        """Say why a call ends otherwise than by a whole answer; the error or response hook follows."""
