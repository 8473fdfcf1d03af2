"""The request of an attempt as it is sent, with its one credential, on a copy that only the wire sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from wirekey.core.body import WEBSOCKETS
from wirekey.core.calls.conversations import is_two_way
from wirekey.core.calls.wire_head import wire_head
from wirekey.core.errors import Fault, Refusal
from wirekey.core.wire.upstream_connection import requested_address
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from mitmproxy import http
    from mitmproxy.connection import Server

    from wirekey.core.body import RequestBody
    from wirekey.core.calls.attempt_state import AttemptState
    from wirekey.core.calls.services import Services
    from wirekey.core.calls.state import CallState
    from wirekey.core.credentials.pool import ProviderKey


def wire_request(
    services: Services, state: CallState, server: Server, *, keep: bool = False
) -> tuple[http.Request, RequestBody]:
    """Return the request of an attempt as it is sent, and its body.

    That is the client's own bytes with the upstream's Host and one credential. An AWS signature is made last, of what
    is really sent. The body is kept if the plan has more attempts, or if `keep` is set.

    Raises Refusal unless the connection is TLS with a verified certificate of the very host chosen.
    """
    attempt = state.attempt
    assert attempt
    upstream = attempt.upstream
    requested = requested_address.get(server, server.address)
    is_verified = server.tls_established and server.sni == upstream.host
    # Without TLS only what the operator has configured so, which has no key of a provider.
    is_allowed = is_verified if upstream.tls else upstream.configured and not server.tls
    if not (is_allowed and requested == (upstream.host, upstream.port)):
        raise Refusal(
            502, "upstream_not_trusted", "The connection to the provider is not verified TLS.", Fault.OPERATOR
        )
    assert state.request
    two_way = is_two_way(state.call.operation)
    if two_way:
        services.conversations.check_upstream(state, server)
    wire = wire_head(state.request, attempt, reads_body=state.call.reads_body)
    headers = wire.data.headers
    if state.call.operation and state.call.operation.body in WEBSOCKETS:
        headers.fields = services.conversations.fields_to_send(state.call.operation, headers.fields)
    headers.fields = with_credential(headers.fields, attempt, wire.data.path)
    if attempt.aws:
        body = None if two_way else attempt.body
        signed = services.upstream_signatures.sign(
            wire, body, attempt.aws, attempt.signing_host, payload_header=state.signs_payload
        )
        state.attempt = structs.replace(attempt, signature=signed[-1][1].rpartition(b"Signature=")[2])
        if two_way:
            services.conversations.sign_events(state, state.attempt)
        headers.fields += tuple(signed)
    if not keep:
        state.release_body_unless_planned()
    return wire, attempt.body


def with_credential(
    fields: tuple[tuple[bytes, bytes], ...], attempt: AttemptState, target: bytes
) -> tuple[tuple[bytes, bytes], ...]:
    """Return header fields with the headers that an extension or an account made, and the key."""
    if added := attempt.added_headers:
        names = {name.lower() for name, _ in added}
        fields = tuple(field for field in fields if field[0].lower() not in names) + added
    if attempt.key:
        path = target[len(attempt.upstream.path) :].partition(b"?")[0].decode("latin-1")
        name, value = key_field(attempt, attempt.key, path)
        fields += ((name.encode(), value.encode()),)
    return fields


def key_field(attempt: AttemptState, key: ProviderKey, path: str) -> tuple[str, str]:
    """Return name and value of the header in which the upstream expects the key."""
    candidate, secret = attempt.planned.candidate, key.secret.reveal()
    if attempt.as_bearer or candidate.auth == "bearer":
        return "authorization", f"Bearer {secret}"
    if candidate.auth in ("x-api-key", "x-goog-api-key"):
        return candidate.auth, secret
    return PROVIDERS[candidate.provider].credentials.header(secret, path)
