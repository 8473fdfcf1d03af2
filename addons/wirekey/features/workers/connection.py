"""A worker: one of several processes that share the listeners of one Wirekey. Its supervisor starts and replaces it.

They talk over a pair of sockets, in lines of JSON. The worker gets the sockets that it accepts connections from, and
reports when it does.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from wirekey.core.tracebacks import safe_traceback
from wirekey.features.workers.listeners import accept_from, shared_modes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wirekey.server.worker import SharedSimulator

logger = logging.getLogger(__name__)

LONGEST_LINE = 64 * 1024 * 1024
"""Bytes. The metrics of a worker are one line."""
ASK_LIMIT = 3.0
"""Seconds to wait for the other workers."""

type Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SimulatorAddress:
    """The simulator that the supervisor runs: its port and the keys that it accepts."""

    port: int
    keys: dict[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class WorkerStart:
    """The first line of the supervisor to a worker.

    `tag`: two hexadecimal digits with which the ids of the worker's calls end. `sockets`: listener → descriptors of its
    sockets. `interrupted`: tags of workers that have died. `is_first`: whether to print the banner.
    """

    number: int
    tag: str
    sockets: dict[str, list[int]]
    interrupted: tuple[str, ...] = ()
    simulator: SimulatorAddress | None = None
    is_first: bool = False


_start_decoder = msgspec.json.Decoder(WorkerStart)


class SupervisorLock:
    """Stands for the lock of the state folder, which the supervisor holds."""

    def release(self) -> None:
        """Do nothing: the supervisor releases the lock."""


class SupervisorSimulator:
    """The simulator, which runs in the supervisor."""

    def __init__(self, address: SimulatorAddress) -> None:
        self.port = address.port
        self.keys = address.keys

    async def stop(self) -> None:
        """Do nothing: the supervisor stops it."""


class SupervisedWorker:
    """A worker's side of the connection to its supervisor. `start` is what the supervisor sent first."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.start = receive_start(connection)
        self.is_first = self.start.is_first
        self.does_shared_work = self.start.number == 1
        self.tag, self.interrupted = self.start.tag, self.start.interrupted
        simulator = self.start.simulator
        self.simulator: SharedSimulator | None = SupervisorSimulator(simulator) if simulator else None
        self.sockets: Mapping[str, Sequence[socket.socket]] = {
            name: [socket.socket(fileno=number) for number in numbers] for name, numbers in self.start.sockets.items()
        }
        """Listener → the sockets that all workers accept from."""
        self.states: list[Message] = []
        """The state of each worker, as the supervisor reported it last."""
        self.on_drain: Callable[[float, bool], None] = lambda *_: None
        self.on_stop: Callable[[], None] = lambda: None
        self.collectors: dict[str, Callable[[], Any]] = {}
        self.receivers: dict[str, Callable[[Any], None]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._pending: dict[int, asyncio.Future[list[Any]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def take_state(self) -> SupervisorLock:
        """Have mitmproxy accept from the shared sockets. The supervisor holds the lock of the state folder."""
        accept_from(self.sockets)
        return SupervisorLock()

    def modes(self) -> list[str]:
        """Return the value of mitmproxy's option `mode` for the sockets of the proxy and the gateway."""
        return shared_modes(self.sockets)

    async def connect(self) -> None:
        """Begin to receive messages of the supervisor."""
        reader, self._writer = await asyncio.open_connection(sock=self._connection, limit=LONGEST_LINE)
        self._run(self._read(reader))

    def report_listening(self) -> None:
        """Report that the worker accepts connections."""
        self._send({"listening": True})

    def report_trouble(self, trouble: str | None) -> None:
        """Report why the worker is not ready, or None."""
        self._send({"trouble": trouble})

    def tell(self, topic: str, message: Any, keep: str | None = None) -> None:
        """Send a message to the other workers. `keep`: workers that start later get the last one with this key, too."""
        self._send({"tell": topic, "message": message, "keep": keep})

    async def ask(self, what: str) -> list[Any]:
        """Return what each of the other workers returns of `what`. Those that do not respond in time are left out."""
        if self._writer is None:
            return []
        number = len(self._pending) and max(self._pending) + 1
        found: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._pending[number] = found
        self._send({"ask": number, "what": what})
        try:
            async with asyncio.timeout(ASK_LIMIT):
                return await found
        except TimeoutError:
            return []
        finally:
            del self._pending[number]

    def close(self) -> None:
        """Close the connection and the sockets."""
        for task in self._tasks:
            task.cancel()
        if self._writer:
            self._writer.close()
        for sockets in self.sockets.values():
            for one in sockets:
                one.close()

    def _run(self, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _send(self, message: Message) -> None:
        if self._writer and not self._writer.is_closing():
            self._writer.write(msgspec.json.encode(message) + b"\n")

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                self._receive(msgspec.json.decode(line))
        except OSError:
            pass  # as an end
        except Exception as error:
            logger.error("A message of the supervisor cannot be read: %s", safe_traceback(error))  # noqa: TRY400  # see there
        logger.error("The supervisor has ended. This worker ends, too.")
        self.on_drain(0.0, False)

    def _receive(self, message: Message) -> None:
        if "drain" in message:
            self.on_drain(message["drain"], message["replaced"])
        elif "stop" in message:
            self.on_stop()
        elif "states" in message:
            self.states = message["states"]
        elif "collect" in message:
            self._run(self._collect(message["collect"], message["what"]))
        elif "found" in message:
            if (pending := self._pending.get(message["ask"])) and not pending.done():
                pending.set_result(message["found"])
        elif receive := self.receivers.get(message["tell"]):
            receive(message["message"])

    async def _collect(self, number: int, what: str) -> None:
        found = None
        try:
            if collector := self.collectors.get(what):
                found = collector()
                if asyncio.iscoroutine(found):
                    found = await found
        finally:
            self._send({"collected": number, "found": found})


def receive_start(connection: socket.socket) -> WorkerStart:
    """Return what the supervisor sends first. Raises ValueError, OSError."""
    data = b""
    while not data.endswith(b"\n"):
        received = connection.recv(1)
        if not received:
            raise ValueError("the supervisor sent nothing")
        data += received
    return _start_decoder.decode(data)
