"""The head of a request as it goes on the wire, but for its credential."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from mitmproxy import http

from wirekey.credential_headers import hop_by_hop_names

if TYPE_CHECKING:
    from wirekey.calls.state import CallState

HOP_BY_HOP = frozenset({b"connection", b"expect", b"keep-alive", b"te", b"trailer", b"upgrade", b"proxy-connection"})


def wire_head(request: http.Request, state: CallState) -> http.Request:
    """Return a copy of a request head with the upstream's Host, framed as it is sent."""
    assert state.upstream
    authority = state.upstream.authority.encode()
    wire: http.Request = copy.copy(request)
    wire.data = copy.copy(request.data)
    fields = request.headers.fields
    marked = hop_by_hop_names((name.decode("latin-1"), value.decode("latin-1")) for name, value in fields)
    named = {name.encode("latin-1") for name in marked}
    wire.data.headers = http.Headers(
        [
            (name, authority if lower == b"host" else value)
            for name, value in fields
            if (lower := name.lower()) not in HOP_BY_HOP and lower not in named
        ]
    )
    if wire.data.authority:
        wire.data.authority = authority
    set_length(wire, state)
    return wire


def set_length(wire: http.Request, state: CallState) -> None:
    """State the length of a body read whole; frame a streamed body of unknown length for an HTTP/1.1 upstream."""
    headers = wire.data.headers
    if state.body or ("content-length" in headers and state.call.reads_body):
        headers.pop("transfer-encoding", None)
        if headers.get("content-length") != str(len(state.body)):
            headers["content-length"] = str(len(state.body))
