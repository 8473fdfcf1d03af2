"""A stand-in for Google's logins: the page, the token server, userinfo and revocation, as strict as Google's.

https://developers.google.com/identity/protocols/oauth2/native-app, RFC 6749, RFC 7636, RFC 7523
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt

from wirekey_simulator.plain_http import PlainResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

AUTHORIZE_PATH, TOKEN_PATH = "/o/oauth2/v2/auth", "/token"
USERINFO_PATH, REVOKE_PATH = "/oauth2/v2/userinfo", "/revoke"
VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
LONGEST_CODE_LIFE = 600.0
JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
AUDIENCE = "https://oauth2.googleapis.com/token"
"""The token server as Google's libraries name it, at any address."""
SCOPES_BELOW = "https://www.googleapis.com/auth/"
DENIED = {"error": "access_denied"}
FORM_TYPE = "application/x-www-form-urlencoded"


class GoogleRefusal(Exception):  # noqa: N818  # it becomes a response
    """An error of the token server. `code` is OAuth's word."""

    def __init__(self, code: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.code, self.description, self.status = code, description, status


@dataclass(slots=True)
class IssuedCode:
    """A code that waits for its exchange."""

    email: str
    redirect_uri: str
    challenge: str
    scope: str
    offline: bool
    ends: float
    used: bool = False


@dataclass(slots=True)
class GoogleLoginService:
    """Serves one OAuth client, whose people agree to everything at once. `person`: the email of the next login."""

    client_id: str = "1234-canary.apps.googleusercontent.com"
    client_secret: str = field(default_factory=lambda: f"GOCSPX-canary-{secrets.token_hex(8)}", repr=False)
    person: str = "ann@example.com"
    lifetime: float = 3600.0
    rotates: bool = True
    """Whether each refresh issues another refresh token, and ends the one before."""
    is_offline: bool = True
    """Whether a login gets a refresh token if it asks for one as it must."""
    denies: bool = False
    """Whether the person does not agree."""
    fail_with: int = 0
    """A status with which the token server fails."""
    userinfo_fails: bool = False
    go_on: threading.Event = field(default_factory=threading.Event)
    """The token server waits for it. It is set at the start."""
    service_accounts: dict[str, bytes] = field(default_factory=dict, repr=False)
    """Email → public key in PEM form."""
    grants: list[str] = field(default_factory=list)
    """The grant of each request to the token server."""
    codes: dict[str, IssuedCode] = field(default_factory=dict, repr=False)
    verifiers: list[str] = field(default_factory=list, repr=False)
    access_tokens: dict[str, tuple[str, float]] = field(default_factory=dict, repr=False)
    """Token → email and end in Unix seconds."""
    refresh_tokens: dict[str, str] = field(default_factory=dict, repr=False)
    """Token → email, of those that are valid."""
    issued: list[str] = field(default_factory=list, repr=False)
    """Every token, code and verifier so far, for tests that search for them."""
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        self.go_on.set()

    def person_of(self, access_token: str) -> str | None:
        """Return the email of a valid access token, or None."""
        email, ends = self.access_tokens.get(access_token, (None, 0.0))
        return email if time.time() < ends else None

    def end_access_tokens(self) -> None:
        """Make every access token invalid, as Google does after a change of the password."""
        with self.lock:
            self.access_tokens.clear()

    def end_logins(self) -> None:
        """Make every refresh token invalid."""
        with self.lock:
            self.refresh_tokens.clear()

    def log_in(self, email: str) -> dict[str, object]:
        """Return the tokens of a login that another program has made."""
        with self.lock:
            return self._tokens(email, SCOPES_BELOW + "cloud-platform", offline=True)

    def respond(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> PlainResponse:
        """Return the response to one request."""
        parts = urlsplit(target)
        try:
            if (method, parts.path) == ("GET", AUTHORIZE_PATH):
                return self._authorize(fields_in(parts.query))
            if (method, parts.path) == ("POST", TOKEN_PATH):
                return self._token(headers, body)
            if (method, parts.path) == ("GET", USERINFO_PATH):
                return self._userinfo(headers)
            if (method, parts.path) == ("POST", REVOKE_PATH):
                return self._revoke(fields_in(body.decode("ascii", "replace")))
        except GoogleRefusal as refusal:
            return reply(refusal.status, {"error": refusal.code, "error_description": refusal.description})
        return reply(404, {"error": "not_found"})

    def _authorize(self, query: Mapping[str, str]) -> PlainResponse:
        redirect = urlsplit(query.get("redirect_uri", ""))
        if query.get("client_id") != self.client_id:
            raise GoogleRefusal("invalid_client", "The OAuth client was not found.", 401)
        if redirect.scheme != "http" or redirect.hostname not in ("localhost", "127.0.0.1", "::1") or redirect.query:
            raise GoogleRefusal("redirect_uri_mismatch", "The redirect URI is not one of a program on a machine.")
        if query.get("response_type") != "code" or not query.get("state"):
            raise GoogleRefusal("invalid_request", "response_type must be code, and state is needed here.")
        if query.get("code_challenge_method") != "S256" or not CHALLENGE.fullmatch(query.get("code_challenge", "")):
            raise GoogleRefusal("invalid_request", "The code challenge must be of the method S256.")
        scopes = query.get("scope", "").split()
        if not scopes or not all(scope.startswith("https://") or scope in ("openid", "email") for scope in scopes):
            raise GoogleRefusal("invalid_scope", "Some requested scopes were invalid.")
        back = {"state": query["state"]}
        if self.denies:
            return PlainResponse(302, "text/html", "", f"{redirect.geturl()}?{urlencode(back | DENIED)}")
        offline = query.get("access_type") == "offline" and query.get("prompt") == "consent"
        code = f"4/canary-{secrets.token_urlsafe(24)}"
        with self.lock:
            self.codes[code] = IssuedCode(
                self.person,
                redirect.geturl(),
                query["code_challenge"],
                " ".join(scopes),
                offline,
                time.time() + LONGEST_CODE_LIFE,
            )
            self.issued += [code, query["state"]]
        return PlainResponse(302, "text/html", "", f"{redirect.geturl()}?{urlencode({'code': code} | back)}")

    def _token(self, headers: Mapping[str, str], body: bytes) -> PlainResponse:
        if headers.get("content-type", "").partition(";")[0] != FORM_TYPE:
            raise GoogleRefusal("invalid_request", "The body must be a form.")
        form = fields_in(body.decode("ascii", "replace"))
        grant = form.get("grant_type", "")
        with self.lock:
            self.grants.append(grant)
        self.go_on.wait(60)
        if self.fail_with:
            return PlainResponse(self.fail_with, "text/html", "<html>The service is unavailable.</html>")
        with self.lock:
            if grant == JWT_GRANT:
                return reply(200, self._of_service_account(form))
            if form.get("client_id") != self.client_id or form.get("client_secret") != self.client_secret:
                raise GoogleRefusal("invalid_client", "The OAuth client was not found.", 401)
            if grant == "authorization_code":
                return reply(200, self._exchange(form))
            if grant == "refresh_token":
                return reply(200, self._refresh(form.get("refresh_token", "")))
        raise GoogleRefusal("unsupported_grant_type", "Invalid grant_type.")

    def _exchange(self, form: Mapping[str, str]) -> dict[str, object]:
        code, verifier = self.codes.get(form.get("code", "")), form.get("code_verifier", "")
        self.issued.append(verifier)
        if code is None or code.used or time.time() > code.ends:
            raise GoogleRefusal("invalid_grant", "Malformed auth code.")
        code.used = True  # also if the rest is wrong: nobody gets a second guess
        if form.get("redirect_uri") != code.redirect_uri:
            raise GoogleRefusal("redirect_uri_mismatch", "Bad Request")
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        if not VERIFIER.fullmatch(verifier) or challenge != code.challenge:
            raise GoogleRefusal("invalid_grant", "Invalid code verifier.")
        return self._tokens(code.email, code.scope, offline=code.offline and self.is_offline)

    def _refresh(self, refresh_token: str) -> dict[str, object]:
        email = self.refresh_tokens.get(refresh_token)
        if email is None:
            raise GoogleRefusal("invalid_grant", "Token has been expired or revoked.")
        if self.rotates:
            del self.refresh_tokens[refresh_token]
        return self._tokens(email, SCOPES_BELOW + "cloud-platform", offline=self.rotates)

    def _of_service_account(self, form: Mapping[str, str]) -> dict[str, object]:
        try:
            email = jwt.decode(form.get("assertion", ""), options={"verify_signature": False})["iss"]
            key = self.service_accounts[email]
            claims = jwt.decode(form["assertion"], key, ["RS256"], audience=AUDIENCE)
        except (jwt.InvalidTokenError, KeyError):
            raise GoogleRefusal("invalid_grant", "Invalid JWT Signature.") from None
        if not claims.get("scope"):
            raise GoogleRefusal("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        return self._tokens(email, claims["scope"], offline=False)

    def _tokens(self, email: str, scope: str, *, offline: bool) -> dict[str, object]:
        access_token = f"ya29.canary-{secrets.token_urlsafe(24)}"
        self.access_tokens[access_token] = email, time.time() + self.lifetime
        self.issued.append(access_token)
        tokens: dict[str, object] = {
            "access_token": access_token,
            "expires_in": int(self.lifetime),
            "scope": scope,
            "token_type": "Bearer",
        }
        if offline:
            refresh_token = f"1//canary-{secrets.token_urlsafe(24)}"
            self.refresh_tokens[refresh_token] = email
            self.issued.append(refresh_token)
            tokens["refresh_token"] = refresh_token
        return tokens

    def _userinfo(self, headers: Mapping[str, str]) -> PlainResponse:
        kind, _, token = headers.get("authorization", "").partition(" ")
        email = self.person_of(token) if kind == "Bearer" else None
        if email is None or self.userinfo_fails:
            error = {"code": 401, "message": "Request is missing required authentication credential."}
            return reply(401, {"error": {**error, "status": "UNAUTHENTICATED"}})
        return reply(200, {"id": "1", "email": email, "verified_email": True})

    def _revoke(self, form: Mapping[str, str]) -> PlainResponse:
        token = form.get("token", "")
        with self.lock:
            email = self.refresh_tokens.pop(token, None) or self.access_tokens.get(token, (None, 0.0))[0]
            if email is None:
                raise GoogleRefusal("invalid_token", "Token expired or revoked")
            self.access_tokens = {one: owner for one, owner in self.access_tokens.items() if owner[0] != email}
            self.refresh_tokens = {one: owner for one, owner in self.refresh_tokens.items() if owner != email}
        return reply(200, {})


def fields_in(text: str) -> dict[str, str]:
    """Return the fields of a form or a query. Raises GoogleRefusal if one is there twice."""
    fields = parse_qsl(text, keep_blank_values=True)
    if len(dict(fields)) != len(fields):
        raise GoogleRefusal("invalid_request", "OAuth 2 parameters can only have a single value.")
    return dict(fields)


def reply(status: int, content: Mapping[str, object]) -> PlainResponse:
    """Return a JSON response."""
    return PlainResponse(status, "application/json; charset=utf-8", json.dumps(content, indent=2))
