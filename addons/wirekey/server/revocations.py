"""Revokes an agent on all machines that share a state, as soon as it is revoked on one of them.

The shared state has one list: the names of revoked agents, and when they were revoked. Every machine adds its own
revocations to it, and stores those of the others with its agents. So a machine that could not reach the shared state,
and a server that has lost its data, learn of all revocations later.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from wirekey.errors import user_message
from wirekey.identity.agents_format import NAME
from wirekey.shared_state import SharedStateUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wirekey.identity.agents import AgentStore
    from wirekey.shared_state import SharedState

logger = logging.getLogger(__name__)

KEY = TOPIC = "revocations"
INTERVAL = 0.25
"""Seconds between two looks at the agents of this machine."""
ASKED_EVERY = 1.0
"""Seconds after which the list is read again, even if no message has arrived: messages can be lost."""
KEPT = 30 * 86400.0
"""Seconds for which the shared state keeps the list. Machines that run write it again."""
MOST = 1000
"""Revocations in the list: the latest ones."""
MOST_HERE = 10_000
"""Revoked agents of this machine beyond which names that it does not know are not added."""

_decoder = msgspec.json.Decoder(dict[str, float])


class Revocations:
    """The revocations of one machine. One process of the machine has it.

    `agents`: those that the process uses. `open_agents` returns a store of the same agents for use in a thread.
    `revoked` is called after agents were revoked here.
    """

    def __init__(
        self,
        state: SharedState,
        agents: AgentStore,
        open_agents: Callable[[], AgentStore],
        revoked: Callable[[], None] = lambda: None,
    ) -> None:
        self._state = state
        self._agents = agents
        self._open_agents = open_agents
        self._revoked = revoked
        self._listed: Mapping[str, float] = {}
        """The list as it was read or written last."""
        self._compared: tuple[Mapping[str, datetime] | None, Mapping[str, float]] = None, {}
        """The revocations of this machine, and the list that has all of them."""
        self._is_listed_again = asyncio.Event()
        self._trouble: str | None = None
        state.subscribe(TOPIC, lambda _: self._is_listed_again.set())

    async def follow(self) -> None:
        """Exchange revocations until the task is cancelled."""
        asked = float("-inf")
        while True:
            self._agents.refresh()
            if self._is_listed_again.is_set() or self._unlisted() or time.monotonic() - asked >= ASKED_EVERY:
                self._is_listed_again.clear()
                asked = time.monotonic()
                await self.exchange_or_report()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL):
                    await self._is_listed_again.wait()

    async def exchange_or_report(self) -> None:
        """Exchange revocations once. Never raises: a failure is reported once, and tried again."""
        trouble = None
        try:
            await self.exchange()
        except SharedStateUnavailableError:
            return  # the state reports it
        except Exception as error:
            trouble = user_message(error) or type(error).__name__
        if trouble and trouble != self._trouble:
            # Not an error, as mitmproxy would exit if it was logged during the start.
            logger.warning("Agents that were revoked on other machines are not revoked here: %s", trouble)
        self._trouble = trouble

    async def exchange(self) -> None:
        """Revoke here the agents of the list, and add the revocations of this machine to it.

        Raises SharedStateUnavailableError, AgentsFileError.
        """
        found = await self._state.get(KEY)
        self._listed = read_list(found)
        if news := self._news():
            await asyncio.to_thread(lambda: self._open_agents().revoke_all(news))
            self._agents.refresh()
            self._revoked()
            logger.warning("Revoked here, as on another machine: %s", ", ".join(sorted(news)))
        latest = self._unlisted()
        if latest and await self._write(found, msgspec.json.encode(latest)):
            self._listed = latest
            await self._state.publish(TOPIC, b"")

    async def _write(self, found: bytes | None, latest: bytes) -> bool:
        """Replace the list. Return False if another machine has changed it since it was read."""
        if found is None:
            return await self._state.add(KEY, latest, KEPT) is None
        return await self._state.replace(KEY, found, latest, KEPT)

    def _news(self) -> dict[str, datetime]:
        """Return the revocations of the list that concern agents of this machine which are not revoked here."""
        agents = self._agents
        found = {
            name: moment
            for name, timestamp in self._listed.items()
            if agents.is_revoked_by(name, moment := datetime.fromtimestamp(timestamp, UTC))
        }
        if len(agents.revocations) >= MOST_HERE:
            return {name: moment for name, moment in found.items() if agents.has(name)}
        return found

    def _unlisted(self) -> dict[str, float] | None:
        """Return the list with the revocations of this machine, or None if it has them."""
        own_revocations = self._agents.revocations
        if own_revocations is self._compared[0] and self._listed is self._compared[1]:
            return None
        latest = merged(self._listed, {name: moment.timestamp() for name, moment in own_revocations.items()})
        if latest != self._listed:
            return latest
        self._compared = own_revocations, self._listed
        return None


def read_list(stored: bytes | None) -> dict[str, float]:
    """Return the stored list. Entries that are not valid are left out."""
    try:
        found = _decoder.decode(stored) if stored else {}
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    now = time.time()
    return {name: moment for name, moment in found.items() if NAME.fullmatch(name) and 0 < moment < now + KEPT}


def merged(listed: Mapping[str, float], own: Mapping[str, float]) -> dict[str, float]:
    """Return the latest revocations of both."""
    union = dict(listed)
    for name, moment in own.items():
        union[name] = max(moment, union.get(name, 0.0))
    if len(union) <= MOST:
        return union
    return dict(heapq.nlargest(MOST, union.items(), key=lambda entry: (entry[1], entry[0])))
