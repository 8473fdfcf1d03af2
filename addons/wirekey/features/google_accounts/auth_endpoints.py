"""The endpoints of Google logins: /auth/login, /auth/callback and /auth/status, for browsers of this machine.

A browser has no agent token, so none is asked for. A page of another site gets nothing, and cannot begin a login.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING

from wirekey.core.egress.addresses import is_loopback, is_own_name
from wirekey.core.errors import UserError
from wirekey.core.local_response import LocalResponse, local_error, local_json
from wirekey.core.secret import Secret
from wirekey.core.tracebacks import safe_traceback
from wirekey.features.google_accounts.accounts import AccountStatus
from wirekey.features.google_accounts.logins import log_in, store
from wirekey.features.google_accounts.oauth import code_in, fields_of, login_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from wirekey.core.endpoints.local_request import LocalRequest
    from wirekey.core.endpoints.reply import LocalHandler, LocalReply
    from wirekey.features.google_accounts.accounts import GoogleAccount
    from wirekey.features.google_accounts.login_attempts import LoginAttempt
    from wirekey.features.google_accounts.logins import GoogleLogins

logger = logging.getLogger(__name__)

LOGIN_PATH, CALLBACK_PATH, STATUS_PATH = "/auth/login", "/auth/callback", "/auth/status"
COOKIE = "wirekey_login"
NOT_ENABLED = (
    "The backend gemini-oauth-auto is not enabled. Set backends.gemini-oauth-auto.enabled: true in wirekey.yaml. "
    "Google's terms apply to it."
)
OLD_LOGIN = "This login is unknown, was used already, or began more than ten minutes ago. Begin again at /auth/login."


class AuthEndpoints:
    """The endpoints of one listener. `logins` returns those of the configuration in force; `port` its own port."""

    def __init__(self, logins: Callable[[], GoogleLogins], port: Callable[[], int | None]) -> None:
        self._logins, self._port = logins, port

    def routes(self) -> Mapping[str, LocalHandler]:
        """Return path → handler."""
        return {LOGIN_PATH: self.login, CALLBACK_PATH: self.callback, STATUS_PATH: self.status}

    def status(self, request: LocalRequest) -> LocalReply:
        """Return whether an account is logged in, and which one was used last."""
        if refused := refusal(request, methods=("GET", "HEAD")) or of_another_site(request):
            return refused
        accounts = self._logins().accounts
        account = last_used(accounts.accounts() if accounts else ())
        return local_json(200, status_of(account))

    def login(self, request: LocalRequest) -> LocalReply:
        """Send the browser to Google's page."""
        if refused := refusal(request) or of_another_site(request):
            return refused
        if self._logins().accounts is None:
            return local_error(403, "backend_not_enabled", NOT_ENABLED)
        return self._begin(request)

    async def _begin(self, request: LocalRequest) -> LocalResponse:
        logins, port = self._logins(), self._port()
        assert logins.settings
        assert logins.attempts
        is_localhost = request.host == "localhost"
        if not is_localhost and request.values("sec-fetch-mode"):
            # A browser sends the cookie to the name that set it, and Google redirects to localhost.
            return redirect(f"http://localhost:{port}{LOGIN_PATH}")
        try:
            client = logins.settings.needed_client()
            uri = f"http://localhost:{port}{CALLBACK_PATH}"
            attempt = await asyncio.to_thread(logins.attempts.begin, uri, in_browser=is_localhost)
        except UserError as error:
            return local_error(503, "unavailable", str(error))
        url = login_url(logins.settings.authorize_url, client, logins.settings.scopes, uri, attempt.login)
        if attempt.browser is None:
            return redirect(url)
        cookie = f"{COOKIE}={attempt.browser.reveal()}; Path={CALLBACK_PATH}; Max-Age=600; HttpOnly; SameSite=Lax"
        return redirect(url, ("set-cookie", cookie))

    def callback(self, request: LocalRequest) -> LocalReply:
        """Receive the browser from Google's page: exchange the code, and store the account."""
        if refused := refusal(request):
            return refused
        if request.values("sec-fetch-mode") not in ([], ["navigate"]):
            return local_error(403, "another_site", "Only a browser that was sent here by Google may use this.")
        if self._logins().accounts is None:
            return local_error(403, "backend_not_enabled", NOT_ENABLED)
        return self._end(request)

    async def _end(self, request: LocalRequest) -> LocalResponse:
        logins = self._logins()
        assert logins.attempts
        fields = fields_of(request.query)
        attempt = await asyncio.to_thread(logins.attempts.take, fields.get("state", ""))
        if attempt is None or not is_same_browser(attempt, request):
            return page(400, "Login failed", OLD_LOGIN)
        try:
            return await self._store(logins, attempt, code_in(fields, attempt.login))
        except UserError as error:
            logger.warning("A Google login failed: %s", error)
            return page(400, "Login failed", str(error))
        except Exception as error:
            logger.error("a Google login failed: %s", safe_traceback(error))  # noqa: TRY400  # without values
            return page(500, "Login failed", "Internal error. The log of Wirekey has the reason.")

    async def _store(self, logins: GoogleLogins, attempt: LoginAttempt, code: Secret) -> LocalResponse:
        assert logins.settings
        assert logins.accounts
        new = await log_in(logins.settings, attempt, code, logins.lookup)
        used = replace(new.account, last_used=new.account.updated_at)
        account = await asyncio.to_thread(store, logins.accounts.files, used)
        logins.accounts.check()
        logger.info("The Google account %s is logged in", account.account_id)
        who = f"You are logged in as {account.email}." if account.email else "You are logged in."
        trouble = f" Its project could not be looked up: {new.trouble}" if new.trouble else ""
        return page(200, "Login successful", f"{who} The login was successful. You may close this window.{trouble}")


def refusal(request: LocalRequest, methods: tuple[str, ...] = ("GET",)) -> LocalResponse | None:
    """Return the refusal of a request that is not of a browser on this machine, or None."""
    if request.method not in methods:
        return local_error(405, "invalid_request", "Read this with GET.", ("allow", ", ".join(methods)))
    if not is_loopback(request.address) or request.is_forwarded:
        return local_error(403, "not_from_here", "Google logins are only for programs on Wirekey's own machine.")
    if not is_own_name(request.host):
        return local_error(421, "misdirected", "Use the name localhost, or a loopback address.")
    return None


def of_another_site(request: LocalRequest) -> LocalResponse | None:
    """Return the refusal of a request that a page of another origin has caused, or None."""
    sites = request.values("sec-fetch-site")
    if request.values("origin") or any(site not in ("same-origin", "none") for site in sites):
        return local_error(403, "another_site", "A page of another site may not use this.")
    return None


def is_same_browser(attempt: LoginAttempt, request: LocalRequest) -> bool:
    """Return whether a request has the cookie of the browser in which the login began."""
    if attempt.browser is None:
        return True
    pairs = [pair.strip().partition("=") for header in request.values("cookie") for pair in header.split(";")]
    values = [value for name, _, value in pairs if name == COOKIE and value.isascii() and value.isprintable() and value]
    return any(Secret(value) == attempt.browser for value in values)


def last_used(accounts: Iterable[GoogleAccount]) -> GoogleAccount | None:
    """Return the account that was used last, of those that are logged in, or None."""
    now = datetime.now(UTC).timestamp()
    good = [one for one in accounts if one.status(now) in (AccountStatus.VALID, AccountStatus.COOLING_DOWN)]
    return max(good, key=lambda one: (one.last_used or 0, one.updated_at or 0), default=None)


def status_of(account: GoogleAccount | None) -> dict[str, object]:
    """Return what /auth/status shows of an account."""
    if account is None:
        return {"authenticated": False}
    expires = None
    if account.expiry_date is not None:
        moment = datetime.fromtimestamp(account.expiry_date / 1000, UTC)
        expires = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "authenticated": True,
        "email": account.email,
        "projectId": account.project_id,
        "expiresAt": expires,
    }


def redirect(url: str, *headers: tuple[str, str]) -> LocalResponse:
    """Return a redirect that no cache may store. Its body does not have the address, which has the state."""
    body = b"Continue at the address of this redirect.\n"
    fixed = (("location", url), ("cache-control", "no-store"), ("content-type", "text/plain; charset=utf-8"))
    return LocalResponse(302, (*fixed, ("content-length", str(len(body))), *headers), body)


def page(status: int, title: str, text: str) -> LocalResponse:
    """Return a page without a script. The usual headers keep it out of frames."""
    body = (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f"<h1>{escape(title)}</h1>\n<p>{escape(text)}</p>\n</html>\n"
    ).encode()
    gone = ("set-cookie", f"{COOKIE}=; Path={CALLBACK_PATH}; Max-Age=0; HttpOnly; SameSite=Lax")
    kind = ("content-type", "text/html; charset=utf-8")
    return LocalResponse(status, (kind, ("cache-control", "no-store"), ("content-length", str(len(body))), gone), body)
