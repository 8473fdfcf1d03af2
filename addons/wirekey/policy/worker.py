"""Judges policies in a process of its own: what loops is killed, and what crashes does not take the proxy with it.

While regorus works, the interpreter lock is held, so a thread could not be bounded. Parent and child talk over a
socket pair: four bytes of length, then JSON. A round trip costs some 20 microseconds more than judging at home.
The child is told the policy first, and tries it on some calls, as regorus finds most errors only then.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec

from wirekey.policy import syntax
from wirekey.policy.decision import UndecidedError
from wirekey.policy.modules import Modules, PolicyError, PolicyProblem
from wirekey.policy.own_tests import failures
from wirekey.policy.rego import Rego

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

LENGTH = struct.Struct("!I")
LOAD_SECONDS = 30.0
"""Processor time that a new policy may take to load and to try."""
WALL_FACTOR = 4
"""How many times as long a new policy may take by the clock, as others use the machine too."""
ENDING_SECONDS = 0.2
"""How long a child that has hung up may take to be gone."""
HEAP_BYTES = 2 << 30
"""Half of it is address space that the library's allocator reserves at once."""


class Task(msgspec.Struct):
    """What the child is told first. `samples`: inputs to try the policy on, as JSON. Limits: processor time."""

    rego: dict[str, str]
    tests: dict[str, str]
    data: msgspec.Raw
    query: str
    samples: list[msgspec.Raw]
    limit: float
    load_limit: float


class Report(msgspec.Struct):
    """What the child makes of it: problems as (file, line, column, message), or what is to be known of the policy."""

    problems: list[tuple[str, int | None, int | None, str]] = []
    needs_allow: bool = False
    straight: bool = False
    unasked: list[str] = []


class Verdict(msgspec.Struct):
    document: msgspec.Raw = msgspec.Raw(b"null")
    failure: str | None = None


_verdict = msgspec.json.Decoder(Verdict)


class PolicyWorker:
    """One child with one compiled policy. One question at a time.

    `limit` is the processor time of a decision, which the child keeps: the clock counts while the child has to wait
    for the machine, so `ask` has a limit of its own, for a child that is stuck.
    """

    def __init__(self, modules: Modules, query: str, samples: list[bytes], limit: float) -> None:
        """Start it and wait for its report: blocks for a tenth of a second. Raises PolicyError."""
        self._limit = limit
        ours, theirs = socket.socketpair()
        self._socket = ours
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "wirekey.policy.worker"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PYTHONPATH": ":".join(path for path in sys.path if path), "RUST_BACKTRACE": "0"},
                close_fds=True,
                start_new_session=True,
            )
        data = msgspec.Raw(msgspec.json.encode(modules.data))
        tried_on = [*map(msgspec.Raw, samples)]
        task = Task(modules.rego, modules.tests if samples else {}, data, query, tried_on, limit, LOAD_SECONDS)
        try:
            self.report = self._told(msgspec.json.encode(task))
        except BaseException:
            self.end()
            raise
        ours.setblocking(False)

    def _told(self, task: bytes) -> Report:
        self._socket.settimeout(LOAD_SECONDS * WALL_FACTOR)
        try:
            send(self._socket, task)
            answer = receive(self._socket)
        except TimeoutError:
            raise PolicyError([whole("takes too long on a plain call: is there a loop without end?")]) from None
        except OSError:
            answer = None
        if answer is None and self._ended_by_limit():
            raise PolicyError([whole("takes too long on a plain call: is there a loop without end?")])
        if answer is None:
            raise PolicyError([whole("ended the process that judges: too deep, or too large")])
        report = msgspec.json.decode(answer, type=Report)
        if report.problems:
            raise PolicyError([PolicyProblem(*problem) for problem in report.problems])
        return report

    @property
    def alive(self) -> bool:
        return self._socket.fileno() >= 0 and self._process.poll() is None

    async def ask(self, given: bytes, seconds: float) -> bytes:
        """Return the document for an input; both JSON. Raises UndecidedError.

        `seconds`: by the clock, after which the child is killed. It ends by itself after its limit of processor time.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                await loop.sock_sendall(self._socket, LENGTH.pack(len(given)) + given)
                (length,) = LENGTH.unpack(await self._exactly(LENGTH.size))
                answer = await self._exactly(length)
        except TimeoutError:
            self.end()
            raise UndecidedError(f"The policy took longer than {seconds:.3g} s (policy.wall_timeout).") from None
        except OSError:
            by_limit = self._ended_by_limit()
            self.end()
            if by_limit:
                message = f"The policy took longer than {self._limit:.3g} s of processor time (policy.timeout)."
                raise UndecidedError(message) from None
            raise UndecidedError("The policy ended the process that judges: too deep, or too large.") from None
        except BaseException:
            # Cancelled half-way: the next question would get this one's answer.
            self.end()
            raise
        verdict = _verdict.decode(answer)
        if verdict.failure is not None:
            raise UndecidedError(verdict.failure)
        return bytes(verdict.document)

    def _exactly(self, size: int) -> Awaitable[bytes]:
        return read_exactly(self._socket, size)

    def _ended_by_limit(self) -> bool:
        """Return whether the child, which has hung up, used up its processor time."""
        try:
            return self._process.wait(ENDING_SECONDS) == -signal.SIGPROF
        except subprocess.TimeoutExpired:
            return False

    def end(self) -> None:
        self._socket.close()
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


async def started(modules: Modules, query: str, samples: list[bytes], limit: float) -> PolicyWorker:
    """Start a judge in a thread; where nobody waits for it any more, it is ended as soon as it is there.

    Raises PolicyError, OSError.
    """
    starting = asyncio.get_running_loop().run_in_executor(None, PolicyWorker, modules, query, samples, limit)
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        starting.add_done_callback(ended)
        raise


def ended(starting: asyncio.Future[PolicyWorker]) -> None:
    if not starting.cancelled() and not starting.exception():
        starting.result().end()


async def read_exactly(source: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < size:
        piece = await loop.sock_recv(source, size - len(data))
        if not piece:
            raise ConnectionResetError
        data += piece
    return data


def whole(message: str) -> PolicyProblem:
    return PolicyProblem("policy", None, None, message)


def send(target: socket.socket, data: bytes) -> None:
    target.sendall(LENGTH.pack(len(data)) + data)


def receive(source: socket.socket) -> bytes | None:
    """Read one message; None at the end."""
    head = source.recv(LENGTH.size, socket.MSG_WAITALL)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    data = bytearray()
    while len(data) < length:
        piece = source.recv(min(length - len(data), 1 << 20))
        if not piece:
            return None
        data += piece
    return bytes(data)


# The child.


def serve(parent: socket.socket) -> None:
    first = receive(parent)
    if first is None:
        return
    task = msgspec.json.decode(first, type=Task)
    with limited(task.load_limit):
        rego, report = loaded(task)
    send(parent, msgspec.json.encode(report))
    if rego is None:
        return
    while (given := receive(parent)) is not None:
        with limited(task.limit):
            try:
                verdict = Verdict(document=msgspec.Raw(rego.answer(given)))
            except UndecidedError as error:
                verdict = Verdict(failure=str(error))
            answer = msgspec.json.encode(verdict)
        send(parent, answer)


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Bound the processor time: the signal's default action ends the process even while the library works."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def loaded(task: Task) -> tuple[Rego | None, Report]:
    """Compile the policy, try it, and run its own tests. None: there are problems."""
    modules = Modules(task.rego, msgspec.json.decode(task.data), "", task.tests)
    try:
        rego = Rego(modules, task.query)
        report = tried(rego, task)
        if not report.problems:
            failed = failures(modules, task.query)
            report.problems = [(each.file, each.line, each.column, each.message) for each in failed]
    except PolicyError as error:
        problems = [(each.file, each.line, each.column, each.message) for each in error.problems]
        return None, Report(problems)
    return (None if report.problems else rego), report


def tried(rego: Rego, task: Task) -> Report:
    """Try the policy on the samples, and say what is to be known of it."""
    problems: dict[str, None] = {}
    for sample in task.samples:
        try:
            rego.answer(bytes(sample))
        except UndecidedError as error:
            problems.setdefault(str(error))
    found = rego.syntax
    return Report(
        problems=[("policy", None, None, problem) for problem in problems],
        needs_allow="allow" in found.rule_names(task.query),
        straight=syntax.is_straight(found),
        unasked=syntax.unasked(found, task.query),
    )


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (HEAP_BYTES, HEAP_BYTES))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(socket.socket(fileno=0))


if __name__ == "__main__":
    main()
