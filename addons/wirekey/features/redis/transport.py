"""Sends the commands of all calls to Redis over a few connections that are made before they are needed.

A call waits for its own reply only. Waiting for a connection, or for the event loop of this process, never counts as a
failure of the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from wirekey.core.shared_state.protocol import SharedStateUnavailableError
from wirekey.features.redis.breaker import Breaker
from wirekey.features.redis.client import CONNECT_LIMIT
from wirekey.features.redis.connection import PipelinedConnection, RedisCommand
from wirekey.features.redis.replies import MalformedReplyError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

logger = logging.getLogger(__name__)

CONNECTIONS = 2
"""One is used. The other takes over if it hangs or ends."""
UNCONNECTED_LIMIT = 1.0
"""Seconds for which a command waits for a connection."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds between attempts to connect."""


REASONS: dict[type[Exception], str] = {
    TimeoutError: "no response in time",
    MalformedReplyError: "a reply of another shape",
}


class Transport:
    """Connections to one server. `connect` returns a new one; `scripts` are loaded before calls use it."""

    def __init__(self, connect: Callable[[], Awaitable[Any]], place: str, scripts: Sequence[str]) -> None:
        self._connect = connect
        self._place = place
        self._scripts = scripts
        self._breaker = Breaker()
        self._connections: list[PipelinedConnection] = []
        self._waiting: deque[RedisCommand] = deque()
        """Commands without a connection."""
        self._keeping: list[asyncio.Task[None]] = []
        self._is_unreachable = False
        """Whether no connection could be made the last time."""
        self._attempted = asyncio.Event()
        self._trouble = f"Redis at {place} is not connected yet"

    async def ask[Result](self, command: RedisCommand, read: Callable[[Any], Result]) -> Result:
        """Return the reply as `read` has checked it, which raises MalformedReplyError for one of another shape.

        Raises SharedStateUnavailableError.
        """
        if not self._breaker.allows() or (self._is_unreachable and not command.is_patient):
            raise SharedStateUnavailableError(self._trouble)
        self.begin()
        self._send(command)
        try:
            result = read(await command.future)
        except asyncio.CancelledError:
            self._undo(command)
            raise
        except Exception as error:
            self._undo(command)
            if not isinstance(error, SharedStateUnavailableError):  # that it had no connection is no failure
                self._fail(error)
            raise SharedStateUnavailableError(self._trouble) from error
        finally:
            command.wait_no_longer()
        self._succeed()
        return result

    def begin(self) -> None:
        """Begin to connect, unless it has begun."""
        if not self._keeping:
            self._keeping = [asyncio.create_task(self._keep_connected()) for _ in range(CONNECTIONS)]

    async def ready(self) -> None:
        """Wait for the first connection. Raises SharedStateUnavailableError if it cannot be made."""
        self.begin()
        await self._attempted.wait()
        if not self._connections:
            raise SharedStateUnavailableError(self._trouble)

    async def close(self) -> None:
        """Close the connections."""
        for task in self._keeping:
            task.cancel()
        await asyncio.gather(*self._keeping, return_exceptions=True)
        self._keeping = []
        self._release(lambda _: True)

    def trouble(self) -> str | None:
        """Return why the server counts as away, or None."""
        return self._trouble if self._breaker.is_open else None

    # Sending.

    def _send(self, command: RedisCommand) -> None:
        if self._connections:
            # The first, so that commands of the same moment are one write, unless it owes replies.
            min(self._connections, key=attrgetter("overdue")).send(command)
        else:
            self._wait_for_connection(command)

    def _wait_for_connection(self, command: RedisCommand) -> None:
        """Keep a command until there is a connection. One that has come back already waits for the rest of the time."""
        command.wait_no_longer()
        loop = asyncio.get_running_loop()
        if command.waits_until is None:
            command.waits_until = loop.time() + UNCONNECTED_LIMIT
        self._waiting.append(command)
        unavailable = SharedStateUnavailableError(self._trouble)
        command.timer = loop.call_at(command.waits_until, command.expire, unavailable)

    def _send_waiting(self, connection: PipelinedConnection) -> None:
        """Send the commands that wait. The time limit of a patient one includes its wait."""
        now = asyncio.get_running_loop().time()
        while self._waiting:
            command = self._waiting.popleft()
            command.wait_no_longer()
            if command.is_patient and command.waits_until is not None:
                command.limit = max(command.limit / 4, command.waits_until - now)
            connection.send(command)

    def _undo(self, command: RedisCommand) -> None:
        """Undo a command that the server may run, or have run, although nobody waits for it any more."""
        if command.undo is None or command.sent_on is None:
            return
        undo = RedisCommand(command.undo(), command.limit)
        undo.future.add_done_callback(lambda future: future.cancelled() or future.exception())
        if command.sent_on in self._connections:
            command.sent_on.send(undo)  # after the command
        else:
            self._send(undo)

    def _release(self, is_meant: Callable[[RedisCommand], bool]) -> None:
        """Fail commands that wait for a connection."""
        for command in [command for command in self._waiting if is_meant(command)]:
            self._waiting.remove(command)
            command.expire(SharedStateUnavailableError(self._trouble))

    # Connections.

    async def _keep_connected(self) -> None:
        """Make one of the connections, use it until it ends, and make it again."""
        pause = FIRST_PAUSE
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                async with asyncio.timeout(CONNECT_LIMIT):
                    made = await self._connect()
                    await self._warm(made)
            except Exception as error:  # whatever it is, the next attempt may succeed
                self._not_connected(error)
            else:
                await self._use(made)
            if loop.time() > began + CONNECT_LIMIT + LONGEST_PAUSE:
                pause = FIRST_PAUSE  # it was of use for a while
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _warm(self, made: Any) -> None:
        """Load the scripts, so that no call waits for that. A user who may not load them runs them by their source."""
        from redis.exceptions import ResponseError

        commands = [("PING",), *(("SCRIPT", "LOAD", source) for source in self._scripts)]
        try:
            await made.send_packed_command(made.pack_commands(commands), check_health=False)
            for _ in commands:
                with contextlib.suppress(ResponseError):
                    await made.read_response(disable_decoding=True)
        except BaseException:
            await made.disconnect(nowait=True)
            raise

    async def _use(self, made: Any) -> None:
        connection = PipelinedConnection(made, self._wait_for_connection, self._breaker.probe_now)
        self._connections.append(connection)
        self._is_unreachable = False
        self._attempted.set()
        self._succeed()
        self._send_waiting(connection)
        try:
            error = await connection.run()
        finally:
            self._connections.remove(connection)
        logger.debug("A connection to Redis at %s has ended (%s).", self._place, type(error).__name__)
        for command in connection.abandoned():
            command.expire(error or ConnectionError())
        for command in connection.unanswered():
            self._wait_for_connection(command)
        if self._connections:
            self._send_waiting(self._connections[0])

    def _not_connected(self, error: Exception) -> None:
        self._fail(error)
        self._attempted.set()
        if not self._connections:
            self._is_unreachable = True
            self._release(lambda command: self._breaker.is_open or not command.is_patient)

    # Findings of calls and connections.

    def _fail(self, error: Exception) -> None:
        reason = REASONS.get(type(error), type(error).__name__)
        self._trouble = f"Redis at {self._place} does not respond ({reason})"
        if self._breaker.fail():
            # Not an error, as mitmproxy would exit if it was logged during the start.
            logger.warning("%s. It is tried again every second.", self._trouble)

    def _succeed(self) -> None:
        if self._breaker.succeed():
            logger.warning("Redis at %s responds again.", self._place)
