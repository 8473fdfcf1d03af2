"""Judges policies in a process of its own: what loops is killed, and what crashes does not take the proxy with it.

While regorus works, the interpreter lock is held, so a thread could not be bounded. Parent and child talk over a
socket pair: four bytes of length, then JSON. A round trip costs some 20 microseconds more than judging at home.
The child is told the policy first, and tries it on some calls, as regorus finds most errors only then.
"""

from __future__ import annotations

import asyncio
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
from wirekey.policy.rego import Rego

if TYPE_CHECKING:
    from collections.abc import Awaitable

LENGTH = struct.Struct("!I")
LOAD_SECONDS = 30.0
"""Patience with a new policy, on a slow machine too."""
HEAP_BYTES = 2 << 30
"""Half of it is address space that the library's allocator reserves at once."""
GRACE_SECONDS = 1.0
"""How long after the parent's limit the child ends by itself, should the parent be gone."""


class Task(msgspec.Struct):
    """What the child is told first. `samples`: inputs to try the policy on, as JSON."""

    rego: dict[str, str]
    data: msgspec.Raw
    query: str
    samples: list[msgspec.Raw]
    limit: float


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


class Judge:
    """One child with one compiled policy. One question at a time."""

    def __init__(self, modules: Modules, query: str, samples: list[bytes], limit: float) -> None:
        """Start it and wait for its report: blocks for a tenth of a second. Raises PolicyError."""
        ours, theirs = socket.socketpair()
        self._socket = ours
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "wirekey.policy.judge"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PYTHONPATH": ":".join(path for path in sys.path if path), "RUST_BACKTRACE": "0"},
                close_fds=True,
                start_new_session=True,
            )
        task = Task(
            modules.rego, msgspec.Raw(msgspec.json.encode(modules.data)), query, [*map(msgspec.Raw, samples)], limit
        )
        try:
            self.report = self._told(msgspec.json.encode(task))
        except BaseException:
            self.end()
            raise
        ours.setblocking(False)

    def _told(self, task: bytes) -> Report:
        self._socket.settimeout(LOAD_SECONDS)
        try:
            send(self._socket, task)
            answer = receive(self._socket)
        except TimeoutError:
            raise PolicyError([whole("takes too long on a plain call: is there a loop without end?")]) from None
        except OSError:
            answer = None
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
        """Give the document for an input; both JSON. Raises UndecidedError; after a time-out the child is killed."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                await loop.sock_sendall(self._socket, LENGTH.pack(len(given)) + given)
                (length,) = LENGTH.unpack(await self._exactly(LENGTH.size))
                answer = await self._exactly(length)
        except TimeoutError:
            self.end()
            raise UndecidedError(f"The policy took longer than {seconds:.3g} s (policy.timeout).") from None
        except OSError:
            self.end()
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

    def end(self) -> None:
        self._socket.close()
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


async def started(modules: Modules, query: str, samples: list[bytes], limit: float) -> Judge:
    """Start a judge in a thread; where nobody waits for it any more, it is ended as soon as it is there.

    Raises PolicyError, OSError.
    """
    starting = asyncio.get_running_loop().run_in_executor(None, Judge, modules, query, samples, limit)
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        starting.add_done_callback(ended)
        raise


def ended(starting: asyncio.Future[Judge]) -> None:
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
    # A signal's default action ends the process even while the library works.
    signal.setitimer(signal.ITIMER_REAL, LOAD_SECONDS + GRACE_SECONDS)
    try:
        rego = Rego(Modules(task.rego, msgspec.json.decode(task.data), ""), task.query)
        report = tried(rego, task)
    except PolicyError as error:
        report = Report([(each.file, each.line, each.column, each.message) for each in error.problems])
    send(parent, msgspec.json.encode(report))
    signal.setitimer(signal.ITIMER_REAL, 0)
    if report.problems:
        return
    while (given := receive(parent)) is not None:
        signal.setitimer(signal.ITIMER_REAL, task.limit + GRACE_SECONDS)
        try:
            verdict = Verdict(document=msgspec.Raw(rego.answer(given)))
        except UndecidedError as error:
            verdict = Verdict(failure=str(error))
        signal.setitimer(signal.ITIMER_REAL, 0)
        send(parent, msgspec.json.encode(verdict))


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
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(socket.socket(fileno=0))


if __name__ == "__main__":
    main()
