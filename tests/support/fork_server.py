"""Start `wirekey` commands by forking a process that has imported Wirekey: most of a start's second is imports.

Run as a program, this file is that process. It has one thread, reads no configuration and opens no socket before it
forks, so a fork is what `python -m wirekey` is once it has imported its modules, on a machine that trusts few roots:
each program behind Wirekey reads them all for each of its connections. The tests of the documentation and of single
commands, and those that search all that a server writes for secrets, start new processes, as users do.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

import certifi

MODULES = """
wirekey.cli.main wirekey.cli.serve wirekey.cli.environment wirekey.core.observing.log
wirekey.server.bundle wirekey.server.master wirekey.core.calls.services wirekey.config wirekey.providers
mitmproxy.options
cryptography.hazmat.backends.openssl.backend
"""
READ_AT_IMPORT = ("PYTHON", "PROMETHEUS_", "SSLKEYLOGFILE", "MITMPROXY_", "NO_COLOR", "FORCE_COLOR", "TERM")
"""Beginnings of names of environment variables that libraries read when they are imported."""
CAN_FORK = sys.platform == "linux" and hasattr(os, "pidfd_open")
ROOTS = 3
"""How many of the public roots the machine of a forked process trusts."""
PATIENT_WITH_REDIS = {"TEST_REDIS_SECONDS": "5"}
"""Environment of a process for which a step in Redis may take this long, so that a busy machine changes no result."""
LARGEST_MESSAGE = 1 << 20
LARGEST_OUTPUT = 1 << 24


def can_start(environment: dict[str, str]) -> bool:
    """Return whether a fork serves as a new process would: not if a variable changes what imports do."""
    ours = {name: value for name, value in environment.items() if os.environ.get(name) != value}
    return CAN_FORK and not any(name.startswith(READ_AT_IMPORT) for name in ours)


class ForkServer:
    """The process that forks, and the way to ask it. It ends, with all that it started, when its input ends."""

    def __init__(self) -> None:
        self._asking, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._roots = tempfile.NamedTemporaryFile(suffix=".pem")  # noqa: SIM115  # removed with this object
        self._roots.write(few_roots())
        self._roots.flush()
        environment = {name: value for name, value in os.environ.items() if not name.startswith(READ_AT_IMPORT)}
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno()), self._roots.name],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()

    def start(
        self, arguments: list[str], folder: Path, environment: dict[str, str], output: IO[bytes], errors: IO[bytes]
    ) -> ForkedProcess:
        """Start `wirekey ARGUMENTS` in a folder, with these files as its standard output and standard error."""
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request = json.dumps({"arguments": arguments, "folder": str(folder), "environment": environment}).encode()
        with theirs:
            socket.send_fds(self._asking, [request], [theirs.fileno(), output.fileno(), errors.fileno()])
        return ForkedProcess(mine)

    def run(
        self, arguments: list[str], folder: Path, environment: dict[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run `wirekey ARGUMENTS` to its end. Raises subprocess.TimeoutExpired."""
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            process = self.start(arguments, folder, environment, output, errors)
            try:
                code = process.wait(timeout)
            finally:
                process.kill()
            texts = [os.pread(file.fileno(), LARGEST_OUTPUT, 0).decode(errors="replace") for file in (output, errors)]
        return subprocess.CompletedProcess(["wirekey", *arguments], code, *texts)

    def stop(self) -> None:
        """End the process, and those that it started."""
        self._asking.close()
        self._process.wait()


def few_roots() -> bytes:
    """Return the first public roots as PEM."""
    end = b"-----END CERTIFICATE-----\n"
    return b"".join(part + end for part in Path(certifi.where()).read_bytes().split(end)[:ROOTS])


class ForkedProcess:
    """A started command. It has those methods of `subprocess.Popen` that tests use."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.pid = int(connection.recv(LARGEST_MESSAGE))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal, or None while the process runs."""
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self.returncode = int(self._connection.recv(LARGEST_MESSAGE) or -signal.SIGKILL)
            self._connection.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code when the process has ended. Raises subprocess.TimeoutExpired."""
        if self.returncode is None and not select.select([self._connection], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(f"wirekey (process {self.pid})", timeout or 0)
        code = self.poll()
        assert code is not None
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class EndOfRequestsError(Exception):
    """No more processes are wanted."""


def serve(requests: socket.socket) -> dict:
    """Fork for each request, and report exit codes. Return in the forks only, with the request of each.

    Raises EndOfRequestsError in the process that forks.
    """
    running: dict[int, tuple[int, socket.socket]] = {}  # descriptor of a process: its id, the way to report its end
    while True:
        ready, _, _ = select.select([requests, *running], [], [])
        for descriptor in ready:
            if descriptor is not requests:
                pid, connection = running.pop(descriptor)
                os.close(descriptor)
                _, status = os.waitpid(pid, 0)
                with connection, contextlib.suppress(OSError):
                    connection.send(str(os.waitstatus_to_exitcode(status)).encode())
                continue
            content, descriptors, _, _ = socket.recv_fds(requests, LARGEST_MESSAGE, 3)
            if not content:
                end_all([pid for pid, _ in running.values()])
                raise EndOfRequestsError
            connection, output, errors = socket.socket(fileno=descriptors[0]), *descriptors[1:]
            pid = os.fork()
            if pid == 0:
                requests.close()
                connection.close()
                for other, (_, way) in running.items():
                    os.close(other)
                    way.close()
                os.dup2(output, 1)
                os.dup2(errors, 2)
                os.close(output)
                os.close(errors)
                return json.loads(content)
            os.close(output)
            os.close(errors)
            running[os.pidfd_open(pid)] = (pid, connection)
            connection.send(str(pid).encode())


def end_all(processes: list[int]) -> None:
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def become(request: dict) -> None:
    """Make this process what `python -m wirekey` would be in the folder and environment of a request."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path[0] = request["folder"]
    sys.argv = ["wirekey", *request["arguments"]]
    sys.modules["__main__"].__dict__.pop("__file__", None)
    if seconds := os.environ.pop(next(iter(PATIENT_WITH_REDIS)), None):
        from wirekey.features.redis.state import RedisState

        RedisState.__init__.__defaults__ = (float(seconds),)


def run_main() -> None:
    """Run the command, and end this process as Python does, but for the objects of modules, which are not freed.

    To free them, the process would copy all the memory that it shares with the one that it was forked from. A command
    that raises anything but an exit code ends in the usual way.
    """
    import atexit
    import threading

    from wirekey.cli.main import main

    try:
        main()
    except SystemExit as error:
        if not isinstance(error.code, int | None):
            raise
        code = error.code or 0
    else:
        code = 0
    threading._shutdown()
    atexit._run_exitfuncs()
    gc.collect()  # asyncio reports tasks that were left behind when they are freed
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    import importlib

    roots = sys.argv[2]
    for module in MODULES.split():
        importlib.import_module(module)
    certifi.where = lambda: roots
    sys.modules["wirekey.core.ca.roots"].SYSTEM_FILES = ()
    gc.collect()
    gc.freeze()
    try:
        asked = serve(socket.socket(fileno=int(sys.argv[1])))
    except EndOfRequestsError:
        sys.exit(0)
    become(asked)
    run_main()
