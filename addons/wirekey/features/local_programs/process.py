"""One running program: its process, its sessions, and one turn at a time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wirekey.features.local_programs.connection import (
    Activity,
    Connection,
    Failed,
    ProgramFault,
    Ready,
    SessionOpened,
    Stopped,
    TextPiece,
)
from wirekey.features.local_programs.conversation import Sessions

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Mapping

    from wirekey.features.local_programs.connection import Event
    from wirekey.features.local_programs.conversation import TextConversation

READ_SIZE = 64 * 1024
EVENTS_HELD = 256
"""Events that wait for a slow client. Beyond that, nothing more is read from the program."""
CANCEL_LIMIT = 5.0
"""Seconds that a program has to end a cancelled turn."""
END_LIMIT = 2.0
"""Seconds between the request to end and the kill."""
LONGEST_ANSWER = 4 * 1024 * 1024
"""Characters of a response whose session can be continued."""
STATUS_OF_FAULT = {
    ProgramFault.LOGIN: 503,
    ProgramFault.VERSION: 502,
    ProgramFault.PROTOCOL: 502,
    ProgramFault.PROGRAM: 502,
}


class ProgramError(Exception):
    """A program cannot answer. `status` is that of the response. The text has no content and no output of it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Command:
    """How a program is started. `environment` is all that it gets."""

    line: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False, hash=False)
    auto_accept: bool = False
    timeout: float = 300.0
    """Seconds without a word of the program after which it is ended."""


class LocalProgram:
    """One process. `turn` waits for its turn. After an error, `is_over` is True and the process is ended."""

    def __init__(self, command: Command, folder: str) -> None:
        self.command = command
        self.folder = folder
        self.is_over = False
        self.activities = 0
        self._connection = Connection(auto_accept=command.auto_accept)
        self._sessions = Sessions()
        self._process: asyncio.subprocess.Process | None = None
        self._events: asyncio.Queue[Event] = asyncio.Queue(EVENTS_HELD)
        self._listens = True
        self._turn = asyncio.Lock()
        self._starting: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # Start and end.

    async def started(self) -> None:
        """Start the program if it does not run yet. Concurrent calls wait for one start. Raises ProgramError."""
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._start())
            self._starting.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.shield(self._starting)

    async def _start(self) -> None:
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self.command.line,
                cwd=self.folder,
                env=dict(self.command.environment),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            self.is_over = True
            raise ProgramError(503, f"The local program cannot be started: {error.strerror}.") from None
        self._spawn(self._read())
        self._spawn(self._drain())
        try:
            self._write(self._connection.initialize())
            await self._expect(Ready)
        except BaseException:
            await self.end()
            raise

    async def end(self) -> None:
        """End the process and what it has started, and wait for that."""
        self.is_over = True
        if self._starting and self._starting is not asyncio.current_task():
            self._starting.cancel()
        process, self._process = self._process, None
        if process is None:
            return
        self._signal(process, signal.SIGTERM)
        try:
            async with asyncio.timeout(END_LIMIT):
                await process.wait()
        except TimeoutError:
            pass
        finally:
            # Its own children may still run when it has ended itself.
            self._signal(process, getattr(signal, "SIGKILL", signal.SIGTERM))
            for task in self._tasks - {asyncio.current_task()}:
                task.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_LIMIT):
                await process.wait()

    @staticmethod
    def _signal(process: asyncio.subprocess.Process, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, number)
            else:
                process.terminate()

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Input and output.

    async def _read(self) -> None:
        """Read what the program sends, as fast as the client of the turn takes it."""
        assert self._process
        output = self._process.stdout
        assert output
        while data := await output.read(READ_SIZE):
            events = self._connection.feed(data)
            if self._connection.replies:
                replies = bytes(self._connection.replies)
                self._connection.replies.clear()
                self._write(replies)
            for event in events:
                if self._listens:
                    await self._events.put(event)
        self.is_over = True
        if self._listens:
            await self._events.put(Failed(ProgramFault.PROGRAM, "it has ended"))

    async def _drain(self) -> None:
        """Read and forget what the program writes for people."""
        assert self._process
        output = self._process.stderr
        assert output
        while await output.read(READ_SIZE):
            pass

    def _write(self, data: bytes) -> None:
        if self._process and self._process.stdin and not self._process.stdin.is_closing():
            self._process.stdin.write(data)

    async def _next(self) -> Event:
        """Return the next event. Raises ProgramError after the time limit, and for a failure."""
        try:
            async with asyncio.timeout(self.command.timeout):
                event = await self._events.get()
        except TimeoutError:
            await self.end()
            message = f"The local program has said nothing for {self.command.timeout:g} seconds. It was ended."
            raise ProgramError(504, message) from None
        if isinstance(event, Failed):
            if event.fault is ProgramFault.LOGIN:
                raise ProgramError(503, "The local program wants its user to log in. Log in with the program.")
            if event.fault is not ProgramFault.PROGRAM or self.is_over:
                await self.end()
            raise ProgramError(STATUS_OF_FAULT[event.fault], f"The local program cannot be used: {event.detail}.")
        if isinstance(event, Activity):
            self.activities += 1
        return event

    async def _expect[T](self, kind: type[T]) -> T:
        while True:
            event = await self._next()
            if isinstance(event, kind):
                return event

    # Turns.

    async def turn(self, conversation: TextConversation) -> AsyncGenerator[TextPiece | Stopped]:
        """Yield what the program says to a conversation, and last why it stopped. Raises ProgramError.

        Close the generator to cancel the turn.
        """
        await self.started()
        await self._turn.acquire()
        session, settled = None, False
        try:
            self._begin_turn()
            session = self._sessions.take(conversation)
            prompt = conversation.turns[-1].text
            if session is None:
                self._write(self._connection.open_session(self.folder))
                session = (await self._expect(SessionOpened)).session
                prompt = conversation.transcript()
            self._write(self._connection.prompt(session, prompt))
            answer: list[str] = []
            length = 0
            while True:
                event = await self._next()
                if isinstance(event, TextPiece) and event.session == session:
                    if not event.is_thought and length <= LONGEST_ANSWER:
                        answer.append(event.text)
                        length += len(event.text)
                    yield event
                elif isinstance(event, Stopped):
                    settled = True
                    if event.reason == "end_turn" and length <= LONGEST_ANSWER:
                        self._sessions.keep(conversation, "".join(answer), session)
                    yield event
                    return
        except ProgramError:
            settled = True
            raise
        finally:
            if settled or self.is_over:
                self._listens = False
                self._turn.release()
            else:
                self._spawn(self._settle(session))

    def _begin_turn(self) -> None:
        """Forget what the program said after its last turn. Raises ProgramError if it has ended."""
        if self.is_over:
            raise ProgramError(502, "The local program has ended.")
        while not self._events.empty():
            self._events.get_nowait()
        self._listens = True

    async def _settle(self, session: str | None) -> None:
        """Cancel the turn that the client has left, and end the process if that takes long."""
        try:
            if session is None:
                await self.end()
                return
            self._write(self._connection.cancel(session))
            async with asyncio.timeout(CANCEL_LIMIT):
                while not isinstance(await self._events.get(), Stopped | Failed):
                    pass
        except TimeoutError:
            await self.end()
        finally:
            self._listens = False
            self._turn.release()
