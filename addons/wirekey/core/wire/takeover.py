"""The protocol of what takes a stream over, whose bytes are no HTTP from then on, such as for a WebSocket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mitmproxy.proxy.layers.http import RequestEndOfMessage, RequestProtocolError
from mitmproxy.proxy.layers.http._events import ErrorCode

if TYPE_CHECKING:
    from mitmproxy import http
    from mitmproxy.proxy import events
    from mitmproxy.proxy.layer import CommandGenerator

    from wirekey.core.body import RequestBody

SWITCHING_PROTOCOLS = 101


class StreamTakeover(Protocol):
    """Opens a connection of another protocol for one stream, and passes its bytes from then on.

    The client's side may be open before the provider's. Until the stream is handed over, it asks here what to do.
    """

    @property
    def is_open(self) -> bool:
        """Return whether the client's side is open, while the provider's is not."""

    @property
    def awaits_client(self) -> bool:
        """Return whether the request waits for bytes of the client, whose side is open."""

    @property
    def reason_if_left(self) -> str | None:
        """Return what to record if the client disconnects now, if there is more to say than that."""

    def begin(self) -> CommandGenerator[bool]:
        """Begin, as the head of the request is complete. Return whether the request waits for bytes of the client."""

    def hold(self, data: bytes) -> None:
        """Keep bytes of the client, as the stream waits for a hook or a connection."""

    def receive(self, data: bytes) -> CommandGenerator[None]:
        """Read bytes of the client."""

    def on_tick(self, now: float) -> CommandGenerator[None]:
        """Check the time limits while the request waits for bytes of the client."""

    def prepare(self, body: RequestBody) -> RequestBody:
        """Return what is sent as the body of the request."""

    def accept(self, response: http.Response) -> CommandGenerator[None]:
        """Begin to relay the stream, or refuse the call: the provider has switched protocols."""

    def end_unopened(self, response: http.Response) -> CommandGenerator[None]:
        """Close the client's side, as the provider has not switched protocols."""

    def close(self, response: http.Response) -> CommandGenerator[None]:
        """Close the client's side, in place of the response that Wirekey would send over HTTP."""


def as_disconnection(event: events.Event) -> events.Event:
    """Return the end of a client's open side as what it is to a stream that waits for its provider."""
    if not isinstance(event, RequestEndOfMessage):
        return event
    return RequestProtocolError(event.stream_id, "Client disconnected.", ErrorCode.CLIENT_DISCONNECTED)
