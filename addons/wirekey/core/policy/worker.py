"""Evaluates policies in a process of its own, which can be killed and whose crash does not affect the proxy.

While regorus works, it holds the interpreter lock, so a thread could not be bounded. A round trip costs some 20
microseconds more than evaluation in process. `worker_process.py` is the child.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec

from wirekey.core.policy.decision import UndecidedError
from wirekey.core.policy.modules import PolicyError, PolicyProblem
from wirekey.core.policy.worker_process import (
    LENGTH,
    PolicyReport,
    WorkerReply,
    WorkerTask,
    receive,
    report_decoder,
    send,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from wirekey.core.policy.modules import Modules

LOAD_SECONDS = 30.0
"""Seconds of processor time for loading and validating a new policy."""
WALL_FACTOR = 4
"""Factor from that to the wall time, as other programs use the machine too."""
ENDING_SECONDS = 0.2
"""Seconds for a child to exit after it closed its socket."""
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
                [sys.executable, "-m", "wirekey.core.policy.worker_process"],
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
        report = report_decoder.decode(message)
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
            raise UndecidedError(f"The policy took longer than {seconds:.3g} s of elapsed time.") from None
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
