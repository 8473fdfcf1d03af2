"""Calls that a web page makes: which are refused, and what a browser is told. Pure.

A page that someone opens can send requests to any port of their machine. Where no identity is required, such a request
would go on with the operator's key. So it must come from an origin that the configuration lists, and under a name
that no page can have pointed here (DNS rebinding).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wirekey.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

OF_A_PAGE = Refusal(
    403,
    "origin_refused",
    "A web page sent this call, and its origin is not in gateway.cors. Where identity is not required, other pages may "
    "not call: any page that someone opens could.",
)
PREFLIGHT_REFUSED = Refusal(
    403,
    "origin_refused",
    "A web page of an origin that is not in gateway.cors asks whether it may call. Add its origin to gateway.cors.",
)
MISDIRECTED = Refusal(
    421,
    "misdirected",
    "The gateway does not serve calls without identity under this host name. Call it by an address or as localhost, or "
    "add the name to gateway.names.",
)

OWN_SITES = ("same-origin", "none")
CORS_PREFIX = b"access-control-"
METHODS = "GET, POST, PUT, PATCH, DELETE"
MAX_AGE = "600"
"""Seconds for which a browser may remember that it may call."""
HEADER_LIST = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~ ,\t-]{1,4096}", re.ASCII)


def is_from_a_page(headers: Mapping[str, str], origins: Collection[str]) -> bool:
    """Return whether a web page of an origin that is not allowed sent the request, as far as its browser says.

    `headers`: by lower-case names.
    """
    origin = headers.get("origin")
    if origin is not None:
        return origin not in origins
    return headers.get("sec-fetch-site", "none") not in OWN_SITES


def is_preflight(method: str, headers: Mapping[str, str]) -> bool:
    """Return whether a browser asks if a page may send a request."""
    return method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


def preflight_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of the response to a preflight request of an allowed origin."""
    allowed = {
        "access-control-allow-origin": headers["origin"],
        "access-control-allow-methods": METHODS,
        "access-control-max-age": MAX_AGE,
        "vary": "origin, access-control-request-headers",
        "cache-control": "no-store",
    }
    asked = headers.get("access-control-request-headers", "")
    if HEADER_LIST.fullmatch(asked):
        allowed["access-control-allow-headers"] = asked
    if headers.get("access-control-request-private-network") == "true":
        allowed["access-control-allow-private-network"] = "true"
    return allowed


def without_cors(fields: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """Return the header fields of a response without what the provider says of pages: it does not know of ours."""
    return tuple(field for field in fields if not field[0].lower().startswith(CORS_PREFIX))


def cors_fields(origin: str) -> tuple[tuple[bytes, bytes], ...]:
    """Return the header fields that let a page of an allowed origin read a response."""
    return (
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", b"*"),
        (b"vary", b"origin"),
    )
