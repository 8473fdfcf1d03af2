"""Keeps the local copy of the agents as they are in the database, in a thread.

PostgreSQL's notifications arrive at once. The revision is also read twice a second, as a pooler or a cut connection can
lose them. While the database is unreachable, the copy stays as it was, and the agents in it stay valid.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import psycopg

from wirekey.core.errors import user_message
from wirekey.features.postgresql.agents import CHANNEL

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from wirekey.core.identity.agents import AgentStore
    from wirekey.features.postgresql.agents import AgentsConnection, AgentsDatabase

logger = logging.getLogger(__name__)

POLL = 0.5
"""Seconds between two looks at the revision, and before the next connection after a failure."""
STOPPED_WITHIN = 5.0


class AgentsFollower:
    """The thread that follows the database. One process of a machine has it.

    `agents`: a store of the same agents that only this thread uses.
    """

    def __init__(self, database: AgentsDatabase, agents: AgentStore) -> None:
        self._database, self._agents = database, agents
        self._copied: Callable[[], object] = lambda: None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wirekey-agents", daemon=True)
        self._trouble: str | None = None

    def start(self, loop: asyncio.AbstractEventLoop | None, copied: Callable[[], None]) -> None:
        """Start the thread. After it has written the copy, `copied` is called in the loop, or here without one."""
        self._copied = (lambda: loop.call_soon_threadsafe(copied)) if loop else copied
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread. Blocks for at most some seconds."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOPPED_WITHIN)

    @property
    def trouble(self) -> str | None:
        """Why the database cannot be used at present, or None."""
        return self._trouble

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._database.connected() as connection:
                    self._follow(connection)
            except Exception as error:
                self._note(user_message(error) or type(error).__name__)
                self._stopping.wait(POLL)

    def _follow(self, connection: AgentsConnection) -> None:
        connection.execute(f"LISTEN {CHANNEL}".encode())
        known = None
        while not self._stopping.is_set():
            latest = self._database.revision(connection)
            if latest != known:
                if self._agents.copy(lambda: self._database.read_on(connection)):
                    self._copied()
                known = latest
            self._note(None)
            for _ in connection.notifies(timeout=POLL, stop_after=1):
                pass
            if connection.closed:
                raise psycopg.OperationalError("the connection was closed")

    def _note(self, trouble: str | None) -> None:
        if trouble and not self._trouble:
            # Not an error, as mitmproxy would exit if it was logged during the start.
            logger.warning("%s The agents stay as they were last read.", trouble)
        elif self._trouble and not trouble:
            logger.warning("%s can be used again.", self._database.place)
        self._trouble = trouble
