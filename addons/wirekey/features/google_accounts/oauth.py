"""OAuth 2.0 by authorization code with PKCE (RFC 6749, RFC 7636), as Google has it for programs on a machine. Pure.

https://developers.google.com/identity/protocols/oauth2/native-app
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from wirekey.core.errors import UserError
from wirekey.core.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ERROR_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")
LONGEST_LIFETIME = 30 * 86400
UNAVAILABLE = "unavailable"


class OAuthError(UserError):
    """Google did not issue or accept a token. The text contains nothing of a request.

    `code`: Google's word, such as `invalid_grant`; `unavailable` if there was no usable response.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class GoogleOAuthClient:
    """The operator's own OAuth client."""

    id: str
    secret: Secret | None = None


@dataclass(frozen=True, slots=True)
class LoginSecrets:
    """The secrets of one login that has begun. `challenge` and `state` are sent to the page, the verifier later."""

    verifier: Secret = field(repr=False)
    state: Secret = field(repr=False)

    @classmethod
    def new(cls) -> LoginSecrets:
        """Return secrets of 48 and 32 random bytes."""
        return cls(Secret(secrets.token_urlsafe(48)), Secret(secrets.token_urlsafe(32)))

    @property
    def challenge(self) -> str:
        """The challenge by the method S256 (RFC 7636, 4.2)."""
        return challenge_of(self.verifier.reveal())

    def is_state(self, state: str) -> bool:
        """Return whether a text is the state. Takes constant time."""
        return secrets.compare_digest(state.encode(), self.state.reveal().encode())


@dataclass(frozen=True, slots=True)
class IssuedTokens:
    """The tokens that the token server has issued. `expiry_date`: milliseconds since 1970, or None if unknown."""

    access_token: Secret = field(repr=False)
    refresh_token: Secret | None = field(default=None, repr=False)
    expiry_date: int | None = None
    scope: str = ""
    token_type: str = "Bearer"  # noqa: S105  # not a secret


def challenge_of(verifier: str) -> str:
    """Return base64url(SHA-256(verifier)) without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def login_url(
    authorize_url: str, client: GoogleOAuthClient, scopes: Sequence[str], redirect_uri: str, login: LoginSecrets
) -> str:
    """Return the address of the page on which a person logs in."""
    query = {
        "client_id": client.id,
        "redirect_uri": redirect_uri,
        "response_type": "code",
        "scope": " ".join(scopes),
        "state": login.state.reveal(),
        "code_challenge": login.challenge,
        "code_challenge_method": "S256",
        # Without these two, Google issues a refresh token at the first login only, or never.
        "access_type": "offline",
        "prompt": "consent",
    }
    return f"{authorize_url}{'&' if '?' in authorize_url else '?'}{urlencode(query)}"


def exchange_form(client: GoogleOAuthClient, code: Secret, redirect_uri: str, verifier: Secret) -> dict[str, str]:
    """Return the form that exchanges a code for tokens."""
    return _of_client(client) | {
        "grant_type": "authorization_code",
        "code": code.reveal(),
        "redirect_uri": redirect_uri,
        "code_verifier": verifier.reveal(),
    }


def refresh_form(client: GoogleOAuthClient, refresh_token: Secret) -> dict[str, str]:
    """Return the form that exchanges a refresh token for an access token."""
    return _of_client(client) | {"grant_type": "refresh_token", "refresh_token": refresh_token.reveal()}


def _of_client(client: GoogleOAuthClient) -> dict[str, str]:
    return {"client_id": client.id} | ({"client_secret": client.secret.reveal()} if client.secret else {})


def issued_tokens(status: int, body: bytes, now: float) -> IssuedTokens:
    """Return the tokens in a response of the token server. `now`: Unix seconds. Raises OAuthError."""
    content = object_in(body)
    if status != 200:
        code = content.get("error")
        if status >= 500 or status == 429 or not isinstance(code, str) or not ERROR_CODE.fullmatch(code):
            raise OAuthError(UNAVAILABLE, f"Google's token server responds with {status}.")
        raise OAuthError(code, f"Google's token server refuses: {code}.")
    access_token, refresh_token = _token(content, "access_token"), _token(content, "refresh_token")
    if access_token is None:
        raise OAuthError(UNAVAILABLE, "The response of Google's token server has no access token.")
    lifetime, scope = content.get("expires_in"), content.get("scope")
    is_known = isinstance(lifetime, int | float) and not isinstance(lifetime, bool) and 0 < lifetime < LONGEST_LIFETIME
    return IssuedTokens(
        access_token,
        refresh_token,
        int((now + lifetime) * 1000) if is_known and lifetime else None,
        scope if isinstance(scope, str) else "",
    )


def _token(content: dict[str, Any], name: str) -> Secret | None:
    value = content.get(name)
    try:
        return Secret(value) if isinstance(value, str) else None
    except ValueError:
        return None


def object_in(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body, or an empty one if it is something else."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def pasted_code(text: str, login: LoginSecrets) -> Secret:
    """Return the code in a text that a person pasted: the code, or the whole URL of the redirect.

    Raises OAuthError.
    """
    text = text.strip()
    if "://" not in text and "code=" not in text:
        return _code(text)
    return code_in(fields_of(urlsplit(text).query or text.lstrip("?")), login)


def fields_of(query: str) -> dict[str, str]:
    """Return the fields of a redirect's query, or nothing if a field is there twice."""
    try:
        fields = parse_qsl(query, max_num_fields=20)
    except ValueError:
        return {}
    return dict(fields) if len(dict(fields)) == len(fields) else {}


def code_in(fields: Mapping[str, str], login: LoginSecrets) -> Secret:
    """Return the code among the fields of a redirect. Raises OAuthError."""
    if error := fields.get("error"):
        code = error if ERROR_CODE.fullmatch(error) else "access_denied"
        raise OAuthError(code, f"Google did not allow the login ({code}). Nothing was stored.")
    if not login.is_state(fields.get("state", "")):
        raise OAuthError("wrong_state", "This is the end of another login. Nothing was stored. Begin again.")
    return _code(fields.get("code", ""))


def _code(text: str) -> Secret:
    try:
        return Secret(text)
    except ValueError:
        raise OAuthError("no_code", "That is neither a code nor the URL of the redirect. Nothing was stored.") from None
