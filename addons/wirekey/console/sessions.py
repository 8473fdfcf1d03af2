"""Who is signed in to the page: sessions in memory, begun with the operator's token or with a link made from it."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from typing import TYPE_CHECKING

from wirekey.console.operator_token import OperatorTokenError, verify_link_code
from wirekey.identity.throttle import Throttle, neighbourhood

if TYPE_CHECKING:
    from wirekey.console.operator_token import FollowedToken
    from wirekey.secret import Secret

LIFETIME = 12 * 3600.0
"""Seconds from signing in to the end of a session, whatever it is used for."""
IDLE = 2 * 3600.0
MOST = 100
"""Sessions at a time; of more, the oldest ends."""
USED_LINKS = 1000


class SignInError(Exception):
    """Nobody is signed in: a sentence, with the status. `wait`: seconds until the next try."""

    def __init__(self, status: int, message: str, wait: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.wait = wait


class SignInSessions:
    """For one event loop. Only hashes of what the cookies hold are kept."""

    def __init__(self, token: FollowedToken) -> None:
        self._followed = token
        self._token: Secret | None = None
        self._sessions: dict[bytes, tuple[float, float]] = {}
        self._used: dict[str, int] = {}
        self._throttle: Throttle[str] = Throttle()

    def begin(self, presented: str, address: str, ticks: float | None = None, now: float | None = None) -> str:
        """Give the cookie of a new session for the token, or for the code of a link. Raises SignInError.

        What is right is taken whatever others tried before from that address: it cannot be guessed at any speed.
        """
        ticks, now = time.monotonic() if ticks is None else ticks, time.time() if now is None else now
        self._follow()
        if self._token is None:
            raise SignInError(503, "There is no operator token. Make one on Wirekey's machine: ./run.sh console.")
        who = neighbourhood(address)
        if not self._is_good(presented, self._token, now):
            wait = self._throttle.wait(who, ticks)
            self._throttle.failed(who, ticks)
            if wait:
                raise SignInError(429, f"Too many failures. Try again in {wait} s.", wait)
            raise SignInError(401, "This is not the token, or the link was used or is too old. New: ./run.sh console.")
        self._throttle.succeeded(who)
        while len(self._sessions) >= MOST:
            del self._sessions[next(iter(self._sessions))]
        cookie = secrets.token_urlsafe(32)
        self._sessions[digest(cookie)] = (ticks + LIFETIME, ticks)
        return cookie

    def holds(self, cookie: str | None, ticks: float | None = None) -> bool:
        """Tell whether a session of that cookie is there, and count it as used now."""
        if not cookie:
            return False
        ticks = time.monotonic() if ticks is None else ticks
        try:
            self._follow()
        except SignInError:
            return False
        name = digest(cookie)
        ends, used = self._sessions.get(name, (0.0, 0.0))
        if ticks >= ends or ticks - used >= IDLE:
            self._sessions.pop(name, None)
            return False
        self._sessions[name] = (ends, ticks)
        return True

    def end(self, cookie: str | None) -> None:
        if cookie:
            self._sessions.pop(digest(cookie), None)

    def _follow(self) -> None:
        """End all sessions where the token is another one now."""
        try:
            latest = self._followed.current()
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
        return True


def digest(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode("utf-8", "surrogatepass")).digest()
