"""The request of an attempt as it goes on the wire, with its one credential, on a copy that only the wire sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.calls.wire_head import wire_head
from wirekey.errors import Fault, Refusal
from wirekey.providers import PROVIDERS
from wirekey.wire.upstream_connection import requested_address

if TYPE_CHECKING:
    from mitmproxy import http
    from mitmproxy.connection import Server

    from wirekey.calls.signatures import Signatures
    from wirekey.calls.state import CallState
    from wirekey.wire.request_body import RequestBody


def wire_request(
    state: CallState, server: Server, signatures: Signatures, *, keep: bool = False
) -> tuple[http.Request, RequestBody]:
    """Give the request as it goes on the wire: the client's own bytes, the upstream's Host, one credential.

    An AWS signature is made last, of what is really sent. The body is kept for as long as the plan has more attempts,
    and with `keep`.

    Raises Refusal where the connection is not TLS with a verified certificate of the very host chosen.
    """
    upstream = state.upstream
    assert upstream
    asked = requested_address.get(server, server.address)
    if not (server.tls_established and server.sni == upstream.host and asked == (upstream.host, upstream.port)):
        raise Refusal(
            502, "upstream_not_trusted", "The connection to the provider is not verified TLS.", Fault.OPERATOR
        )
    assert state.request
    wire = wire_head(state.request, state)
    add_credential(wire, state, signatures)
    body = state.body
    if not keep:
        state.release_body_unless_planned()
    return wire, body


def add_credential(wire: http.Request, state: CallState, signatures: Signatures) -> None:
    """Add the one credential of this attempt."""
    headers = wire.data.headers
    if state.add_credential:
        names = {name.lower() for name, _ in state.add_credential}
        headers.fields = (
            tuple(field for field in headers.fields if field[0].lower() not in names) + state.add_credential
        )
    if state.key:
        name, value = key_field(state, wire.data.path.partition(b"?")[0].decode("latin-1"))
        headers.fields += ((name.encode(), value.encode()),)
    if state.aws:
        signed = signatures.sign(wire, state.body, state.aws, state.signing_host, payload_header=state.signs_payload)
        state.signature = signed[-1][1].rpartition(b"Signature=")[2]
        headers.fields += tuple(signed)


def key_field(state: CallState, path: str) -> tuple[str, str]:
    """Give the header that carries the key, where the upstream looks for it."""
    assert state.key
    assert state.choice
    candidate, key = state.choice.candidate, state.key.secret.reveal()
    if state.as_bearer or candidate.auth == "bearer":
        return "authorization", f"Bearer {key}"
    if candidate.auth in ("x-api-key", "x-goog-api-key"):
        return candidate.auth, key
    return PROVIDERS[candidate.provider].credential(key, path)
