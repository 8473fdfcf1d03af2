"""Parses a token request of OAuth 2.0 (RFC 6749, sections 2.3.1 and 4.4). Pure.

JSON and forms are accepted, with the client's credentials in the body or as Basic. Anything that could be read in two
ways is an error: a repeated parameter, credentials in two places.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote_plus

from wirekey.features.jwt.reading import each_once

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_BODY = 16 * 1024
MOST_PARAMETERS = 32
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class TokenRequestError(Exception):
    """An error response: `code` as in RFC 6749 section 5.2, and the message for `error_description`."""

    def __init__(self, code: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.status = status


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """An HTTP request to the token endpoint. `headers`: names in any case. `address`: the client's, without port."""

    method: str
    headers: Sequence[tuple[str, str]] = field(repr=False)
    body: bytes = field(repr=False)
    address: str

    def values(self, name: str) -> list[str]:
        """Return the values of all headers of a name in lower case."""
        return [value.strip(" \t") for other, value in self.headers if other.lower() == name]

    @property
    def tries_header(self) -> bool:
        """Whether the client sends its credentials in the Authorization header."""
        return bool(self.values("authorization"))


@dataclass(frozen=True, slots=True)
class ClientCredentialsGrant:
    """A parsed token request. `scope` None: all permissions of the agent."""

    client_id: str
    client_secret: str
    scope: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        return f"ClientCredentialsGrant({self.client_id!r})"


def parse_grant(request: TokenRequest) -> ClientCredentialsGrant:
    """Parse a token request. Raises TokenRequestError."""
    if request.method != "POST":
        raise TokenRequestError("invalid_request", "Request a token with POST.", 405)
    parameters = body_parameters(request)
    grant_type = parameters.get("grant_type")
    if not grant_type:
        raise TokenRequestError("invalid_request", "grant_type is missing. It must be client_credentials.")
    client_id, secret = credentials(request, parameters)
    if grant_type != "client_credentials":
        raise TokenRequestError("unsupported_grant_type", "The only supported grant_type is client_credentials.")
    scope = parameters.get("scope")
    return ClientCredentialsGrant(client_id, secret, tuple(scope.split()) if scope else None)


def body_parameters(request: TokenRequest) -> dict[str, str]:
    """Return the parameters of the body. Raises TokenRequestError."""
    if any(value.lower() not in ("", "identity") for value in request.values("content-encoding")):
        raise TokenRequestError("invalid_request", "Send the body without a content encoding.", 415)
    if len(request.body) > MAX_BODY:
        raise TokenRequestError("invalid_request", f"The body is longer than {MAX_BODY} bytes.", 413)
    types = {value.partition(";")[0].strip().lower() for value in request.values("content-type")}
    try:
        if types == {FORM}:
            return form(request.body.decode())
        if types == {JSON}:
            return members(request.body.decode())
    except (ValueError, RecursionError) as error:
        message = "The body cannot be read in exactly one way: see that each parameter is there once, as text."
        raise TokenRequestError("invalid_request", message) from error
    raise TokenRequestError("invalid_request", f"Send the body as {JSON} or {FORM}, with that Content-Type.", 415)


def form(text: str) -> dict[str, str]:
    """Parse a form. Raises ValueError if it is invalid or repeats a parameter. Empty parameters are left out."""
    if ESCAPE.search(text):
        raise ValueError("an escape is invalid")
    pairs = parse_qsl(
        text, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=MOST_PARAMETERS
    )
    return {name: value for name, value in each_once(pairs).items() if value}


def members(text: str) -> dict[str, str]:
    """Parse a JSON object of texts. Raises ValueError. Other members and empty texts are left out."""
    value = json.loads(text, object_pairs_hook=each_once)
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004  # one kind of error for any invalid body
    for name in ("grant_type", "client_id", "client_secret", "scope"):
        if not isinstance(value.get(name) or "", str):
            raise ValueError("not a text")  # noqa: TRY004  # as above
    return {name: text for name, text in value.items() if isinstance(text, str) and text}


def credentials(request: TokenRequest, parameters: Mapping[str, str]) -> tuple[str, str]:
    """Return client id and secret, from the body or from Basic. Raises TokenRequestError."""
    headers = request.values("authorization")
    client_id, secret = parameters.get("client_id"), parameters.get("client_secret")
    if not headers:
        if client_id is None or secret is None:
            raise TokenRequestError("invalid_client", "client_id and client_secret are required.", 401)
        return client_id, secret
    shown = basic(headers[0]) if len(headers) == 1 else None
    if shown is None:
        raise TokenRequestError("invalid_client", "Authorization is not Basic with client_id and client_secret.", 401)
    if secret is not None or client_id not in (None, shown[0]):
        raise TokenRequestError("invalid_request", "Send the client's credentials in one place: body or Authorization.")
    return shown


def basic(header: str) -> tuple[str, str] | None:
    """Parse a Basic header into client id and secret, or return None."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(value.strip(" "), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    client_id, colon, secret = text.partition(":")
    return (unquote_plus(client_id), unquote_plus(secret)) if colon and client_id and secret else None
