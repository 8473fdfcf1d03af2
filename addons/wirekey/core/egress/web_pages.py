"""Calls from web pages: which are refused, and the CORS headers of the others. Pure.

Any web page that a user opens can send requests to local ports. If no identity is required, such a request would get
the operator's key. So it must come from an origin in the configuration, under a host name that a page cannot point
here (DNS rebinding).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wirekey.core.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

OF_A_PAGE = Refusal(
    403,
    "origin_refused",
    "A web page sent this call, and its origin is not in gateway.cors. While identity is not required, only pages of "
    "those origins may call, because any page that a user opens could send requests.",
)
PREFLIGHT_REFUSED = Refusal(
    403,
    "origin_refused",
    "A web page asks whether it may call, and its origin is not in gateway.cors. Add its origin to gateway.cors.",
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
"""Seconds that a browser may cache a preflight response."""
HEADER_LIST = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~ ,\t-]{1,4096}", re.ASCII)


def is_from_a_page(headers: Mapping[str, str], origins: Collection[str]) -> bool:
    """Return whether a web page of an origin that is not allowed sent the request, by its browser's headers.

    `headers`: by lower-case name.
    """
    origin = headers.get("origin")
    if origin is not None:
        return origin not in origins
    return headers.get("sec-fetch-site", "none") not in OWN_SITES


def is_preflight(method: str, headers: Mapping[str, str]) -> bool:
    """Return whether the request is a CORS preflight."""
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
    requested = headers.get("access-control-request-headers", "")
    if HEADER_LIST.fullmatch(requested):
        allowed["access-control-allow-headers"] = requested
    if headers.get("access-control-request-private-network") == "true":
        allowed["access-control-allow-private-network"] = "true"
    return allowed


def without_cors(fields: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """Return a response's header fields without the provider's CORS fields, which are not about our origins."""
    return tuple(field for field in fields if not field[0].lower().startswith(CORS_PREFIX))


def cors_fields(origin: str) -> tuple[tuple[bytes, bytes], ...]:
    """Return the header fields that allow a page of an allowed origin to read a response."""
    return (
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", b"*"),
        (b"vary", b"origin"),
    )
