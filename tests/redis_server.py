"""A real redis-server on a free port, with its files in a temporary folder, as an unprivileged user."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

UNPRIVILEGED = "nobody"
DISKLESS = ("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0", "--repl-diskless-load", "on-empty-db")
"""A replica gets the data without a file: this user may write none."""


def unprivileged() -> dict:
    """Return the arguments of Popen that give up root, if this process is root's."""
    if os.geteuid():
        return {}
    user = pwd.getpwnam(UNPRIVILEGED)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RedisServer:
    """A redis-server. `start` after `stop` starts it on the same port, empty."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("redis-server is not installed")
        self.program = program
        self.folder = folder
        self.port = free_port()
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def arguments(self) -> list[str]:
        return ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", *DISKLESS]

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self.program, *self.arguments()],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **unprivileged(),
        )
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert self.process.poll() is None, "redis-server ended"
                assert time.monotonic() < deadline, "redis-server does not listen"
                time.sleep(0.01)
            else:
                return

    def ask(self, *words: str) -> bytes:
        """Send a command, and return the beginning of the response: nothing while the server changes its role."""
        parts = [f"${len(word)}\r\n{word}\r\n" for word in words]
        with socket.create_connection(("127.0.0.1", self.port), 30) as connection:
            connection.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
            try:
                return connection.recv(4096)
            except ConnectionResetError:
                return b""

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def empty(self) -> None:
        """Remove all that is stored."""
        assert self.ask("FLUSHALL") == b"+OK\r\n"


class Sentinel(RedisServer):
    """Watches a server, and makes its replica the master when it is away."""

    def __init__(self, folder: Path, master: RedisServer) -> None:
        # Outside of the folder of the tests, which only their user may enter: Sentinel writes its file again.
        self.configuration = Path(tempfile.mkdtemp(prefix="wirekey-sentinel-")) / "sentinel.conf"
        self.configuration.write_text(
            f"sentinel monitor wirekey 127.0.0.1 {master.port} 1\nsentinel down-after-milliseconds wirekey 300\n"
            "sentinel failover-timeout wirekey 2000\n"
        )
        if not os.geteuid():
            for path in (self.configuration, self.configuration.parent):
                os.chown(path, *pwd.getpwnam(UNPRIVILEGED)[2:4])
        super().__init__(folder)

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.port}/wirekey"

    def arguments(self) -> list[str]:
        return [str(self.configuration), "--sentinel", "--port", str(self.port), "--bind", "127.0.0.1"]

    def stop(self) -> None:
        super().stop()
        shutil.rmtree(self.configuration.parent, ignore_errors=True)
