"""The child process of `worker.py`: loads a policy, then evaluates inputs until the parent closes the socket.

Parent and child talk over a socket pair: four bytes of length, then JSON. The child first gets the policy and evaluates
some sample calls, as regorus finds most errors only then. This module imports little, because each start of Wirekey and
each change of a policy waits for the child to start.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import socket
import struct
import sys
from typing import TYPE_CHECKING

import msgspec

from wirekey.core.policy.decision import DECIDING, UndecidedError
from wirekey.core.policy.modules import Modules, PolicyError
from wirekey.core.policy.rego import SHORT_ARRAY, Rego, failed_tests, unused_packages

if TYPE_CHECKING:
    from collections.abc import Iterator

LENGTH = struct.Struct("!I")
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


_task_decoder = msgspec.json.Decoder(WorkerTask)


class PolicyReport(msgspec.Struct):
    """The child's first message: problems as (file, line, column, message), or facts about the policy."""

    problems: list[tuple[str, int | None, int | None, str]] = []
    needs_allow: bool = False
    linear_time: bool = False
    unused_packages: list[str] = []


report_decoder = msgspec.json.Decoder(PolicyReport)


class WorkerReply(msgspec.Struct):
    """The child's message for each input: the decision document, or why the evaluation failed."""

    document: msgspec.Raw = msgspec.Raw(b"null")
    failure: str | None = None


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


def serve(parent: socket.socket) -> None:
    """Load the policy that the parent sends, report, then evaluate inputs until the parent closes the socket."""
    first = receive(parent)
    if first is None:
        return
    task = _task_decoder.decode(first)
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
            failed = failed_tests(modules)
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
    if found.rule_names(task.query).isdisjoint(DECIDING):
        problems.setdefault(f"{task.query} has none of the rules {', '.join(DECIDING)}, so it would allow every call")
    return PolicyReport(
        problems=[("policy", None, None, problem) for problem in problems],
        needs_allow="allow" in found.rule_names(task.query),
        linear_time=found.runs_in_linear_time(SHORT_ARRAY),
        unused_packages=[*unused_packages(found, task.query)],
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
