"""A stand-in for Google's token server: access tokens for service accounts and refresh tokens, as strict as Google.

https://developers.google.com/identity/protocols/oauth2/service-account#authorizingrequests
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from wirekey_simulator.plain_http import PlainResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LONGEST_LIFE = 3600
CLOCK_SKEW = 300
USUAL_URL = "https://oauth2.googleapis.com/token"
"""The audience of the assertions of google-auth, whatever the file of the service account says."""


@dataclass(slots=True)
class GoogleTokens:
    """Issues tokens for one service account and one refresh token. `issued` has them in order."""

    email: str = "wirekey@my-project.iam.gserviceaccount.com"
    project: str = "my-project"
    refresh_token: str = "1//refresh-token-of-a-person"  # noqa: S105  # of a stand-in
    lifetime: int = 3600
    issued: list[str] = field(default_factory=list, repr=False)
    go_on: threading.Event = field(default_factory=threading.Event)
    """Requests wait for it. It is set at the start."""
    waiting: int = 0
    """Requests that have arrived and have no response yet."""
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048), repr=False)
    url: str = ""
    """The address of the token server, once it is known: the audience of assertions."""

    def __post_init__(self) -> None:
        self.go_on.set()

    def service_account(self) -> str:
        """Return the file of the service account."""
        pem = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return json.dumps(
            {
                "type": "service_account",
                "project_id": self.project,
                "private_key_id": "key-1",
                "private_key": pem.decode(),
                "client_email": self.email,
                "client_id": "1",
                "token_uri": self.url,
            }
        )

    def respond(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> PlainResponse:
        """Return the response to one request."""
        self.waiting += 1
        self.go_on.wait(60)
        self.waiting -= 1
        if method != "POST" or target != "/token" or "form-urlencoded" not in headers.get("content-type", ""):
            return failed(404, "not_found")
        form = dict(parse_qsl(body.decode("utf-8", "replace")))
        if form.get("grant_type") == "refresh_token":
            fine = form.get("refresh_token") == self.refresh_token and bool(form.get("client_id"))
            return self._issue() if fine else failed(400, "invalid_grant")
        if form.get("grant_type") != GRANT:
            return failed(400, "unsupported_grant_type")
        try:
            claims: dict[str, Any] = jwt.decode(
                form.get("assertion", ""), self.key.public_key(), algorithms=["RS256"], audience=[self.url, USUAL_URL]
            )
        except jwt.InvalidTokenError:
            return failed(400, "invalid_grant")
        lasts = claims["exp"] - claims["iat"] <= LONGEST_LIFE and abs(claims["iat"] - time.time()) < CLOCK_SKEW
        if claims.get("iss") != self.email or "cloud-platform" not in claims.get("scope", "") or not lasts:
            return failed(400, "invalid_grant")
        return self._issue()

    def _issue(self) -> PlainResponse:
        token = f"ya29.{secrets.token_urlsafe(40)}"
        self.issued.append(token)
        answer = {"access_token": token, "expires_in": self.lifetime, "token_type": "Bearer"}
        return PlainResponse(200, "application/json", json.dumps(answer))


def failed(status: int, error: str) -> PlainResponse:
    """Return an error of OAuth 2.0."""
    return PlainResponse(status, "application/json", json.dumps({"error": error, "error_description": "Refused."}))
