"""Removes the credentials of a client from its flow, before another addon sees it."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from wirekey.core.credentials.agent_tokens import may_hold_tokens, without_tokens
from wirekey.core.credentials.scrub import masked, plain_spans
from wirekey.core.header_names import NameRule
from wirekey.core.identity.client_tokens import is_key_header
from wirekey.core.subprotocol_keys import PROTOCOLS, without_protocol_keys, without_protocols
from wirekey.providers.credential_headers import credential_fields, strip_query

if TYPE_CHECKING:
    from mitmproxy import http

key_fields = NameRule(lambda name: is_key_header(name.decode("latin-1")))
"""Whether SDKs send their key in a header field, by its name."""


def key_headers(request: http.Request) -> list[tuple[str, str]]:
    """Return the headers of a request in which SDKs send their key, as text."""
    return [
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.fields if key_fields[name]
    ]


def strip(request: http.Request, secrets: tuple[bytes, ...] = ()) -> None:
    """Remove the client's credentials from the flow, in every place and spelling, before another addon sees it.

    A token in any other place is masked. A header whose name contains one is removed. `secrets`: imported tokens and
    keys for the operator's function, which have no form by which they could be found.
    """
    headers = request.headers
    if secrets:
        headers.fields = tuple(
            (name, masked(value, plain_spans(value, secrets)))
            for name, value in headers.fields
            if not plain_spans(name, secrets)
        )
        request.data.path = masked(request.data.path, plain_spans(request.data.path, secrets))
    kept = tuple([field for field in headers.fields if not credential_fields[field[0]]])
    if PROTOCOLS in headers:
        kept = without_protocol_keys(kept) if "upgrade" in headers else without_protocols(kept)
    if may_hold_tokens(chain((request.data.path,), chain.from_iterable(kept))):
        kept = tuple((name, without_tokens(value)) for name, value in kept if without_tokens(name) is name)
        request.data.path = without_tokens(request.data.path)
    if kept != headers.fields:
        headers.fields = kept
    path, mark, query = request.data.path.partition(b"?")
    if mark:
        stripped = strip_query(query.decode("latin-1")).encode("latin-1")
        if stripped != query:
            request.data.path = path + (b"?" + stripped if stripped else b"")
