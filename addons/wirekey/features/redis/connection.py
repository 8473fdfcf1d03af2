"""One long-lived connection to Redis, on which the commands of many calls follow each other without waiting.

The replies come in the order of the commands. A command that has waited too long is given up, and its reply is
discarded when it comes: the connection stays, as a new one would wait for the same server.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GRACE = 0.005
"""Seconds after the limit of a command until its connection is looked at again."""
STALLED = 3.0
"""Seconds without a reply after which a connection is replaced: the other side may be gone without a word."""


@dataclass(slots=True, eq=False)
class RedisCommand:
    """A command and its reply. `limit`: seconds from when it is written until it is given up."""

    words: Sequence[Any]
    limit: float
    script: str | None = None
    """The source of a script whose hash the words name."""
    is_patient: bool = False
    """Whether it waits for a connection also while none can be made."""
    is_repeatable: bool = True
    """Whether it is sent once more if the connection ends before the reply."""
    undo: Callable[[], Sequence[Any]] | None = None
    """Returns the words of a command that is sent if nobody waits for the reply any more."""
    future: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    timer: asyncio.TimerHandle | None = None
    waits_until: float | None = None
    """When it waits for a connection no longer."""
    sent_on: PipelinedConnection | None = None
    is_given_up: bool = False
    is_replied: bool = False

    def expire(self, error: Exception) -> None:
        """Fail with an error, unless it has ended."""
        self.wait_no_longer()
        if not self.future.done():
            self.future.set_exception(error)

    def wait_no_longer(self) -> None:
        """Stop its timer."""
        if self.timer:
            self.timer.cancel()
            self.timer = None


class PipelinedConnection:
    """Sends commands on a connection of the package redis, and returns the replies.

    `misplaced` gets each command that this server must not run, as it is no longer the one that has the keys;
    `late` is called with each reply that nobody waits for any more.
    """

    def __init__(self, connection: Any, misplaced: Callable[[RedisCommand], None], late: Callable[[], None]) -> None:
        self._connection = connection
        self._misplaced, self._late = misplaced, late
        self._loop = asyncio.get_running_loop()
        self._unsent: deque[RedisCommand] = deque()
        self._sent: deque[RedisCommand] = deque()
        self._wake = asyncio.Event()
        self._is_writing = False
        self.overdue = 0
        """The number of replies that are still to come, although nobody waits for them any more."""
        self._reading: asyncio.Task[None] | None = None

    def send(self, command: RedisCommand) -> None:
        """Send a command with those of the same moment."""
        command.sent_on = self
        self._unsent.append(command)
        self._wake.set()
        if self._is_writing:  # the server does not read
            self._begin_waiting(command)

    async def run(self) -> Exception | None:
        """Send commands and read replies until the connection ends. Return why it ended."""
        tasks = self._reading, _ = asyncio.create_task(self._read()), asyncio.create_task(self._write())
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            ended = [task for task in tasks if task.done() and not task.cancelled()]
            errors = [error for task in ended if isinstance(error := task.exception(), Exception)]
            return errors[0] if errors else None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._connection.disconnect(nowait=True)

    def end(self) -> None:
        """End the connection."""
        if self._reading:
            self._reading.cancel()

    def unanswered(self) -> list[RedisCommand]:
        """Return the commands that somebody waits for, after the end: each unsent one, or one that may be repeated."""
        left = [*(command for command in self._sent if command.is_repeatable), *self._unsent]
        return [command for command in left if not command.future.done()]

    def abandoned(self) -> list[RedisCommand]:
        """Return the commands that were sent, and must not be sent again."""
        return [command for command in self._sent if not command.is_repeatable]

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch = self._wanted()
            if not batch:
                continue
            self._sent += batch
            for command in batch:
                self._begin_waiting(command)
            packed = b"".join([packed_words(command.words) for command in batch])
            self._is_writing = True
            await self._connection.send_packed_command(packed, check_health=False)
            self._is_writing = False

    def _wanted(self) -> list[RedisCommand]:
        """Return the commands to send now: those that have not been given up before, while the server did not read."""
        batch = [command for command in self._unsent if not command.future.done()]
        self.overdue -= sum(command.is_given_up for command in self._unsent)
        self._unsent.clear()
        return batch

    async def _read(self) -> None:
        from redis.exceptions import ResponseError

        while True:
            reply: Any
            try:
                reply = await self._connection.read_response(disable_decoding=True, disconnect_on_error=False)
            except ResponseError as error:  # it belongs to the command
                reply = error
            self._finish(self._sent.popleft(), reply)

    def _finish(self, command: RedisCommand, reply: Any) -> None:
        command.is_replied = True
        command.wait_no_longer()
        if command.is_given_up:
            self.overdue -= 1
            self._late()
        elif command.future.done():
            return  # its call has ended
        elif not isinstance(reply, Exception):
            command.future.set_result(reply)
        elif command.script and type(reply).__name__ == "NoScriptError":
            command.words, command.script = ("EVAL", command.script, *command.words[2:]), None
            self.send(command)
        elif type(reply).__name__ in MISPLACED:
            self._misplaced(command)
            self.end()
        else:
            command.future.set_exception(reply)

    # Time limits. A reply that is in the socket, or was read but not passed on yet, is in time: our own loop was late.

    def _begin_waiting(self, command: RedisCommand) -> None:
        if command.timer is None:
            command.timer = self._loop.call_later(command.limit, self._look_again, command)

    def _look_again(self, command: RedisCommand) -> None:
        """Wait until the loop has read what has arrived. It reads before its timers; then the reader has its turn."""
        command.timer = self._loop.call_later(GRACE, lambda: self._loop.call_soon(self._give_up, command))

    def _give_up(self, command: RedisCommand) -> None:
        if command.sent_on is self and not command.future.done():
            command.is_given_up = True
            self.overdue += 1
            command.expire(TimeoutError())
            self._loop.call_later(STALLED, self._check, command)

    def _check(self, command: RedisCommand) -> None:
        if not command.is_replied:
            self.end()


def packed_words(words: Sequence[Any]) -> bytes:
    """Return the bytes of a command. The package takes three times as long, at each step of each call."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if type(word) is bytes else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


MISPLACED = ("MovedError", "AskError", "ClusterDownError", "MasterDownError", "ReadOnlyError", "TryAgainError")
"""The errors of a server that does not have the keys, or not any more."""
