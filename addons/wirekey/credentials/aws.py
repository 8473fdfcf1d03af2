"""The organisation's AWS credentials, ready when a call needs them: found, kept, renewed before they end.

Where a role is assumed, each agent has a session of its own. Everything slow happens in threads beside the event
loop; several calls that want the same wait for one answer. What failed is not tried again at once, and what is still
good stays in use while its renewal fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.call import Agent
    from wirekey.signing.request import SigV4Credentials

logger = logging.getLogger(__name__)

MARGIN = 60.0
"""Seconds before their end in which credentials are not used any more: clocks differ."""
RENEWAL = 14 * 60.0
"""Seconds before their end at which they are renewed, or a third of their life where that is less. botocore renews
what it holds itself in the last 15 minutes."""
RECHECK = 300.0
"""Seconds after which credentials without an end are looked for anew: the file that they stand in may have changed."""
SHORTEST_WAIT = 30.0
"""Seconds between two renewals of the same, and between two times that refused ones are looked for anew."""
DEADLINE = 20.0
"""Seconds after which a search is given up: `credential_process` knows no limit of its own."""
FIRST_COOL_DOWN, MAX_COOL_DOWN = 5.0, 60.0
"""Seconds in which a failure is remembered, doubled at each one in a row."""
SEARCHES = 4
"""Searches under way at a time."""
SESSIONS = 1000
ENDED = "The AWS credentials that were found have ended, or end within a minute. Renew them."


class CredentialsUnavailable(Exception):  # noqa: N818  # it is a state of the world rather than an error of anyone's
    """There are no AWS credentials to sign with. Its text names the setting and the fix, and holds no secret.

    `for_all`: no other agent would get any either.
    """

    def __init__(self, sentence: str, *, for_all: bool = True) -> None:
        super().__init__(sentence)
        self.sentence, self.for_all = sentence, for_all


@dataclass(frozen=True, slots=True)
class ExpiringCredentials:
    """Credentials, and when they end in Unix seconds; None: not known, or never."""

    credentials: SigV4Credentials
    expires: float | None = None


class CredentialSource(Protocol):
    """Where credentials come from. Its methods block and are called in threads, several at a time."""

    per_agent: bool
    """Whether each agent has credentials of its own."""

    def fetch(self, agent: Agent | None) -> ExpiringCredentials:
        """Raise CredentialsUnavailable."""

    def forget(self) -> None:
        """Look into files and environment anew at the next fetch."""


@dataclass(frozen=True, slots=True)
class SearchFailure:
    sentence: str
    until: float
    cool_down: float


@dataclass(slots=True, eq=False)
class AgentSession:
    """The credentials of one agent, or of all."""

    found: ExpiringCredentials | None = None
    renew_at: float = 0.0
    found_at: float = 0.0
    search: asyncio.Task[str] | None = None
    """Gives the sentence of why there is nothing; empty where it found something."""
    failure: SearchFailure | None = None

    def good(self, now: float) -> SigV4Credentials | None:
        found = self.found
        if found is None or (found.expires is not None and now >= found.expires - MARGIN):
            return None
        return found.credentials


class AwsCredentialCache:
    """For one event loop. `now` gives Unix seconds."""

    def __init__(
        self, source: CredentialSource, *, sessions: int = SESSIONS, now: Callable[[], float] = time.time
    ) -> None:
        self.source = source
        self._limit = sessions
        self._now = now
        self._sessions: OrderedDict[tuple[str, str | None] | None, AgentSession] = OrderedDict()
        self._searches = asyncio.Semaphore(SEARCHES)
        self._failure: SearchFailure | None = None
        """The last one that no agent is spared, while nobody found anything since."""
        self._under_way: set[asyncio.Task[str]] = set()

    def current(self, agent: Agent | None) -> SigV4Credentials | None:
        """Give the credentials for a call of `agent` at once; None where they must be fetched first.

        Begins to renew them where their end is near. To be called on the event loop.
        """
        key = self._key(agent)
        session = self._sessions.get(key)
        if session is None:
            return None
        self._sessions.move_to_end(key)
        now = self._now()
        credentials = session.good(now)
        if credentials and now >= session.renew_at and session.search is None and not self._resting(session, now):
            self._search(session, agent)
        return credentials

    async def fetch(self, agent: Agent | None) -> SigV4Credentials:
        """Give the credentials for a call of `agent`, after a search where there are none.

        Raises CredentialsUnavailable, at once where the last search failed a moment ago.
        """
        if credentials := self.current(agent):
            return credentials
        session = self._session(agent)
        if failure := self._resting(session, self._now()):
            raise CredentialsUnavailable(failure.sentence)
        sentence = await asyncio.shield(session.search or self._search(session, agent))
        if credentials := session.good(self._now()):
            return credentials
        raise CredentialsUnavailable(sentence or ENDED)

    def refused(self, agent: Agent | None, credentials: SigV4Credentials) -> None:
        """Take note that AWS did not know these, or that they have ended: the next call looks for others.

        Not at every refusal: those found a moment ago would be found again.
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

    def _resting(self, session: AgentSession, now: float) -> SearchFailure | None:
        """Give the failure that is too fresh to try again; a clock that was set back does not prolong it."""
        for failure in (session.failure, self._failure):
            if failure and 0 < failure.until - now <= failure.cool_down:
                return failure
        return None

    def _search(self, session: AgentSession, agent: Agent | None) -> asyncio.Task[str]:
        search = session.search = asyncio.get_running_loop().create_task(self._look(session, agent))
        # The loop itself does not hold on to tasks, and the session may be given up meanwhile.
        self._under_way.add(search)
        search.add_done_callback(self._under_way.discard)
        return search

    async def _look(self, session: AgentSession, agent: Agent | None) -> str:
        """Fill the session, or say why not. Raises nothing but a cancellation."""
        try:
            async with self._searches:
                # Others may have found out, while this one waited for its turn, that there is nothing to be had.
                if failure := self._resting(session, self._now()):
                    return failure.sentence
                found = await asyncio.wait_for(in_thread(lambda: self.source.fetch(agent)), DEADLINE)
        except CredentialsUnavailable as error:
            return self._fail(session, error)
        except TimeoutError:
            sentence = (
                f"AWS credentials were not found within {DEADLINE:.0f} seconds. Look at what "
                "providers.bedrock.aws leads to: a credential_process that does not end, or a network that "
                "does not answer."
            )
            return self._fail(session, CredentialsUnavailable(sentence))
        except Exception as error:  # whatever it was, calls must get an answer
            sentence = f"AWS credentials could not be got ({type(error).__name__}). Check providers.bedrock.aws."
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
        still = "; those in use are still good" if session.good(now) else ""
        logger.warning("%s (tried again after %.0f s%s)", error.sentence, cool_down, still)
        return error.sentence


async def in_thread[T](function: Callable[[], T]) -> T:
    """Run `function` in a thread that the process does not wait for when it ends."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def deliver(settle: Callable[[], None]) -> None:
        def unless_given_up() -> None:
            if not future.done():
                settle()

        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(unless_given_up)

    def run() -> None:
        try:
            result = function()
        except Exception as error:  # it is raised where it is waited for
            failed = error
            deliver(lambda: future.set_exception(failed))
        else:
            deliver(lambda: future.set_result(result))

    threading.Thread(target=run, name="aws-credentials", daemon=True).start()
    return await future
