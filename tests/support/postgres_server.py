"""A real PostgreSQL server on a free port, with its files in a temporary folder, as an unprivileged user.

It is started once for all tests of a process. Each test gets a database of its own. A test that stops or slows the
server gets a server of its own: `own_postgres`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.redis_server import UNPRIVILEGED, unprivileged
from wirekey.core.secret import Secret

NUMBERS = itertools.count(1)


def programs() -> Path | None:
    """Return the folder of the server's programs. Debian keeps them apart from PATH."""
    if found := shutil.which("postgres"):
        return Path(found).parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return versions[-1].parent if versions else None


class PostgresServer:
    """A PostgreSQL server. `start` after `stop` or `kill` goes on with its data."""

    def __init__(self) -> None:
        self.programs = programs()
        if self.programs is None:
            pytest.skip("postgresql is not installed")
        self.folder = Path(tempfile.mkdtemp(prefix="wirekey-postgres-"))
        if not os.geteuid():
            os.chown(self.folder, *pwd.getpwnam(UNPRIVILEGED)[2:4])
        self.data = self.folder / "data"
        initdb = [self.programs / "initdb", "-D", self.data, "-U", "wirekey", "-A", "trust", "--no-sync", "-E", "UTF8"]
        subprocess.run(initdb, check=True, cwd="/", stdout=subprocess.DEVNULL, **unprivileged())
        self.port = free_port()
        self.start()

    def start(self) -> None:
        assert self.programs
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": 60,
        }
        arguments = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
        log = self.folder / "log"
        log.touch()
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.data, *arguments],
                cwd="/",
                stdout=output,
                stderr=output,
                **unprivileged(),
            )
        deadline = time.monotonic() + 60
        while not self.is_ready():
            assert self.process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)

    def is_ready(self) -> bool:
        import psycopg

        with contextlib.suppress(psycopg.Error), self.connect() as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
        return False

    def connect(self, database: str = "postgres"):
        import psycopg

        return psycopg.connect(self.url(database), autocommit=True, connect_timeout=5)

    def url(self, database: str) -> str:
        return f"postgresql://wirekey@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Create a database and return its URL."""
        name = f"test_{os.getpid()}_{next(NUMBERS)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def stop(self) -> None:
        """Stop as an administrator does who does not wait for clients."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)

    def kill(self) -> None:
        """Kill the server with all its sessions."""
        for process in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.process.wait(60)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def pause(self) -> None:
        """Stop all its processes where they are. `go_on` continues them."""
        for process in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGSTOP)

    def go_on(self) -> None:
        for process in self.processes():
            with contextlib.suppress(ProcessLookupError):  # a connection's process that has just ended
                os.kill(process, signal.SIGCONT)

    def processes(self) -> list[int]:
        """Return the ids of the server and of its sessions."""
        main = self.process.pid
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        return [main, *map(int, children)]

    def cut_connections(self) -> None:
        """End all sessions."""
        with self.connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres():
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture(scope="module")
def fragile_postgres():
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture
def own_postgres(fragile_postgres):
    """Return a server that the tests of one file may stop, kill and pause. The next test finds it running."""
    yield fragile_postgres
    if fragile_postgres.process.poll() is not None:
        fragile_postgres.start()
    fragile_postgres.go_on()


@pytest.fixture
def database(postgres) -> Secret:
    """Return the URL of a new database."""
    return Secret(postgres.new_database())
