"""Reads large bodies in a child process, as decoding one takes up to a tenth of a second.

A JSON decoder holds the interpreter lock while it works, so a thread would stop the event loop as well. Sending the
body to the child takes the loop a fraction of that time, and in small steps. `worker_process.py` is the child.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import socket
import subprocess
import sys
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from wirekey.core.body import PIECE, SpooledBody
from wirekey.core.body_reading.messages import LONGEST_REPLY, Reply, decode
from wirekey.core.body_reading.worker_process import LENGTH, LENGTHS
from wirekey.core.errors import Refusal

if TYPE_CHECKING:
    from wirekey.core.body import RequestBody
    from wirekey.core.body_reading.reading import Reading, ReadTask

IDLE_SECONDS = 60.0
"""Seconds without a body after which the child ends."""
SECONDS = 60.0
"""Wall time for one body. The child takes a second for the largest on a slow machine."""
ALLOCATOR = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "1048576"}
"""The child returns memory to the system after each body."""


class ReadingFailedError(Exception):
    """A body could not be read, for a reason that is no fault of the caller."""


class BodyReader:
    """Reads bodies in a child process, one after the other. The child starts with a body, and ends when it is idle.

    Agents take turns, so that one that sends many large bodies does not keep the others waiting for all of them.
    """

    def __init__(self) -> None:
        self._one = asyncio.Lock()
        self._turns: WeakValueDictionary[str | None, asyncio.Lock] = WeakValueDictionary()
        """Agent → held by the one of its bodies that is read, or that waits for those of other agents."""
        self._begun: asyncio.Task[Reading] | None = None
        self._child: Child | None = None
        self._reading: set[asyncio.Task[Reading]] = set()
        self._idle: asyncio.TimerHandle | None = None

    async def read(self, task: ReadTask, body: RequestBody, agent: str | None = None) -> Reading:
        """Return what is read of a body. Raises Refusal, or ReadingFailedError if the child fails.

        A body whose reading has begun is read to its end even if the caller is cancelled, as the child is needed for
        the next one.
        """
        reading = asyncio.create_task(self._read(task, body, agent))
        self._reading.add(reading)
        reading.add_done_callback(self._end_of_reading)
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            if self._begun is not reading:
                reading.cancel()
            raise

    def _end_of_reading(self, reading: asyncio.Task[Reading]) -> None:
        self._reading.discard(reading)
        if not reading.cancelled():
            reading.exception()  # it was raised to the caller, unless that was cancelled

    async def _read(self, task: ReadTask, body: RequestBody, agent: str | None) -> Reading:
        turn = self._turns.setdefault(agent, asyncio.Lock())
        async with turn, self._one:
            self._begun = asyncio.current_task()
            if self._idle:
                self._idle.cancel()
            if self._child is None or not self._child.is_alive:
                self._child = await asyncio.to_thread(Child)
            try:
                async with asyncio.timeout(SECONDS):
                    reply = await self._child.ask(task, body)
            except (OSError, EOFError, TimeoutError, ValueError) as error:
                self.end()
                raise ReadingFailedError(type(error).__name__) from None
            except BaseException:
                # Stopped half-way: the next body would get this one's reply.
                self.end()
                raise
            self._idle = asyncio.get_running_loop().call_later(IDLE_SECONDS, self.end)
        if isinstance(reply, Refusal):
            raise reply
        if isinstance(reply, str):
            raise ReadingFailedError(reply)
        return reply

    @property
    def child_pid(self) -> int | None:
        """The process id of the child, or None if it was not started."""
        return self._child.pid if self._child else None

    def end(self) -> None:
        """Kill the child. The next body starts a new one."""
        if self._idle:
            self._idle.cancel()
        child, self._child = self._child, None
        if child is not None:
            child.end()


class Child:
    """A running child process."""

    def __init__(self) -> None:
        """Start the child. Blocks for some milliseconds. Raises OSError."""
        self._socket, child_end = socket.socketpair()
        self._socket.setblocking(False)
        with child_end:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "wirekey.core.body_reading.worker_process"],
                stdin=child_end.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PYTHONPATH": ":".join(path for path in sys.path if path), **ALLOCATOR},
                close_fds=True,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id of the child."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Return whether the child runs."""
        return self._process.poll() is None

    async def ask(self, task: ReadTask, body: RequestBody) -> Reply:
        """Send a body, and return the child's reply.

        Raises OSError or EOFError if the child ends, and ValueError for bytes that are no reply.
        """
        loop = asyncio.get_running_loop()
        message = pickle.dumps(task)
        await loop.sock_sendall(self._socket, LENGTHS.pack(len(message), len(body)) + message)
        for start in range(0, len(body), PIECE):
            await loop.sock_sendall(self._socket, body[start : start + PIECE])
            if isinstance(body, SpooledBody):
                body.release_pages(start, min(PIECE, len(body) - start))
            await asyncio.sleep(0)
        (length,) = LENGTH.unpack(await self._exactly(LENGTH.size))
        if length > LONGEST_REPLY:
            raise ValueError("the reply is too long")
        return decode(await self._exactly(length))

    async def _exactly(self, size: int) -> bytes:
        loop = asyncio.get_running_loop()
        data = b""
        while len(data) < size:
            piece = await loop.sock_recv(self._socket, size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def end(self) -> None:
        """Kill the child."""
        self._socket.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
