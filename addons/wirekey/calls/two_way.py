"""Requests that are streams of signed events, sent while the response streams: Bedrock's two-way operation.

The head decides on the call as any head does. After that each event is verified against the pair of the agent that
signed the head, and signed again in the chain of the head that was sent. No other event reaches the provider. The first
event of each turn waits until the turn is judged and recorded: see `two_way_events` and `two_way_turns`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.body import Body
from wirekey.errors import Fault, Refusal
from wirekey.signing.event_signatures import EVENTS_PAYLOAD

if TYPE_CHECKING:
    from mitmproxy import http
    from mitmproxy.connection import Server

    from wirekey.calls.state import CallState
    from wirekey.operation import Operation
    from wirekey.signing.request import RequestHead

NOT_HTTP2 = Refusal(
    400, "http2_required", "This operation streams in both directions and needs HTTP/2. Use an HTTP/2 client."
)
UPSTREAM_NOT_HTTP2 = Refusal(
    502,
    "http2_required",
    "This operation streams in both directions and needs HTTP/2, which its upstream does not offer.",
    Fault.PROVIDER,
)
NOT_SIGNED = Refusal(
    503,
    "no_provider_key",
    "Each event of this operation is signed with AWS credentials, and Wirekey has none for it: an API key does not "
    "work. Its operator sets providers.bedrock.aws in wirekey.yaml.",
    Fault.OPERATOR,
)
EVENTS_ELSEWHERE = Refusal(
    403,
    "signature_refused",
    f"Only streams in both directions can be signed with x-amz-content-sha256: {EVENTS_PAYLOAD}. Sign the whole body.",
    error_type="InvalidSignatureException",
)
ENCODED = Refusal(415, "encoded_body", "The request body is compressed. Send it without Content-Encoding.")


def signs_events(head: RequestHead) -> bool:
    """Return whether the signature of a head covers no body, because each event of the body has one of its own."""
    return any(
        name.lower() == b"x-amz-content-sha256" and value.strip(b" \t") == EVENTS_PAYLOAD.encode()
        for name, value in head.headers
    )


def is_two_way(operation: Operation | None) -> bool:
    """Return whether the request of an operation streams while its response does."""
    return operation is not None and operation.body is Body.EVENTS


def check_events(state: CallState, operation: Operation, request: http.Request) -> None:
    """Raise Refusal unless the events of a request can be verified, if it has events and only then."""
    if not is_two_way(operation):
        if state.verified is not None and state.verified.signs_events:
            raise EVENTS_ELSEWHERE
        return
    if not request.is_http2:
        raise NOT_HTTP2
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ENCODED


def is_between_turns(state: CallState) -> bool:
    """Return whether a stream in two directions could end now, as the model says nothing."""
    reader = state.tap.tap.reader if state.tap else None
    return is_two_way(state.call.operation) and (reader is None or reader.finished)


def check_upstream(state: CallState, server: Server) -> None:
    """Raise Refusal unless the events of a call can be signed and sent over this connection."""
    if state.attempt is None or state.attempt.aws is None:
        raise NOT_SIGNED
    if server.alpn != b"h2":
        raise UPSTREAM_NOT_HTTP2
