"""How mitmproxy words protocol errors, and what may be shown of them."""

from __future__ import annotations

import re

from mitmproxy.proxy.layers.http import RequestProtocolError, ResponseProtocolError

CLOSED_BEFORE_RESPONSE = "server closed connection"
"""The connection ended before the first byte of a response."""
CONNECTION_ENDED = ("closed connection", "connection closed", "stream reset", "unexpected server response")
"""A connection or stream ended, the last one within a head. Other errors mean that the response is malformed."""
CLIENT_RESET = "reset"
"""An HTTP/2 client reset a stream, or more streams than a connection may reset."""


def without_quotes(reason: str) -> str:
    """Return mitmproxy's description of a malformed head without the bytes it quotes and without its advice."""
    return re.split(r":| from client,", reason, maxsplit=1)[0].removeprefix("Received ")


def redact(event: RequestProtocolError | ResponseProtocolError) -> None:
    """Replace the message of an error, which may quote received bytes and is shown on the flow."""
    event.message = (
        "the client connection failed" if isinstance(event, RequestProtocolError) else "the upstream connection failed"
    )
