"""Where a client could put a credential, or anything else that only Wirekey or its operator may say.

All of it is taken off before a request goes on; then exactly one credential of ours is put on. Names are compared
folded: servers behind CGI- or WSGI-like layers cannot tell `x_api_key` from `X-Api-Key`. The names follow the
documentation of OpenAI, Anthropic, the Google Cloud "system parameters", and AWS Signature Version 4.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from wirekey.forwarding_headers import is_forwarding_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CREDENTIAL_HEADERS = frozenset(
    {
        # Keys and tokens, in each provider's own place, and in those of the gateways often put before them.
        "authorization",
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
        "x-bf-vk",
        "private-token",
        "job-token",
        "x-gitlab-token",
        "x-vault-token",
        "x-goog-authenticated-user-id",
        "x-goog-authenticated-user-email",
        # Provider keys that a client holds itself, for `key_source: client`. Also all of x-aws-…
        "x-openai-key",
        "x-gemini-key",
        "x-anthropic-key",
        # A browser's session with the provider is a credential too.
        "cookie",
        "cookie2",
        # AWS signatures: the client's is void once ours is put on, and a stale date or hash breaks ours.
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
        # Whose account and quota pays: for the operator to say.
        "x-goog-user-project",
        "x-goog-quota-user",
        "openai-organization",
        "openai-project",
        "anthropic-workspace-id",
        # Another method than the one that was judged.
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
        # Who calls is for Wirekey to say, after it looked.
        "x-agent-id",
        "x-agent-role",
        "x-agent-type",
        # The trace that the call is part of, with free text beside it: for whoever observes this side of Wirekey. It
        # would let the provider tell which calls belong together, whichever key they come with.
        "traceparent",
        "tracestate",
        "baggage",
        # Meant for a proxy, so never for the provider.
        "proxy-connection",
        "proxy-authenticate",
    }
)
"""Folded names, complete but for the families of `CLIENT_CREDENTIAL_PREFIXES` and `CLIENT_CREDENTIAL_SUFFIXES`."""

CREDENTIAL_HEADER_SUFFIXES = (
    # Of whichever provider, gateway or service: OpenAI-API-Key, X-LiteLLM-API-Key, Helicone-Auth, …
    "-api-key",
    "-apikey",
    "-api-token",
    "-access-key",
    "-access-token",
    "-auth",
    "-auth-key",
    "-auth-token",
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
"""Folded names of query parameters; Google's leading `$` is folded away too."""

AGENT_TOKEN = re.compile(rb"\s*wk_[A-Za-z0-9]{43}")
SEPARATORS = re.compile(r"[-_.\s]+")


def is_credential_header(name: str) -> bool:
    """Tell whether a client's header of this name, in any case and with `-`, `_`, `.` alike, must not go on."""
    # Names are the client's to choose: long ones would fill memory with what the cache keeps of them.
    return is_credential_name(name) if len(name) <= 64 else is_credential_name.__wrapped__(name)


@lru_cache(maxsize=1024)
def is_credential_name(name: str) -> bool:
    folded = fold(name)
    # Where the request came through is a leak to the provider, and a forgery towards anyone who trusts it.
    return (
        folded in CREDENTIAL_HEADERS
        or f"{folded}-".startswith(CREDENTIAL_HEADER_PREFIXES)
        or folded.endswith(CREDENTIAL_HEADER_SUFFIXES)
        or is_forwarding_header(folded)
    )


def fold(name: str) -> str:
    return SEPARATORS.sub("-", name).strip("-").lower()


def strip_query(raw_query: str) -> str:
    """Give the query without its credentials, all other bytes as they were.

    `raw_query` is what follows the `?`, one character per byte. Parameters are told by their name in any
    percent-encoding, or by an agent token as their value.
    """
    if not raw_query:
        return raw_query
    parameters = raw_query.split("&")
    kept = [cool_down for parameter in parameters if (cool_down := strip_parameter(parameter)) is not None]
    return "&".join(kept)


def strip_parameter(parameter: str) -> str | None:
    """Give what may stay of one `&`-separated piece; some servers separate by `;` as well."""
    if carries_credential(parameter):
        return None
    if ";" not in parameter:
        return parameter
    kept = [piece for piece in parameter.split(";") if not carries_credential(piece)]
    return ";".join(kept) if kept else None


def carries_credential(parameter: str) -> bool:
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
    """Undo percent-encoding, also of what is encoded more than once: hops in between may decode, too.

    Not without end: each round costs the length of the text, and a client can ask for as many as it likes.
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
        spelled, _, value = parameter.partition("=")
        if fold_parameter(spelled) == name:
            yield decode(value).decode("latin-1")


def hop_by_hop_names(headers: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Lower-case names that Connection headers mark for removal by the next hop (RFC 9110 section 7.6.1).

    They are to be taken off before our credential is put on, and the Connection header with them: else a client
    could have our credential removed on its way.
    """
    named = (
        token.strip().lower() for name, value in headers if fold(name) == "connection" for token in value.split(",")
    )
    return frozenset(token for token in named if token)
