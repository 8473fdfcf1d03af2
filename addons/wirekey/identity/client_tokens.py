"""How an agent says who it is: proxy credentials at CONNECT, or its token in a provider's own place for a key.

Reading only: whether the token is any agent's is for the AgentStore to say. What cannot be read in exactly one way is
taken for no credentials at all.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from wirekey.credential_headers import query_values
from wirekey.identity.jwt_reading import looks_like_jwt
from wirekey.identity.tokens import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_HEADER = 16 * 1024
"""Longer values are not looked at: no token is, and decoding them costs."""

KEY_HEADERS = frozenset({"x-goog-api-key", "x-api-key", "api-key"})


def proxy_credentials(header: str) -> tuple[str | None, str] | None:
    """Read a Proxy-Authorization value: (agent name, token), name None for `Bearer TOKEN`; None if unreadable.

    Basic as in RFC 7617: the name ends at the first `:`, so the token may hold more of them.
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
    """Give the distinct agent tokens (`wk_…` or JWTs, perhaps malformed) in the places for a provider key, in order.

    `query` is raw, without the `?`. Other values (an SDK's placeholder, a provider key) are not ours and are passed
    over. More than one token is a disagreement unless all are the same agent's, as while its token is rotated.
    """
    values = [*header_values(headers), *query_values(query, "key")] if query else header_values(headers)
    return tuple(dict.fromkeys(value for value in values if is_meant_for_us(value)))


def is_meant_for_us(value: str) -> bool:
    return len(value) <= MAX_HEADER and (value.startswith(PREFIX) or looks_like_jwt(value))


def header_values(headers: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, value in headers:
        lower = name.lower()
        if lower == "authorization":
            scheme, _, token = value.strip(" \t").partition(" ")
            if scheme.lower() == "bearer":
                yield token.strip(" \t")
        elif lower in KEY_HEADERS:
            yield value.strip(" \t")
