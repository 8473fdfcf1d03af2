"""Names of the headers and query parameters in which a client may send a credential, or data reserved to Wirekey.

All of them are removed before a request is sent; then exactly one credential of Wirekey is added. Names are compared in
folded form, because servers behind CGI- or WSGI-like layers cannot distinguish `x_api_key` from `X-Api-Key`. The names
follow the documentation of OpenAI, Anthropic, the Google Cloud "system parameters", and AWS Signature Version 4.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from wirekey.core.forwarding_headers import is_forwarding_header
from wirekey.core.header_names import NameRule
from wirekey.core.subprotocol_keys import PROTOCOLS
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CREDENTIAL_HEADERS = frozenset(
    {
        # Keys and tokens, in the headers of each provider and of the gateways that often stand before them.
        "authorization",
        "authentication",
        "proxy-authorization",
        "x-api-key",
        "api-key",
        "apikey",
        "x-goog-api-key",
        "x-goog-iam-authorization-token",
        "x-serverless-authorization",
        "x-authorization",
        "x-auth-token",
        "x-access-token",
        "x-token",
        "token",
        "auth",
        "bearer",
        "key",
        "x-key",
        "secret",
        "x-bf-vk",
        "private-token",
        "job-token",
        "x-gitlab-token",
        "x-vault-token",
        "x-goog-authenticated-user-id",
        "x-goog-authenticated-user-email",
        # Provider keys that a client holds itself, for `key_source: client`. Also all of x-aws-…
        *(each.credentials.client_header.lower() for each in PROVIDERS.values() if each.credentials.client_header),
        # A browser's session with the provider is a credential, too.
        "cookie",
        "cookie2",
        # AWS signatures: the client's becomes invalid when ours is added, and a stale date or hash breaks ours.
        "x-amz-security-token",
        "x-amz-date",
        "x-amz-content-sha256",
        "x-amz-algorithm",
        "x-amz-credential",
        "x-amz-signature",
        "x-amz-signedheaders",
        "x-amz-expires",
        "x-amz-region-set",
        "x-amz-s3session-token",
        # The account and quota that pay: the operator decides.
        *(name for each in PROVIDERS.values() for name in each.headers.account),
        # A method other than the one that the policy checked.
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
        # The caller's identity: only Wirekey may set it.
        "x-agent-id",
        "x-agent-role",
        "x-agent-type",
        # The trace that the call is part of, with free text, for observers on this side of Wirekey. The provider could
        # correlate calls by it, whichever keys they use.
        "traceparent",
        "tracestate",
        "baggage",
        # Meant for a proxy, so never for the provider.
        "proxy-connection",
        "proxy-authenticate",
    }
)
"""Folded names, except for the families of `CREDENTIAL_HEADER_PREFIXES` and `CREDENTIAL_HEADER_SUFFIXES`."""

CREDENTIAL_HEADER_SUFFIXES = (
    # Of any provider, gateway or service: OpenAI-API-Key, X-LiteLLM-API-Key, Helicone-Auth, …
    "-api-key",
    "-apikey",
    "-api-token",
    "-access-key",
    "-access-token",
    "-auth",
    "-auth-key",
    "-auth-token",
    "-authentication",
    "-authorization",
    "-bearer-token",
    "-client-secret",
    "-function-key",
    "-functions-key",
    "-rapidapi-key",
    "-id-token",
    "-jwt",
    "-jwt-assertion",
    "-secret",
    "-secret-key",
    "-session-token",
    "-subscription-key",
    "-virtual-key",
)

CREDENTIAL_HEADER_PREFIXES = ("x-aws-", "x-wirekey-", "x-portkey-", "cf-access-")

CREDENTIAL_PARAMETERS = frozenset(
    {
        "key",
        "api-key",
        "apikey",
        "x-api-key",
        "x-goog-api-key",
        "access-token",
        "accesstoken",
        "oauth-token",
        "auth-token",
        "session-token",
        "refresh-token",
        "id-token",
        "token",
        "auth",
        "authorization",
        "bearer",
        "bearer-token",
        "client-secret",
        "secret",
        "password",
        # Presigned addresses: AWS Signature Version 2, Google; AWS Signature Version 4 is the family x-amz-…
        "awsaccesskeyid",
        "signature",
        "sig",
        "x-goog-signature",
        "x-goog-credential",
        # Google reads these as headers: a key, another method, another account.
        "httpheaders",
        "httpmethod",
        "x-http-method-override",
        "userproject",
        "quotauser",
        "userip",
    }
)
"""Folded names of query parameters. Folding also removes Google's leading `$`."""

AGENT_TOKEN = re.compile(rb"\s*wk_[A-Za-z0-9]{43}")
SEPARATORS = re.compile(r"[-_.\s]+")


def is_credential_header(name: str) -> bool:
    """Return whether a client's header of this name must not be forwarded. Case and `-`, `_`, `.` do not matter."""
    # Clients choose the names, and the cache keeps them: long ones are not cached, so that they cannot fill the memory.
    return is_credential_name(name) if len(name) <= 64 else is_credential_name.__wrapped__(name)


@lru_cache(maxsize=1024)
def is_credential_name(name: str) -> bool:
    """Return whether a name is that of a credential header or a forwarding header. Cached."""
    folded = fold(name)
    # Forwarding headers reveal the network to the provider, and a client could forge them.
    return (
        folded in CREDENTIAL_HEADERS
        or (folded == PROTOCOLS and name.lower() != PROTOCOLS)  # a WebSocket's own header has only this spelling
        or f"{folded}-".startswith(CREDENTIAL_HEADER_PREFIXES)
        or folded.endswith(CREDENTIAL_HEADER_SUFFIXES)
        or is_forwarding_header(folded)
    )


credential_fields = NameRule(lambda name: is_credential_header(name.decode("latin-1")))
"""Whether a client's header field of this name must not be forwarded."""
connection_fields = NameRule(lambda name: fold(name.decode("latin-1")) == "connection")
"""Whether a header field is Connection, in any spelling, by its name."""


def fold(name: str) -> str:
    """Return a name in lower case, with `-` for each run of separators."""
    return SEPARATORS.sub("-", name).strip("-").lower()


def strip_query(raw_query: str) -> str:
    """Return the query without its credentials, all other bytes unchanged.

    `raw_query` is what follows the `?`, one character per byte. A parameter is a credential by its name, in any
    percent-encoding, or by an agent token as its value.
    """
    if not raw_query:
        return raw_query
    parameters = raw_query.split("&")
    kept = [remaining for parameter in parameters if (remaining := strip_parameter(parameter)) is not None]
    return "&".join(kept)


def strip_parameter(parameter: str) -> str | None:
    """Return what remains of one `&`-separated piece, or None. Some servers also separate by `;`."""
    if carries_credential(parameter):
        return None
    if ";" not in parameter:
        return parameter
    kept = [piece for piece in parameter.split(";") if not carries_credential(piece)]
    return ";".join(kept) if kept else None


def carries_credential(parameter: str) -> bool:
    """Return whether a query parameter has the name of a credential or an agent token as its value."""
    name, _, value = parameter.partition("=")
    folded = fold_parameter(name)
    if folded in CREDENTIAL_PARAMETERS or f"{folded}-".startswith("x-amz-"):
        return True
    return AGENT_TOKEN.match(decode(value)) is not None


def fold_parameter(name: str) -> str:
    """Fold a query parameter's name: percent-encoding, case, separators, Google's `$`, and `key[]`."""
    decoded = decode(name).decode("latin-1")
    return fold(decoded.partition("[")[0].replace("\0", "").strip(" $"))


def decode(text: str) -> bytes:
    """Undo percent-encoding, up to three times, because hops in between may decode, too.

    The rounds are bounded: each costs the length of the text, and a client can nest as many as it likes.
    """
    data = text.replace("+", " ").encode("latin-1", "replace")
    for _ in range(3):
        if b"%" not in data:
            break
        data = unquote_to_bytes(data)
    return data


def query_values(raw_query: str, name: str) -> Iterator[str]:
    """Yield the decoded values of a parameter, found by its folded name."""
    for parameter in raw_query.split("&"):
        raw_name, _, value = parameter.partition("=")
        if fold_parameter(raw_name) == name:
            yield decode(value).decode("latin-1")


def hop_by_hop_names(headers: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Return the lower-case names that Connection headers list, which the next hop removes (RFC 9110 section 7.6.1).

    They are removed before our credential is added, together with the Connection header. Otherwise a client could have
    our credential removed on its way.
    """
    named = (
        token.strip().lower() for name, value in headers if fold(name) == "connection" for token in value.split(",")
    )
    return frozenset(token for token in named if token)
