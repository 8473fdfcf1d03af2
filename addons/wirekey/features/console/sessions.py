"""The sessions of the page, in memory. They begin with the operator token or with a link derived from it."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
import time
from typing import TYPE_CHECKING

from wirekey.core.command_name import COMMAND
from wirekey.core.identity.throttle import Throttle, neighbourhood
from wirekey.features.console.operator_token import OperatorTokenError, verify_link_code

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.core.secret import Secret
    from wirekey.features.console.operator_token import ReloadedToken

LIFETIME = 12 * 3600.0
"""Seconds from signing in to the end of a session, even if it is in use."""
IDLE = 2 * 3600.0
MAX_SESSIONS = 100
"""Concurrent sessions. Beyond this, the oldest ends."""
USED_LINKS = 1000
LINK = "link "
REPORT_INTERVAL = 60.0
"""Seconds of use of a session until other workers are told."""


class SignInError(Exception):
    """Signing in failed. `status`: of the response. `wait`: seconds until the next attempt, or 0."""

    def __init__(self, status: int, message: str, wait: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.wait = wait


class SignInSessions:
    """The sessions of signed-in browsers. For one event loop. Only hashes of the cookies are kept."""

    def __init__(self, token: ReloadedToken) -> None:
        self._source = token
        self._token: Secret | None = None
        self._sessions: dict[bytes, tuple[float, float]] = {}
        self._used: dict[str, int] = {}
        self._throttle: Throttle[str] = Throttle()
        self.on_change: Callable[[tuple[str, float, float]], None] = lambda _: None
        """Called with the hash of a session's cookie, its end and its last use, for other workers.

        An end of 0 is that of a session that has ended. A used link is reported as `link NAME`, with its end.
        """

    def begin(self, presented: str, address: str, ticks: float | None = None, now: float | None = None) -> str:
        """Return the cookie of a new session for the operator token or the code of a link. Raises SignInError.

        The right token or code is accepted whatever others tried from that address: it cannot be guessed at any speed.
        """
        ticks, now = time.monotonic() if ticks is None else ticks, time.time() if now is None else now
        self._reload_token()
        if self._token is None:
            raise SignInError(503, f"There is no operator token. Create one on Wirekey's machine: {COMMAND} console.")
        who = neighbourhood(address)
        if not self._is_good(presented, self._token, now):
            wait = self._throttle.wait(who, ticks)
            self._throttle.failed(who, ticks)
            if wait:
                raise SignInError(429, f"Too many failures. Try again in {wait} s.", wait)
            raise SignInError(
                401, f"This is not the token, or the link was used or is too old. For a new link: {COMMAND} console."
            )
        self._throttle.succeeded(who)
        while len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        cookie = secrets.token_urlsafe(32)
        self._note(digest(cookie), ticks + LIFETIME, ticks)
        return cookie

    def _note(self, name: bytes, ends: float, used: float) -> None:
        self._sessions[name] = (ends, used)
        self.on_change((name.hex(), ends, used))

    def learn(self, name: str, ends: float, used: float) -> None:
        """Note a session or a used link of another worker, as `on_change` reports it."""
        if name.startswith(LINK):
            self._used[name.removeprefix(LINK)] = int(ends)
        elif ends:
            self._reload_if_new()
            self._sessions[bytes.fromhex(name)] = (ends, used)
        else:
            self._sessions.pop(bytes.fromhex(name), None)

    def _reload_if_new(self) -> None:
        """Read the token before the first session, as its change would end the session."""
        if self._token is None:
            with contextlib.suppress(SignInError):
                self._reload_token()

    def holds(self, cookie: str | None, ticks: float | None = None) -> bool:
        """Return whether a cookie belongs to a valid session, and count the session as used now."""
        if not cookie:
            return False
        ticks = time.monotonic() if ticks is None else ticks
        try:
            self._reload_token()
        except SignInError:
            return False
        name = digest(cookie)
        ends, used = self._sessions.get(name, (0.0, 0.0))
        if ticks >= ends or ticks - used >= IDLE:
            self._sessions.pop(name, None)
            return False
        self._sessions[name] = (ends, ticks)
        if ticks - used >= REPORT_INTERVAL:
            self.on_change((name.hex(), ends, ticks))
        return True

    def end(self, cookie: str | None) -> None:
        """End the session of a cookie."""
        if cookie:
            self._sessions.pop(digest(cookie), None)
            self.on_change((digest(cookie).hex(), 0.0, 0.0))

    def _reload_token(self) -> None:
        """End all sessions if the token has changed."""
        try:
            latest = self._source.current()
        except OperatorTokenError as error:
            self._sessions.clear()
            raise SignInError(503, str(error)) from error
        if latest != self._token:
            self._token = latest
            self._sessions.clear()
            self._used.clear()

    def _is_good(self, presented: str, token: Secret, now: float) -> bool:
        if hmac.compare_digest(presented.encode("utf-8", "surrogatepass"), token.reveal().encode()):
            return True
        found = verify_link_code(presented, token, now) if len(presented) < 256 and presented.isascii() else None
        if found is None or found[0] in self._used:
            return False
        self._used = {claim: ends for claim, ends in self._used.items() if ends > now}
        if len(self._used) >= USED_LINKS:
            return False
        self._used[found[0]] = found[1]
        self.on_change((f"{LINK}{found[0]}", float(found[1]), 0.0))
        return True


def digest(cookie: str) -> bytes:
    """Return the hash under which a cookie is kept."""
    return hashlib.sha256(cookie.encode("utf-8", "surrogatepass")).digest()
