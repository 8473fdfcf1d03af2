"""Requests to Google's servers for logins: tokens, the email of a login, and its end. All of them block."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from wirekey.core.egress.addresses import is_address, is_loopback, is_own_name
from wirekey.core.egress.http_client import HttpError, HttpRequest, HttpResponse, HttpServer, checked, fetch, resolve
from wirekey.core.egress.upstream_proxy import no_proxy_for
from wirekey.features.google_accounts.oauth import (
    UNAVAILABLE,
    GoogleOAuthClient,
    IssuedTokens,
    OAuthError,
    exchange_form,
    issued_tokens,
    object_in,
    refresh_form,
)

if TYPE_CHECKING:
    from pathlib import Path

    from wirekey.core.egress.upstream_proxy import ProxyFor
    from wirekey.core.secret import Secret

MAX_BYTES = 256 * 1024
LONGEST_EMAIL = 254
FORM = ("Content-Type", "application/x-www-form-urlencoded")
NO_CLIENT = (
    "There is no OAuth client. Create one of the kind `Desktop app` in the Google Cloud console, and set "
    "google.oauth_client in wirekey.yaml."
)


@dataclass(frozen=True, slots=True)
class GoogleSettings:
    """The settings of logins, with the OAuth client read. `ca_file`: all trusted roots; None: the public ones."""

    client: GoogleOAuthClient | None
    scopes: tuple[str, ...]
    authorize_url: str
    token_url: str
    revoke_url: str
    userinfo_url: str
    ca_file: Path | None = None
    proxy_for: ProxyFor = no_proxy_for

    def needed_client(self) -> GoogleOAuthClient:
        """Return the OAuth client. Raises OAuthError if none is configured."""
        if self.client is None:
            raise OAuthError("no_client", NO_CLIENT)
        return self.client


def exchange(settings: GoogleSettings, code: Secret, redirect_uri: str, verifier: Secret) -> IssuedTokens:
    """Return the tokens for the code of a login. Raises OAuthError, also if there is no refresh token among them."""
    issued = _issue(settings, exchange_form(settings.needed_client(), code, redirect_uri, verifier))
    if issued.refresh_token is None:
        raise OAuthError(
            "no_refresh_token",
            "Google issued no refresh token, so the login would end within the hour. Remove Wirekey's access at "
            "https://myaccount.google.com/connections and log in again.",
        )
    return issued


def refresh(settings: GoogleSettings, refresh_token: Secret) -> IssuedTokens:
    """Return another access token, and the next refresh token if Google replaces it. Raises OAuthError."""
    return _issue(settings, refresh_form(settings.needed_client(), refresh_token))


def email_of(settings: GoogleSettings, access_token: Secret) -> str | None:
    """Return the email of a login, or None if Google does not tell."""
    bearer = ("Authorization", f"Bearer {access_token.reveal()}")
    try:
        response = send(settings, "GET", settings.userinfo_url, (bearer,))
    except OAuthError:
        return None
    email = object_in(response.body).get("email") if response.status == 200 else None
    is_email = isinstance(email, str) and "@" in email and email.isprintable() and len(email) <= LONGEST_EMAIL
    return str(email) if is_email else None


def revoke(settings: GoogleSettings, token: Secret) -> bool:
    """End a login at Google, and return whether Google confirms it. Raises OAuthError without a response."""
    body = urlencode({"token": token.reveal()}).encode()
    return send(settings, "POST", settings.revoke_url, (FORM,), body).status == 200


def _issue(settings: GoogleSettings, form: dict[str, str]) -> IssuedTokens:
    response = send(settings, "POST", settings.token_url, (FORM,), urlencode(form).encode())
    return issued_tokens(response.status, response.body, time.time())


def send(
    settings: GoogleSettings, method: str, url: str, headers: tuple[tuple[str, str], ...], body: bytes = b""
) -> HttpResponse:
    """Return the response to a request. A server on this machine must be named so. Raises OAuthError."""
    parts = urlsplit(url)
    host, is_secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if is_secure else 80)
    proxy = settings.proxy_for(host, port) if is_secure else None
    length = (("Content-Length", str(len(body))),) if body else ()
    usual = (("Host", parts.netloc), ("Accept", "application/json"), ("User-Agent", "wirekey"))
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    request = HttpRequest(method, target, (*usual, *headers, *length), MAX_BYTES, body)
    try:
        addresses = (host,) if is_address(host) else () if proxy else resolve(host, port)
        if not (is_own_name(host) and all(map(is_loopback, addresses))):
            addresses = checked(host, addresses, private=True)
        if proxy:
            addresses = resolve(proxy.host, proxy.port)
        context = _tls(settings.ca_file) if is_secure else None
        [response] = fetch(HttpServer(host, port, context, addresses, proxy), [request])
    except HttpError as error:
        raise OAuthError(UNAVAILABLE, f"{parts.scheme}://{parts.netloc} cannot be used: {error}.") from error
    return response


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    import certifi

    return ssl.create_default_context(cafile=ca_file or certifi.where())
