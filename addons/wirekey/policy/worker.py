"""Evaluates policies in a process of its own, which can be killed and whose crash does not affect the proxy.

While regorus works, it holds the interpreter lock, so a thread could not be bounded. Parent and child talk over a
socket pair: four bytes of length, then JSON. A round trip costs some 20 microseconds more than evaluation in process.
The child first gets the policy and evaluates some sample calls, as regorus finds most errors only then.
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
from wirekey.policy.own_tests import failed_tests
from wirekey.policy.rego import Rego

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

LENGTH = struct.Struct("!I")
LOAD_SECONDS = 30.0
"""Seconds of processor time for loading and validating a new policy."""
WALL_FACTOR = 4
"""Factor from that to the wall time, as other programs use the machine too."""
ENDING_SECONDS = 0.2
"""Seconds for a child to exit after it closed its socket."""
HEAP_BYTES = 2 << 30
"""Half of it is address space that the library's allocator reserves at the start."""


class WorkerTask(msgspec.Struct):
    """The first message to the child.

    `samples`: inputs to validate the policy with, as JSON. Limits: processor seconds.
    """

    rego: dict[str, str]
    tests: dict[str, str]
    data: msgspec.Raw
    query: str
    samples: list[msgspec.Raw]
    limit: float
    load_limit: float


class PolicyReport(msgspec.Struct):
    """The child's first message: problems as (file, line, column, message), or facts about the policy."""

    problems: list[tuple[str, int | None, int | None, str]] = []
    needs_allow: bool = False
    linear_time: bool = False
    unused_packages: list[str] = []


class WorkerReply(msgspec.Struct):
    """The child's message for each input: the decision document, or why the evaluation failed."""

    document: msgspec.Raw = msgspec.Raw(b"null")
    failure: str | None = None


_reply = msgspec.json.Decoder(WorkerReply)


class PolicyWorker:
    """A child process with one compiled policy. Evaluates one input at a time.

    `limit` is the processor time of a decision, which the child enforces. Wall time also passes while the child waits
    for the processor, so `evaluate` has a limit of its own for a child that hangs.
    """

    def __init__(self, modules: Modules, query: str, samples: list[bytes], limit: float) -> None:
        """Start the child and wait for its report: blocks for a tenth of a second. Raises PolicyError."""
        self._limit = limit
        parent_end, child_end = socket.socketpair()
        self._socket = parent_end
        with child_end:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "wirekey.policy.worker"],
                stdin=child_end.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PYTHONPATH": ":".join(path for path in sys.path if path), "RUST_BACKTRACE": "0"},
                close_fds=True,
                start_new_session=True,
            )
        data = msgspec.Raw(msgspec.json.encode(modules.data))
        inputs = [*map(msgspec.Raw, samples)]
        task = WorkerTask(modules.rego, modules.tests if samples else {}, data, query, inputs, limit, LOAD_SECONDS)
        try:
            self.report = self._load_policy(msgspec.json.encode(task))
        except BaseException:
            self.end()
            raise
        parent_end.setblocking(False)

    def _load_policy(self, task: bytes) -> PolicyReport:
        self._socket.settimeout(LOAD_SECONDS * WALL_FACTOR)
        try:
            send(self._socket, task)
            message = receive(self._socket)
        except TimeoutError:
            raise PolicyError(
                [policy_problem("takes too long on a sample call. Check it for an endless loop")]
            ) from None
        except OSError:
            message = None
        if message is None and self._ended_by_limit():
            raise PolicyError([policy_problem("takes too long on a sample call. Check it for an endless loop")])
        if message is None:
            raise PolicyError([policy_problem("crashed its process: it nests too deeply or needs too much memory")])
        report = msgspec.json.decode(message, type=PolicyReport)
        if report.problems:
            raise PolicyError([PolicyProblem(*problem) for problem in report.problems])
        return report

    @property
    def alive(self) -> bool:
        """Return whether the child runs and can be asked."""
        return self._socket.fileno() >= 0 and self._process.poll() is None

    async def evaluate(self, given: bytes, seconds: float) -> bytes:
        """Return the decision document for an input; both JSON. Raises UndecidedError.

        `seconds`: wall time after which the child is killed. The child exits by itself at its limit of processor time.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                await loop.sock_sendall(self._socket, LENGTH.pack(len(given)) + given)
                (length,) = LENGTH.unpack(await self._exactly(LENGTH.size))
                received = await self._exactly(length)
        except TimeoutError:
            self.end()
            raise UndecidedError(f"The policy took longer than {seconds:.3g} s (policy.wall_timeout).") from None
        except OSError:
            by_limit = self._ended_by_limit()
            self.end()
            if by_limit:
                message = f"The policy took longer than {self._limit:.3g} s of processor time (policy.timeout)."
                raise UndecidedError(message) from None
            raise UndecidedError(
                "The policy crashed its process: it nests too deeply or needs too much memory."
            ) from None
        except BaseException:
            # Cancelled half-way: the next input would get this one's reply.
            self.end()
            raise
        reply = _reply.decode(received)
        if reply.failure is not None:
            raise UndecidedError(reply.failure)
        return bytes(reply.document)

    def _exactly(self, size: int) -> Awaitable[bytes]:
        return read_exactly(self._socket, size)

    def _ended_by_limit(self) -> bool:
        """Return whether the child, which closed its socket, exceeded its processor time."""
        try:
            return self._process.wait(ENDING_SECONDS) == -signal.SIGPROF
        except subprocess.TimeoutExpired:
            return False

    def end(self) -> None:
        """Kill the child. May be called again."""
        self._socket.close()
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


async def start_worker(modules: Modules, query: str, samples: list[bytes], limit: float) -> PolicyWorker:
    """Start a worker in a thread. If the caller is cancelled, the worker ends as soon as it has started.

    Raises PolicyError, OSError.
    """
    starting = asyncio.get_running_loop().run_in_executor(None, PolicyWorker, modules, query, samples, limit)
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        starting.add_done_callback(end_when_started)
        raise


def end_when_started(starting: asyncio.Future[PolicyWorker]) -> None:
    """End the worker of a future that nobody waits for."""
    if not starting.cancelled() and not starting.exception():
        starting.result().end()


async def read_exactly(source: socket.socket, size: int) -> bytes:
    """Read `size` bytes. Raises ConnectionResetError if the peer closes first."""
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < size:
        piece = await loop.sock_recv(source, size - len(data))
        if not piece:
            raise ConnectionResetError
        data += piece
    return data


def policy_problem(message: str) -> PolicyProblem:
    """Return a problem of the policy as a whole, without a position."""
    return PolicyProblem("policy", None, None, message)


def send(target: socket.socket, data: bytes) -> None:
    """Write one message."""
    target.sendall(LENGTH.pack(len(data)) + data)


def receive(source: socket.socket) -> bytes | None:
    """Read one message. Return None at the end of the stream."""
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


# The rest runs in the child.


def serve(parent: socket.socket) -> None:
    """Load the policy that the parent sends, report, then evaluate inputs until the parent closes the socket."""
    first = receive(parent)
    if first is None:
        return
    task = msgspec.json.decode(first, type=WorkerTask)
    with processor_time_limit(task.load_limit):
        rego, report = load_policy(task)
    send(parent, msgspec.json.encode(report))
    if rego is None:
        return
    while (given := receive(parent)) is not None:
        with processor_time_limit(task.limit):
            try:
                reply = WorkerReply(document=msgspec.Raw(rego.evaluate(given)))
            except UndecidedError as error:
                reply = WorkerReply(failure=str(error))
            message = msgspec.json.encode(reply)
        send(parent, message)


@contextlib.contextmanager
def processor_time_limit(seconds: float) -> Iterator[None]:
    """Limit the processor time of the block: the signal kills the process even while the library works."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def load_policy(task: WorkerTask) -> tuple[Rego | None, PolicyReport]:
    """Compile the policy, validate it and run its own tests. Return None and the problems if there are any."""
    modules = Modules(task.rego, msgspec.json.decode(task.data), "", task.tests)
    try:
        rego = Rego(modules, task.query)
        report = validate(rego, task)
        if not report.problems:
            failed = failed_tests(modules, task.query)
            report.problems = [(each.file, each.line, each.column, each.message) for each in failed]
    except PolicyError as error:
        problems = [(each.file, each.line, each.column, each.message) for each in error.problems]
        return None, PolicyReport(problems)
    return (None if report.problems else rego), report


def validate(rego: Rego, task: WorkerTask) -> PolicyReport:
    """Evaluate the samples and report problems and facts about the policy."""
    problems: dict[str, None] = {}
    for sample in task.samples:
        try:
            rego.evaluate(bytes(sample))
        except UndecidedError as error:
            problems.setdefault(str(error))
    found = rego.syntax
    return PolicyReport(
        problems=[("policy", None, None, problem) for problem in problems],
        needs_allow="allow" in found.rule_names(task.query),
        linear_time=syntax.runs_in_linear_time(found),
        unused_packages=syntax.unused_packages(found, task.query),
    )


def main() -> None:
    """Run the child on the socket that is its standard input."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (HEAP_BYTES, HEAP_BYTES))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(socket.socket(fileno=0))


if __name__ == "__main__":
    main()
