"""Reads the credentials by which an agent identifies itself: proxy credentials, or a token in a provider's header.

These functions only parse. The AgentStore decides whether a token is valid. A value that can be read in more than one
way is not a credential.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from wirekey.core.identity.tokens import PREFIX, looks_like_jwt
from wirekey.core.subprotocol_keys import PROTOCOLS, keys_in
from wirekey.providers.credential_headers import query_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_HEADER = 16 * 1024
"""Longer values are ignored: no token is that long, and decoding is expensive."""

KEY_HEADERS = frozenset({"x-goog-api-key", "x-api-key", "api-key"})


def proxy_credentials(header: str) -> tuple[str | None, str] | None:
    """Parse a Proxy-Authorization value into (agent name, token), or return None if it is unreadable.

    The name is None for `Bearer TOKEN`. Basic follows RFC 7617: the name ends at the first `:`, so the token may
    contain more of them.
    """
    if len(header) > MAX_HEADER:
        return None
    scheme, _, value = header.strip(" \t").partition(" ")
    value = value.strip(" \t")
    match scheme.lower():
        case "basic":
            return basic_credentials(value)
        case "bearer" if value.isascii() and value.isprintable() and " " not in value and value:
            return None, value
    return None


def basic_credentials(value: str) -> tuple[str, str] | None:
    """Parse the value of Basic into (agent name, token), or return None if it is not canonical base64 of both."""
    try:
        decoded = base64.b64decode(value, validate=True)
        if base64.b64encode(decoded).decode() != value:
            return None
        text = decoded.decode()
    except (binascii.Error, ValueError):
        return None
    name, colon, token = text.partition(":")
    if not colon or not token or not text.isprintable():
        return None
    return name, token


def header_tokens(headers: Iterable[tuple[str, str]], query: str) -> tuple[str, ...]:
    """Return the distinct agent tokens (`wk_…` or JWTs, valid or not) where provider keys are sent, in order.

    `query` is raw, without the `?`. Other values, such as an SDK's placeholder or a provider key, are ignored. More
    than one token is a conflict unless all belong to one agent, as during a rotation.
    """
    return tuple(value for value in presented_values(headers, query) if is_wirekey_token(value))


def presented_values(headers: Iterable[tuple[str, str]], query: str) -> tuple[str, ...]:
    """Return the distinct values where provider keys are sent, in order. `query` is raw, without the `?`."""
    values = [*header_values(headers), *query_values(query, "key")] if query else header_values(headers)
    return tuple(dict.fromkeys(values))


def is_wirekey_token(value: str) -> bool:
    """Return whether a value has the form of an agent token or a JWT."""
    return len(value) <= MAX_HEADER and (value.startswith(PREFIX) or looks_like_jwt(value))


def is_key_header(name: str) -> bool:
    """Return whether SDKs send their key in a header of this name."""
    lower = name.lower()
    return lower == "authorization" or lower in KEY_HEADERS or lower == PROTOCOLS


def header_values(headers: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield the values of the headers in which SDKs send their key."""
    for name, value in headers:
        lower = name.lower()
        if lower == "authorization":
            scheme, _, token = value.strip(" \t").partition(" ")
            if scheme.lower() == "bearer":
                yield token.strip(" \t")
        elif lower in KEY_HEADERS:
            yield value.strip(" \t")
        elif lower == PROTOCOLS:
            yield from keys_in(value)
