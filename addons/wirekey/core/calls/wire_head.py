"""The head of a request as it is sent, without its credential."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.calls.message_copy import with_fields
from wirekey.providers.credential_headers import connection_fields, hop_by_hop_names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mitmproxy import http

    from wirekey.core.calls.attempt_state import AttemptState

HOP_BY_HOP = frozenset({b"connection", b"expect", b"keep-alive", b"te", b"trailer", b"upgrade", b"proxy-connection"})


def wire_head(request: http.Request, attempt: AttemptState, *, reads_body: bool) -> http.Request:
    """Return a copy of a request head with the path and Host of an attempt, framed as it is sent.

    `reads_body`: whether the body was read whole before the verdict.
    """
    authority = attempt.upstream.authority.encode()
    fields = request.headers.fields
    named = named_by_connection(fields)
    sent = [
        (name, authority) if lower == b"host" else (name, value)
        for name, value in fields
        if (lower := name.lower()) not in HOP_BY_HOP and lower not in named
    ]
    if attempt.rewritten:
        sent = attempt.rewritten.fields(sent)
    for steps in attempt.steps:
        sent = steps.wire_fields(attempt, sent)
    wire = with_fields(request, sent)
    wire.data.path = attempt.target
    if wire.data.authority:
        wire.data.authority = authority
    set_length(wire, len(attempt.body), reads_body=reads_body)
    return wire


def named_by_connection(fields: Iterable[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """Return the lower-case names that Connection headers list."""
    listed = [("connection", value.decode("latin-1")) for name, value in fields if connection_fields[name]]
    return frozenset(name.encode("latin-1") for name in hop_by_hop_names(listed)) if listed else frozenset()


def set_length(wire: http.Request, length: int, *, reads_body: bool) -> None:
    """State the length of a body read whole; frame a streamed body of unknown length for an HTTP/1.1 upstream."""
    headers = wire.data.headers
    if length or ("content-length" in headers and reads_body):
        if "transfer-encoding" in headers:
            del headers["transfer-encoding"]
        if headers.get("content-length") != str(length):
            headers["content-length"] = str(length)
