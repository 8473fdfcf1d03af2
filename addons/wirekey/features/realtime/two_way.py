"""Requests that are streams of signed events, sent while the response streams: Bedrock's two-way operation.

The head decides on the call as any head does. After that each event is verified against the pair of the agent that
signed the head, and signed again in the chain of the head that was sent. No other event reaches the provider. The first
event of each turn waits until the turn is decided and recorded: see `two_way_events` and `two_way_turns`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.calls.conversations import NOT_SIGNED
from wirekey.core.errors import Fault, Refusal

if TYPE_CHECKING:
    from mitmproxy import http
    from mitmproxy.connection import Server

    from wirekey.core.calls.state import CallState

NOT_HTTP2 = Refusal(
    400, "http2_required", "This operation streams in both directions and needs HTTP/2. Use an HTTP/2 client."
)
UPSTREAM_NOT_HTTP2 = Refusal(
    502,
    "http2_required",
    "This operation streams in both directions and needs HTTP/2, which its upstream does not offer.",
    Fault.PROVIDER,
)
ENCODED = Refusal(415, "encoded_body", "The request body is compressed. Send it without Content-Encoding.")


def check_events(request: http.Request) -> None:
    """Raise Refusal unless the events of a request can be verified."""
    if not request.is_http2:
        raise NOT_HTTP2
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ENCODED


def is_between_turns(state: CallState) -> bool:
    """Return whether a stream in two directions could end now, as the model says nothing."""
    reader = state.tap.tap.reader if state.tap else None
    return reader is None or reader.finished


def check_upstream(state: CallState, server: Server) -> None:
    """Raise Refusal unless the events of a call can be signed and sent over this connection."""
    if state.attempt is None or state.attempt.aws is None:
        raise NOT_SIGNED
    if server.alpn != b"h2":
        raise UPSTREAM_NOT_HTTP2
