"""The supervisor: starts the workers, replaces those that die, and stops them. It handles no call itself.

It opens the listeners once, and all workers accept connections from them. So a connection that no worker has accepted
yet outlives any of them. It also holds the lock of the state folder, and runs the simulator.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from wirekey.core.tracebacks import safe_traceback
from wirekey.features.workers.connection import LONGEST_LINE, SimulatorAddress, WorkerStart

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wirekey.features.workers.connection import Message

logger = logging.getLogger(__name__)

FIRST_BACKOFF = 0.1
LONGEST_BACKOFF = 30.0
BACKOFF_RESET = 10.0
"""Seconds after which a worker that listens has no backoff: the next restart is not delayed."""
START_LIMIT = 60.0
"""Seconds that a worker may take until it listens."""
END_LIMIT = 15.0
"""Seconds beyond the limits of a drain after which a worker is killed."""
COLLECT_LIMIT = 2.0
MOST_KEPT = 1000
"""Messages that are kept for workers that start later."""
TAGS = 256


class WorkerProcess:
    """One worker, as the supervisor sees it."""

    def __init__(self, number: int, tag: str, restarts: int) -> None:
        self.number = number
        self.tag = tag
        self.restarts = restarts
        self.process: asyncio.subprocess.Process | None = None
        self.writer: asyncio.StreamWriter | None = None
        self.listening = asyncio.Event()
        self.ended = asyncio.Event()
        self.listens_since = 0.0
        self.trouble: str | None = "starting"
        self.is_leaving = False

    def send(self, message: Message) -> None:
        """Send a message, if the worker is connected."""
        if self.writer and not self.writer.is_closing():
            self.writer.write(msgspec.json.encode(message) + b"\n")

    def state(self) -> Message:
        """Return what /ready and the live page show of the worker."""
        trouble = "draining" if self.is_leaving else self.trouble
        pid = self.process.pid if self.process else None
        return {"number": self.number, "pid": pid, "restarts": self.restarts, "trouble": trouble}


class Supervisor:
    """Runs `count` workers. For one event loop.

    `command`: the command of a worker, to which the number of its descriptor is added. `sockets`: listener → its
    sockets. `drain_delay` and `drain`: seconds, as in the settings `timeouts`.
    """

    def __init__(
        self,
        count: int,
        command: Sequence[str],
        sockets: Mapping[str, Sequence[socket.socket]],
        *,
        drain_delay: float = 0.0,
        drain: float = 30.0,
        simulator: SimulatorAddress | None = None,
        on_listening: Callable[[], None] = lambda: None,
    ) -> None:
        self.count = count
        self.command = command
        self.sockets = sockets
        self.drain_delay, self.drain = drain_delay, drain
        self.simulator = simulator
        self.on_listening = on_listening
        """Called when all workers listen for the first time."""
        self.workers: dict[int, WorkerProcess] = {}
        """The present worker of each number. Those that it replaces may still run."""
        self._running: set[WorkerProcess] = set()
        self._interrupted: set[str] = set()
        """The tags of workers that died, whose calls are not marked as interrupted yet."""
        self._kept: dict[str, Message] = {}
        self._collecting: dict[int, tuple[asyncio.Future[None], list[Any], set[int]]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = asyncio.Event()
        self._replacing = asyncio.Lock()
        self._next_tag = 0
        self._next_question = 0
        self._has_listened = False
        """Whether any worker has listened. Until then, one that ends is not started again."""

    async def run(self) -> int:
        """Run the workers until `stop` is called and all have ended. Return the exit code."""
        first = await self._start(1, is_first=True)
        await self._wait_until_listening(first)
        if first.ended.is_set():
            return 2  # the worker has logged the reason
        started = [await self._start(number) for number in range(2, self.count + 1)]
        for worker in started:
            await self._wait_until_listening(worker)
        if not self._stopping.is_set():
            self.on_listening()
        await self._stopping.wait()
        await asyncio.gather(*(worker.ended.wait() for worker in tuple(self._running)))
        for task in self._tasks:
            task.cancel()
        return 0

    def stop(self, *, at_once: bool = False) -> None:
        """Drain all workers. Called again, or `at_once`, end them without."""
        if self._stopping.is_set() or at_once:
            self._stopping.set()
            for worker in self._running:
                worker.send({"stop": True})
                self._run(self._kill_later(worker, END_LIMIT))
            return
        self._stopping.set()
        for worker in self._running:
            self._dismiss(worker, self.drain_delay, replaced=False)
        asyncio.get_running_loop().call_later(self.drain_delay, stop_listening, self.sockets)

    def replace(self) -> None:
        """Replace all workers, one by one, with new ones, which read the configuration and the program again."""
        self._run(self._replace_all())

    async def _replace_all(self) -> None:
        async with self._replacing:
            logger.info("All workers are replaced, one by one.")
            for number in range(1, self.count + 1):
                previous = self.workers.get(number)
                worker = await self._start(number, restarts=previous.restarts if previous else 0)
                await self._wait_until_listening(worker)
                if self._stopping.is_set():
                    return
                if not worker.listening.is_set():
                    logger.error("Worker %d could not be replaced. The log has the reason.", number)
                    self.workers[number] = previous or worker
                    return
                if previous:
                    self._dismiss(previous, 0.0, replaced=True)
            logger.info("All workers were replaced.")

    def _dismiss(self, worker: WorkerProcess, accept_for: float, *, replaced: bool) -> None:
        """Have a worker end after its calls. `replaced`: the other workers continue."""
        worker.is_leaving = True
        worker.send({"drain": accept_for, "replaced": replaced})
        self._run(self._kill_later(worker, accept_for + self.drain + END_LIMIT))
        self._report_states()

    async def _kill_later(self, worker: WorkerProcess, patience: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await worker.ended.wait()
                return
        logger.error("Worker %d (process %d) does not end and is killed.", worker.number, pid_of(worker))
        kill(worker)

    async def _wait_until_listening(self, worker: WorkerProcess) -> None:
        waits = [asyncio.create_task(event.wait()) for event in (worker.listening, worker.ended)]
        await asyncio.wait(waits, timeout=START_LIMIT, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()

    async def _start(self, number: int, *, restarts: int = 0, is_first: bool = False) -> WorkerProcess:
        worker = WorkerProcess(number, self._new_tag(), restarts)
        self.workers[number] = worker
        self._running.add(worker)
        ours, theirs = socket.socketpair()
        descriptors = {name: [one.fileno() for one in sockets] for name, sockets in self.sockets.items()}
        handed = [theirs.fileno(), *(each for numbers in descriptors.values() for each in numbers)]
        interrupted = tuple(sorted(self._interrupted))
        start = WorkerStart(number, worker.tag, descriptors, interrupted, self.simulator, is_first)
        with theirs:
            worker.process = await asyncio.create_subprocess_exec(
                *self.command, "--worker", str(theirs.fileno()), pass_fds=handed
            )
        reader, worker.writer = await asyncio.open_connection(sock=ours, limit=LONGEST_LINE)
        worker.writer.write(msgspec.json.encode(start) + b"\n")
        for message in self._kept.values():
            worker.send(message)
        self._run(self._read(worker, reader, interrupted))
        self._run(self._watch(worker))
        self._report_states()
        return worker

    def _new_tag(self) -> str:
        """Return a tag that no living worker has, and no dead one whose calls are not marked yet."""
        taken = {worker.tag for worker in self._running} | self._interrupted
        while True:
            tag = f"{self._next_tag:02x}"
            self._next_tag = (self._next_tag + 1) % TAGS
            if tag not in taken:
                return tag

    async def _watch(self, worker: WorkerProcess) -> None:
        assert worker.process
        code = await worker.process.wait()
        self._running.discard(worker)
        worker.ended.set()
        for question, (_, _, missing) in tuple(self._collecting.items()):
            if worker.process.pid in missing:
                self._collected(question, worker, None)
        if code:
            self._interrupted.add(worker.tag)
        is_present = self.workers.get(worker.number) is worker
        if self._stopping.is_set() or worker.is_leaving or not is_present:
            self._report_states()
            return
        if not self._has_listened:
            self._report_states()
            return  # `run` ends
        loop = asyncio.get_running_loop()
        has_lasted = worker.listening.is_set() and loop.time() - worker.listens_since >= BACKOFF_RESET
        restarts = 0 if has_lasted else worker.restarts
        pause = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2**restarts)
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        logger.error(
            "Worker %d (process %d) %s. It is started again in %g s.", worker.number, pid_of(worker), how, pause
        )
        worker.trouble = how
        self._report_states()
        await asyncio.sleep(pause)
        if not self._stopping.is_set() and self.workers.get(worker.number) is worker:
            await self._start(worker.number, restarts=restarts + 1)

    # Messages of the workers.

    async def _read(self, worker: WorkerProcess, reader: asyncio.StreamReader, interrupted: Sequence[str]) -> None:
        try:
            while line := await reader.readline():
                self._receive(worker, msgspec.json.decode(line), interrupted)
        except OSError:
            pass  # it has ended
        except Exception as error:
            # Nothing more can be heard of it, so a new worker takes its place.
            logger.error("A message of worker %d cannot be read: %s", worker.number, safe_traceback(error))  # noqa: TRY400  # see there
            kill(worker)

    def _receive(self, worker: WorkerProcess, message: Message, interrupted: Sequence[str]) -> None:
        if "listening" in message:
            self._interrupted.difference_update(interrupted)
            self._has_listened = True
            worker.listens_since = asyncio.get_running_loop().time()
            worker.trouble = None
            worker.listening.set()
            self._report_states()
        elif "trouble" in message:
            worker.trouble = message["trouble"]
            self._report_states()
        elif "ask" in message:
            self._run(self._collect(worker, message["ask"], message["what"]))
        elif "collected" in message:
            self._collected(message["collected"], worker, message["found"])
        elif "tell" in message:
            self._pass_on(worker, message)

    def _pass_on(self, sender: WorkerProcess, message: Message) -> None:
        if key := message.pop("keep", None):
            self._kept.pop(key, None)
            self._kept[key] = message
            while len(self._kept) > MOST_KEPT:
                del self._kept[next(iter(self._kept))]
        for worker in self._running:
            if worker is not sender:
                worker.send(message)

    async def _collect(self, asker: WorkerProcess, ask: int, what: str) -> None:
        others = [worker for worker in self._running if worker is not asker and worker.listening.is_set()]
        question, self._next_question = self._next_question, self._next_question + 1
        complete, found = asyncio.get_running_loop().create_future(), list[Any]()
        self._collecting[question] = complete, found, {pid_of(worker) for worker in others}
        for worker in others:
            worker.send({"collect": question, "what": what})
        if others:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(COLLECT_LIMIT):
                    await complete
        del self._collecting[question]
        asker.send({"ask": ask, "found": found})

    def _collected(self, question: int, worker: WorkerProcess, found: Any) -> None:
        if question not in self._collecting:
            return
        complete, answers, missing = self._collecting[question]
        missing.discard(pid_of(worker))
        if found is not None:
            answers.append(found)
        if not missing and not complete.done():
            complete.set_result(None)

    def _report_states(self) -> None:
        present = set(self.workers.values())
        states = [worker.state() for worker in sorted(self._running | present, key=lambda each: each.number)]
        for worker in self._running:
            worker.send({"states": states})

    def _run(self, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def pid_of(worker: WorkerProcess) -> int:
    """Return the process id of a worker; 0 before it has one."""
    return worker.process.pid if worker.process else 0


def stop_listening(sockets: Mapping[str, Sequence[socket.socket]]) -> None:
    """Have the system refuse connections, except to the console. Otherwise they would wait for workers that drain."""
    for name, given in sockets.items():
        for one in given if name != "console" else ():
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # also ends it for the workers, which have the same socket


def kill(worker: WorkerProcess) -> None:
    """Kill the process of a worker, if it still runs."""
    if worker.process:
        with contextlib.suppress(ProcessLookupError):
            worker.process.kill()


def worker_command(arguments: Sequence[str]) -> list[str]:
    """Return the command that starts a worker like this process."""
    return [sys.executable, "-m", "wirekey", *arguments]
