"""Revokes, suspends and resumes an agent on all machines that share a state, as soon as that is done on one of them.

The shared state has a list of revocations and one of suspensions: names of agents, with the time of the last change.
Every machine adds its own entries, and stores those of the others with its agents. So a machine that could not reach
the shared state, and a server that has lost its data, learn of all of them later.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import time
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from wirekey.core.errors import user_message
from wirekey.core.identity.agents_format import NAME, Suspension
from wirekey.core.shared_state import SharedStateUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wirekey.core.identity.agents import AgentStore
    from wirekey.core.shared_state import SharedState

logger = logging.getLogger(__name__)

KEY = TOPIC = "revocations"
SUSPENSIONS_KEY = "suspensions"
INTERVAL = 0.25
"""Seconds between two looks at the agents of this machine."""
QUERY_INTERVAL = 1.0
"""Seconds after which the lists are read again, even if no message has arrived: messages can be lost."""
KEPT = 30 * 86400.0
"""Seconds for which the shared state keeps a list. Machines that run write it again."""
MOST = 1000
"""Entries in a list: the latest ones."""
MOST_HERE = 10_000
"""Revoked agents of this machine beyond which names that it does not know are not added."""

type Moment = float
"""In Unix seconds."""
type Entry = Moment | tuple[Moment, bool]
"""When an agent was revoked, or when it was suspended or resumed and which of both. The greater of two applies."""

_revocations_decoder = msgspec.json.Decoder(dict[str, float])
_suspensions_decoder = msgspec.json.Decoder(dict[str, tuple[float, bool]])


class SharedList(ABC):
    """A list of the shared state, as one machine last read or wrote it. `agents`: those that the process uses."""

    key: str
    words: str
    """The beginning of the log line about changed agents."""
    decoder: msgspec.json.Decoder[Any]

    def __init__(self, agents: AgentStore) -> None:
        self.agents = agents
        self.listed: Mapping[str, Entry] = {}
        self._compared: tuple[Mapping[str, Any] | None, Mapping[str, Entry]] = None, {}
        """The entries of this machine, and the list that has all of them."""

    @abstractmethod
    def own(self) -> Mapping[str, Any]:
        """Return what this machine knows, by name: the same object until the agents change."""

    @abstractmethod
    def entry(self, known: Any) -> Entry:
        """Return a value of `own` as an entry of the list."""

    @abstractmethod
    def news(self) -> dict[str, Any]:
        """Return what the list changes on this machine, by name."""

    @abstractmethod
    def apply(self, store: AgentStore, news: Mapping[str, Any]) -> None:
        """Store the changes. Blocks."""

    def unlisted(self) -> dict[str, Entry] | None:
        """Return the list with the entries of this machine, or None if it has them."""
        own = self.own()
        if own is self._compared[0] and self.listed is self._compared[1]:
            return None
        latest = merged(self.listed, {name: self.entry(known) for name, known in own.items()})
        if latest != self.listed:
            return latest
        self._compared = own, self.listed
        return None


class RevokedAgents(SharedList):
    """The agents that were revoked, and when."""

    key = KEY
    words = "Revoked"
    decoder = _revocations_decoder

    def own(self) -> Mapping[str, datetime]:
        """Return the revocations of this machine."""
        return self.agents.revocations

    def entry(self, known: datetime) -> Entry:
        """Return the time of a revocation."""
        return known.timestamp()

    def news(self) -> dict[str, datetime]:
        """Return the revocations that concern agents of this machine which are not revoked here."""
        agents = self.agents
        found = {
            name: moment
            for name, entry in self.listed.items()
            if agents.is_revoked_by(name, moment := datetime.fromtimestamp(moment_of(entry), UTC))
        }
        if len(agents.revocations) >= MOST_HERE:
            return {name: moment for name, moment in found.items() if agents.has(name)}
        return found

    def apply(self, store: AgentStore, news: Mapping[str, datetime]) -> None:
        """Revoke the agents."""
        store.revoke_all(news)


class SuspendedAgents(SharedList):
    """The agents that were suspended or resumed, which of both, and when."""

    key = SUSPENSIONS_KEY
    words = "Suspended or resumed"
    decoder = _suspensions_decoder

    def own(self) -> Mapping[str, Suspension]:
        """Return the agents of this machine that were ever suspended."""
        return self.agents.suspensions

    def entry(self, known: Suspension) -> Entry:
        """Return the time of the last change, and whether the agent is suspended."""
        return known.moment.timestamp(), known.suspended

    def news(self) -> dict[str, Suspension]:
        """Return the changes of agents of this machine that are later than its own."""
        return {
            name: change
            for name, entry in self.listed.items()
            if isinstance(entry, tuple)
            and self.agents.is_changed_by(name, change := Suspension(datetime.fromtimestamp(entry[0], UTC), entry[1]))
        }

    def apply(self, store: AgentStore, news: Mapping[str, Suspension]) -> None:
        """Suspend or resume the agents."""
        store.suspend_all(news)


class Revocations:
    """The exchange of revocations and suspensions of one machine. One process of the machine has it.

    `agents`: those that the process uses. `open_agents` returns a store of the same agents for use in a thread.
    `changed` is called after agents were changed here.
    """

    def __init__(
        self,
        state: SharedState,
        agents: AgentStore,
        open_agents: Callable[[], AgentStore],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._state = state
        self._agents = agents
        self._open_agents = open_agents
        self._changed = changed
        self._lists: tuple[SharedList, ...] = RevokedAgents(agents), SuspendedAgents(agents)
        self._is_listed_again = asyncio.Event()
        self._trouble: str | None = None
        state.subscribe(TOPIC, lambda _: self._is_listed_again.set())

    async def follow(self) -> None:
        """Exchange both lists until the task is cancelled."""
        queried = float("-inf")
        while True:
            self._agents.refresh()
            is_due = time.monotonic() - queried >= QUERY_INTERVAL
            if is_due or self._is_listed_again.is_set() or any(one.unlisted() for one in self._lists):
                self._is_listed_again.clear()
                queried = time.monotonic()
                await self.exchange_or_report()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL):
                    await self._is_listed_again.wait()

    async def exchange_or_report(self) -> None:
        """Exchange both lists once. Never raises: a failure is reported once, and tried again."""
        trouble = None
        try:
            for one in self._lists:
                await self._exchange(one)
        except SharedStateUnavailableError:
            return  # the state reports it
        except Exception as error:
            trouble = user_message(error) or type(error).__name__
        if trouble and trouble != self._trouble:
            # Not an error, as mitmproxy would exit if it was logged during the start.
            logger.warning(
                "Agents that other machines have revoked or suspended are not revoked here, or not suspended: %s",
                trouble,
            )
        self._trouble = trouble

    async def _exchange(self, one: SharedList) -> None:
        """Change the agents here as the list says, and add the entries of this machine to it.

        Raises SharedStateUnavailableError, AgentsFileError.
        """
        found = await self._state.get(one.key)
        one.listed = read_list(found, one.decoder)
        if news := one.news():
            await asyncio.to_thread(lambda: one.apply(self._open_agents(), news))
            self._agents.refresh()
            self._changed()
            logger.warning("%s here, as on another machine: %s", one.words, ", ".join(sorted(news)))
        latest = one.unlisted()
        if latest and await self._write(one.key, found, msgspec.json.encode(latest)):
            one.listed = latest
            await self._state.publish(TOPIC, b"")

    async def _write(self, key: str, found: bytes | None, latest: bytes) -> bool:
        """Replace a list. Return False if another machine has changed it since it was read."""
        if found is None:
            return await self._state.add(key, latest, KEPT) is None
        return await self._state.replace(key, found, latest, KEPT)


def moment_of(entry: Entry) -> Moment:
    """Return when an entry happened."""
    return entry[0] if isinstance(entry, tuple) else entry


def read_list(
    stored: bytes | None, decoder: msgspec.json.Decoder[dict[str, Any]] = _revocations_decoder
) -> dict[str, Entry]:
    """Return a stored list. Entries that are not valid are left out."""
    try:
        found = decoder.decode(stored) if stored else {}
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    now = time.time()
    return {name: entry for name, entry in found.items() if NAME.fullmatch(name) and 0 < moment_of(entry) < now + KEPT}


def merged(listed: Mapping[str, Entry], own: Mapping[str, Entry]) -> dict[str, Entry]:
    """Return the latest entries of both."""
    union = dict(listed)
    for name, entry in own.items():
        union[name] = max(entry, union.get(name, entry))
    if len(union) <= MOST:
        return union
    return dict(heapq.nlargest(MOST, union.items(), key=lambda item: (moment_of(item[1]), item[0])))
