"""Keeps one access token good: replaced before it ends, by one refresh that all callers share."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from typing import TYPE_CHECKING

from wirekey.core.credentials.google.tokens import NoTokenError, UsableToken
from wirekey.core.daemon_thread import in_daemon_thread
from wirekey.core.tracebacks import safe_traceback

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.core.secret import Secret

logger = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds until the next refresh after one that failed. They double with each failure in a row."""
MARGIN = 5.0
"""Seconds before its end from which a token is not used, because clocks differ and calls take time."""
STILL_DUE = 30.0
"""Seconds until the next refresh after one whose token is due, too. Some token servers issue the same token again."""
SETTLED = 60.0
"""Seconds after which a rejection is not a consequence of the one before."""


class TokenCache:
    """The access token of one login. All methods are for the event loop's thread.

    `renew` blocks, is called in a thread, and returns another token. It raises NoTokenError. With the reason
    `unavailable` it is called again after a while; otherwise `token` fails until `replace` sets another token.
    `clock` returns Unix seconds.
    """

    def __init__(
        self,
        account_id: str,
        renew: Callable[[UsableToken | None], UsableToken],
        *,
        buffer: float,
        clock: Callable[[], float] = time.time,
        repair: str | None = None,
        login: str = "Log in again.",
    ) -> None:
        """`buffer`: seconds before its end at which a token is replaced. `renew` gets the token to replace.

        `repair`: what to do if new tokens are rejected too, for credentials that may be repaired where they are kept,
        so that another token is tried after a while. None: a person must log in again, in the way that `login` says.
        """
        self.account_id = account_id
        self._repair, self._login = repair, login
        self._renew, self._buffer, self._clock = renew, buffer, clock
        self._current: UsableToken | None = None
        self._generation = 0
        """Changes when `replace` or `end` decides the token, so that the result of an earlier refresh is dropped."""
        self._rejected = False
        self._renewed_after_rejection = -SETTLED
        self._refresh: asyncio.Task[None] | None = None
        self._failure: NoTokenError | None = None
        self._wait = FIRST_WAIT
        self._next_refresh = 0.0

    @property
    def current(self) -> UsableToken | None:
        """The token in use, or None without one that is good."""
        return self._current if self._is_good() else None

    def has(self, access_token: Secret | None) -> bool:
        """Return whether this access token is the last one, even if it has ended or was rejected."""
        return self._current is not None and self._current.access_token == access_token

    def replace(self, token: UsableToken | None) -> None:
        """Use another token, such as that of a changed file. A refresh may be tried again at once."""
        self._generation += 1
        self._current, self._rejected, self._failure = token, False, None
        self._wait, self._next_refresh = FIRST_WAIT, 0.0
        self._renewed_after_rejection = -SETTLED

    def keep_with_project(self, project_id: str | None) -> None:
        """Use the same token with another project."""
        if self._current and self._current.project_id != project_id:
            self._current = dataclasses.replace(self._current, project_id=project_id)

    def end(self, failure: NoTokenError) -> None:
        """Make `token` fail, until `replace` sets another token."""
        self._generation += 1
        self._current, self._failure, self._next_refresh = None, failure, float("inf")

    def keep_good(self) -> None:
        """Start a refresh if the token ends soon, or has ended. Call it about once a second."""
        if self._refresh is None and self._is_due() and self._clock() >= self._next_refresh:
            self._start()

    async def token(self) -> UsableToken:
        """Return a good token. Waits only if the previous one has ended. Raises NoTokenError."""
        if self._is_good():
            self.keep_good()
        else:
            await self._renewed()
        if not self._is_good():
            raise self._reason()
        assert self._current
        return self._current

    def rejected(self, token: UsableToken) -> None:
        """Note that Google responded 401 to this token. One other token is tried; then the login cools down."""
        if self._current is None or token.access_token != self._current.access_token or self._rejected:
            return  # another call has noted it already
        now = self._clock()
        if now - self._renewed_after_rejection < SETTLED:
            if self._repair is not None:
                self._rejected = True
                self._note_failure(
                    NoTokenError("unavailable", f"Google rejects its own new tokens, too. {self._repair}")
                )
                return
            message = f"Google rejects the tokens of {self.account_id}, also new ones. {self._login}"
            self.end(NoTokenError("needs_login", message))
            return
        self._rejected, self._renewed_after_rejection = True, now
        if self._failure is None:
            self._next_refresh = 0.0  # the wait was for a token that was good

    def _reason(self) -> NoTokenError:
        """Return a new error: one that is raised for many calls would collect their tracebacks."""
        if self._failure is None:
            return NoTokenError("unavailable", "Google's token has ended as soon as it was issued.")
        return NoTokenError(self._failure.reason, str(self._failure))

    def _is_good(self) -> bool:
        token = self._current
        if token is None or self._rejected:
            return False
        return token.expires is None or self._clock() < token.expires - MARGIN

    def _is_due(self) -> bool:
        token = self._current
        if token is None or self._rejected:
            return True
        return token.expires is not None and self._clock() >= token.expires - max(self._buffer, MARGIN)

    async def _renewed(self) -> None:
        if self._refresh is None:
            if self._clock() < self._next_refresh:
                return  # the last one failed a moment ago
            self._start()
        assert self._refresh
        await asyncio.shield(self._refresh)

    def _start(self) -> None:
        self._refresh = asyncio.create_task(self._run(self._current, self._generation))

    async def _run(self, before: UsableToken | None, generation: int) -> None:
        try:
            token = await in_daemon_thread(lambda: self._renew(before), "wirekey-google")
        except NoTokenError as error:
            if self._generation == generation:
                self._note_failure(error)
        except Exception as error:
            logger.error("the token of %s could not be refreshed: %s", self.account_id, safe_traceback(error))  # noqa: TRY400
            self._note_failure(NoTokenError("unavailable", f"The token of {self.account_id} could not be refreshed."))
        else:
            if self._generation == generation:  # no file has brought a different one since
                self._current, self._rejected, self._failure = token, False, None
                self._wait, self._next_refresh = FIRST_WAIT, self._after_success(token)
        finally:
            self._refresh = None

    def _after_success(self, token: UsableToken) -> float:
        """Return the earliest time of the next refresh. If the new token is due already, it is later than now."""
        if token.expires is None or not self._is_due():
            return 0.0
        now = self._clock()
        return now + min(max(token.expires - MARGIN - now, FIRST_WAIT), STILL_DUE)

    def _note_failure(self, error: NoTokenError) -> None:
        if error.reason != "unavailable":
            self.end(error)
            logger.warning("%s", error)
            return
        self._failure, self._next_refresh = error, self._clock() + self._wait
        logger.warning("%s The next attempt is in %g s.", error, self._wait)
        self._wait = min(2 * self._wait, LONGEST_WAIT)
