"""Checks that every provider makes: no credentials in the wrong place, and no headers that a proxy left behind."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from wirekey_simulator.exchange import BadRequest
from wirekey_simulator.registry import BEARER, BY_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey_simulator.exchange import Seen, SimulatedRequest

KEY_HEADERS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
KEY_PARAMETERS = ("key", "api_key", "api-key", "access_token")
LEFT_BEHIND = re.compile(
    rf"via|forwarded|x-real-ip|proxy-.*|x-forwarded-.*|x-wirekey-.*|x-(?:{'|'.join(BY_NAME)})-key"
    r"|x-aws-(?:bearer-token|access-key|secret-key|session-token|region)"
)
AGENT_TOKEN = re.compile(r"(?<![A-Za-z0-9_])wk_[A-Za-z0-9_]{4}")


def refuse_the_misplaced(request: SimulatedRequest, provider: str) -> None:
    """Raise BadRequest, naming the header or parameter, if something stands where it must not."""
    for name, values in request.fields.items():
        if LEFT_BEHIND.fullmatch(name):
            raise BadRequest(f"The request has the header {name}, which a proxy must not send on.")
        if any("wk_" in value and AGENT_TOKEN.search(value) for value in values):
            raise BadRequest(f"The header {name} holds an agent token of Wirekey, which must not leave the proxy.")
    if "wk_" in request.target and AGENT_TOKEN.search(request.target):
        raise BadRequest("The request target holds an agent token of Wirekey, which must not leave the proxy.")
    places = [place for place, _ in credentials(request)]
    for place in places:
        if place not in _places_of(request, provider):
            raise BadRequest(f"The request has a credential in {place}, where this API takes none.")
    if len(places) > 1:
        raise BadRequest(f"The request has more than one credential: in {' and in '.join(places)}.")


def credentials(request: SimulatedRequest) -> Iterator[tuple[str, str]]:
    """Return place and value of each header and parameter that may hold a credential."""
    for name in KEY_HEADERS:
        for value in request.fields.get(name, ()):
            yield name, value
    for name, value in request.query:
        if name in KEY_PARAMETERS:
            yield f"?{name}=", value


def quoted_key(request: SimulatedRequest) -> str:
    """Return the key or session token of the request, for the response that quotes it."""
    token = request.header("x-amz-security-token")
    value = token or next((value for _, value in credentials(request)), "")
    return value.removeprefix("Bearer ")


def shown(seen: Seen) -> dict[str, object]:
    """Return what anyone who can reach the simulator may see of a request: no credential, no content."""
    path, mark, query = seen.target.partition("?")
    parts = [_masked_parameter(part) for part in query.split("&")]
    return {
        "number": seen.number,
        "method": seen.method,
        "authority": seen.authority,
        "target": path + mark + "&".join(parts),
        "headers": [[name.decode("latin-1"), _masked_header(name, value)] for name, value in seen.headers],
        "size": seen.size,
        "sha256": seen.sha256,
        "protocol": seen.protocol,
        "tls": seen.tls,
        "sni": seen.sni,
        "connection": seen.connection,
        "provider": seen.provider,
        "status": seen.status,
        "events": seen.events,
        "outcome": seen.outcome,
    }


def fingerprint(value: bytes) -> str:
    """Return the first digits of the SHA-256 of a credential."""
    return f"sha256:{hashlib.sha256(value).hexdigest()[:12]}"


def _places_of(request: SimulatedRequest, provider: str) -> frozenset[str]:
    if provider == "gemini" and request.path.startswith("/v1beta/openai/"):
        return BEARER
    return BY_NAME[provider].places


def _masked_header(name: bytes, value: bytes) -> str:
    lower = name.decode("latin-1").lower()
    secret = lower in KEY_HEADERS or LEFT_BEHIND.fullmatch(lower) or lower in ("cookie", "x-amz-security-token")
    if not secret:
        return value.decode("latin-1")
    scheme, space, rest = value.partition(b" ")
    if lower == "authorization" and space:
        return f"{scheme.decode('latin-1')} {fingerprint(rest)}"
    return fingerprint(value)


def _masked_parameter(part: str) -> str:
    name, equals, value = part.partition("=")
    return f"{name}={fingerprint(value.encode('latin-1'))}" if equals and name in KEY_PARAMETERS else part
