"""The organisation's AWS credentials, available when a call needs them: found, cached, renewed before they expire.

If a role is assumed, each agent has a session of its own. Everything slow runs in threads beside the event loop, and
several calls that need the same credentials wait for one search. A failed search is not repeated at once, and valid
credentials stay in use while their renewal fails.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from wirekey.core.daemon_thread import in_daemon_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.core.call import Agent
    from wirekey.core.signing.request import SigV4Credentials

logger = logging.getLogger(__name__)

MARGIN = 60.0
"""Seconds before their expiry from which credentials are no longer used, because clocks differ."""
RENEWAL = 14 * 60.0
"""Seconds before their expiry at which they are renewed, or a third of their lifetime if that is less. botocore renews
its own credentials in the last 15 minutes."""
RECHECK = 300.0
"""Seconds after which credentials without expiry are searched again, because their file may have changed."""
SHORTEST_WAIT = 30.0
"""Seconds between two renewals of the same credentials, and between two searches after AWS refused them."""
DEADLINE = 20.0
"""Seconds after which a search is abandoned: `credential_process` has no limit of its own."""
FIRST_COOL_DOWN, MAX_COOL_DOWN = 5.0, 60.0
"""Seconds for which a failure is remembered. They double with each failure in a row."""
SEARCHES = 4
"""Concurrent searches."""
SESSIONS = 1000
ENDED = "The AWS credentials have expired, or expire within a minute. Renew them."


class CredentialsUnavailable(Exception):  # noqa: N818  # a state rather than an error of the caller
    """No AWS credentials to sign with. The message names the setting and the fix, and contains no secret.

    `for_all`: the other agents cannot get any either.
    """

    def __init__(self, sentence: str, *, for_all: bool = True) -> None:
        super().__init__(sentence)
        self.sentence, self.for_all = sentence, for_all


@dataclass(frozen=True, slots=True)
class ExpiringCredentials:
    """Credentials and their expiry in Unix seconds. None: unknown or never."""

    credentials: SigV4Credentials
    expires: float | None = None


class CredentialSource(Protocol):
    """A source of credentials. Its methods block and are called in threads, several at a time."""

    per_agent: bool
    """Whether each agent has credentials of its own."""

    def fetch(self, agent: Agent | None) -> ExpiringCredentials:
        """Return credentials for an agent. Raises CredentialsUnavailable."""

    def forget(self) -> None:
        """Read files and environment again at the next fetch."""


@dataclass(frozen=True, slots=True)
class SearchFailure:
    """The last failed search. `until`: when the next one may start. `cool_down`: the length of the wait in seconds."""

    sentence: str
    until: float
    cool_down: float


@dataclass(slots=True, eq=False)
class AgentSession:
    """The credentials of one agent, or of all agents."""

    found: ExpiringCredentials | None = None
    renew_at: float = 0.0
    found_at: float = 0.0
    search: asyncio.Task[str] | None = None
    """Its result is the error message, or empty if it found credentials."""
    failure: SearchFailure | None = None

    def valid(self, now: float) -> SigV4Credentials | None:
        """Return the credentials if they are valid at `now` (Unix seconds), or None."""
        found = self.found
        if found is None or (found.expires is not None and now >= found.expires - MARGIN):
            return None
        return found.credentials


class AwsCredentialCache:
    """Caches the credentials of a source for each agent, and renews them. For one event loop.

    `now` returns Unix seconds.
    """

    def __init__(
        self, source: CredentialSource, *, sessions: int = SESSIONS, now: Callable[[], float] = time.time
    ) -> None:
        self.source = source
        self._limit = sessions
        self._now = now
        self._sessions: OrderedDict[tuple[str, str | None] | None, AgentSession] = OrderedDict()
        self._searches = asyncio.Semaphore(SEARCHES)
        self._failure: SearchFailure | None = None
        """The last failure that concerns all agents, until a search succeeds."""
        self._in_progress: set[asyncio.Task[str]] = set()

    def current(self, agent: Agent | None) -> SigV4Credentials | None:
        """Return the credentials for a call of `agent`, or None if they must be fetched first.

        Starts their renewal when their expiry is near. Call it on the event loop.
        """
        key = self._key(agent)
        session = self._sessions.get(key)
        if session is None:
            return None
        self._sessions.move_to_end(key)
        now = self._now()
        credentials = session.valid(now)
        if (
            credentials
            and now >= session.renew_at
            and session.search is None
            and not self._recent_failure(session, now)
        ):
            self._search(session, agent)
        return credentials

    async def fetch(self, agent: Agent | None) -> SigV4Credentials:
        """Return the credentials for a call of `agent`. Searches for them if no valid ones are cached.

        Raises CredentialsUnavailable, immediately if the last search failed a moment ago.
        """
        if credentials := self.current(agent):
            return credentials
        session = self._session(agent)
        if failure := self._recent_failure(session, self._now()):
            raise CredentialsUnavailable(failure.sentence)
        sentence = await asyncio.shield(session.search or self._search(session, agent))
        if credentials := session.valid(self._now()):
            return credentials
        raise CredentialsUnavailable(sentence or ENDED)

    def refused(self, agent: Agent | None, credentials: SigV4Credentials) -> None:
        """Discard credentials that AWS rejected or that have expired, so that the next call searches again.

        Credentials found a moment ago are kept, because a search would find them again.
        """
        session = self._sessions.get(self._key(agent))
        if session is None or session.found is None or session.found.credentials is not credentials:
            return
        if self._now() - session.found_at >= SHORTEST_WAIT:
            session.found = None
            self.source.forget()

    def _key(self, agent: Agent | None) -> tuple[str, str | None] | None:
        return (agent.id, agent.role) if agent and self.source.per_agent else None

    def _session(self, agent: Agent | None) -> AgentSession:
        key = self._key(agent)
        session = self._sessions.setdefault(key, AgentSession())
        self._sessions.move_to_end(key)
        while len(self._sessions) > self._limit:
            self._sessions.popitem(last=False)
        return session

    def _recent_failure(self, session: AgentSession, now: float) -> SearchFailure | None:
        """Return the failure that is too recent for another search, or None.

        A clock that was set back does not prolong it.
        """
        for failure in (session.failure, self._failure):
            if failure and 0 < failure.until - now <= failure.cool_down:
                return failure
        return None

    def _search(self, session: AgentSession, agent: Agent | None) -> asyncio.Task[str]:
        search = session.search = asyncio.get_running_loop().create_task(self._look(session, agent))
        # The loop keeps no reference to tasks, and the session may be discarded.
        self._in_progress.add(search)
        search.add_done_callback(self._in_progress.discard)
        return search

    async def _look(self, session: AgentSession, agent: Agent | None) -> str:
        """Fill the session, or return the error message. Raises only cancellations."""
        try:
            async with self._searches:
                # Another search may have failed while this one waited.
                if failure := self._recent_failure(session, self._now()):
                    return failure.sentence
                found = await asyncio.wait_for(
                    in_daemon_thread(lambda: self.source.fetch(agent), "aws-credentials"), DEADLINE
                )
        except CredentialsUnavailable as error:
            return self._fail(session, error)
        except TimeoutError:
            sentence = (
                f"AWS credentials were not found within {DEADLINE:.0f} seconds. Check what "
                "providers.bedrock.aws refers to: a credential_process may not end, or a network may not respond."
            )
            return self._fail(session, CredentialsUnavailable(sentence))
        except Exception as error:  # whatever it was, calls must get a response
            sentence = f"AWS credentials could not be read ({type(error).__name__}). Check providers.bedrock.aws."
            return self._fail(session, CredentialsUnavailable(sentence))
        else:
            self._keep(session, found)
            return ""
        finally:
            session.search = None

    def _keep(self, session: AgentSession, found: ExpiringCredentials) -> None:
        now = self._now()
        session.found, session.found_at = found, now
        session.failure = self._failure = None
        if found.expires is None:
            session.renew_at = now + RECHECK
        else:
            ahead = min(RENEWAL, (found.expires - now) / 3)
            session.renew_at = max(now + SHORTEST_WAIT, found.expires - ahead)

    def _fail(self, session: AgentSession, error: CredentialsUnavailable) -> str:
        now = self._now()
        previous = self._failure if error.for_all else session.failure
        in_a_row = previous is not None and abs(now - previous.until) <= MAX_COOL_DOWN
        cool_down = min(MAX_COOL_DOWN, previous.cool_down * 2) if previous and in_a_row else FIRST_COOL_DOWN
        failure = SearchFailure(error.sentence, now + cool_down, cool_down)
        if error.for_all:
            self._failure = failure
        else:
            session.failure = failure
        still = "; the current ones are still valid" if session.valid(now) else ""
        logger.warning("%s (next attempt in %.0f s%s)", error.sentence, cool_down, still)
        return error.sentence
