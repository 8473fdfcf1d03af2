"""A running simulator and a running Wirekey, for tests that call them as clients do."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.fork_server import ForkedProcess, ForkServer, can_start
from wirekey.core.identity.agents import AgentStore
from wirekey.server.runtime import RunningProxy
from wirekey_simulator.server import Simulator

PROVIDER_KEYS = {
    "openai": "sk-real-openai-key-4f1c9e",
    "gemini": "AIza-real-gemini-key-77ab02",
    "anthropic": "sk-ant-real-anthropic-key-90aa1d",
    "bedrock": "bedrock-real-bearer-key-5512cd",
    "mistral": "mistral-real-key-c3b8e1",
}
EVERYTHING = Path(__file__).parents[1] / "policies" / "everything"
"""A policy that allows every call."""
DRAIN = 0.5
"""Seconds that open calls have after SIGTERM. A test that ends Wirekey need not wait for those that stall."""
PATIENCE = 60.0
"""Seconds that a test waits for something that takes far less time."""


def wait_for(condition, what: str, patience: float = PATIENCE):
    """Return the first true value of `condition()`. Raises AssertionError after `patience` seconds."""
    deadline = time.monotonic() + patience
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience:g} s for {what}")
        time.sleep(0.01)


class SimulatorThread:
    """The simulator in a thread of its own. `seen` holds the requests that reached it."""

    def __init__(self, folder: Path, keys=None, **options) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        keys = keys or {name: [key] for name, key in PROVIDER_KEYS.items()}
        self.simulator = Simulator(certificate_folder=folder, keys=keys, **options)
        self.do(self.simulator.start())

    def do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE)

    @property
    def seen(self):
        return list(self.simulator.seen)

    @property
    def url(self) -> str:
        return self.simulator.url

    @property
    def ca_file(self) -> Path:
        return Path(self.simulator.ca_file)

    def forget(self) -> None:
        self.simulator.seen.clear()

    def stop(self) -> None:
        self.do(self.simulator.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(PATIENCE)


LOGS: dict[Path, subprocess.Popen | ForkedProcess] = {}
"""The output of each server that a test has started, and its process."""
LAST_LINES = 15


def log_of(output: Path, process: subprocess.Popen | ForkedProcess) -> None:
    """Print the end of this file if a test fails while this server runs, or in which it ended."""
    LOGS[output] = process


def server_logs() -> list[tuple[str, str]]:
    """Return (which server, the last lines of its log) for each one that is remembered."""
    return [
        (f"{output} (process {process.pid})", "\n".join(output.read_text(errors="replace").splitlines()[-LAST_LINES:]))
        for output, process in LOGS.items()
        if output.exists()
    ]


def forget_ended_servers() -> None:
    for output in [output for output, process in LOGS.items() if process.poll() is not None]:
        del LOGS[output]


@functools.cache
def fork_server() -> ForkServer:
    """The process that servers are forked from. It ends with this one."""
    return ForkServer()


class Wirekey:
    """`wirekey serve` as a process of its own, on a free port, with a fresh state."""

    new_process = False
    """Start a Python, rather than fork the one that has imported Wirekey."""
    process: subprocess.Popen | ForkedProcess

    def __init__(self, folder: Path, configuration: dict, *arguments: str, environ: dict | None = None) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.state = folder / "state"
        self.certs = folder / "certs"
        configuration = {
            "state": str(self.state),
            "certs": str(self.certs),
            "listen": {"forward": "127.0.0.1:0", "gateway": None, "console": None},
            "log": {"format": "json", "level": "debug"},
            **configuration,
            "timeouts": {"drain": DRAIN, **configuration.get("timeouts", {})},
        }
        (folder / "wirekey.yaml").write_text(json.dumps(configuration))
        self.output = folder / "output.txt"
        self.environ = bare_environment() | (environ or {})
        self.arguments = arguments
        try:
            self.start()
        except BaseException:
            if process := getattr(self, "process", None):
                process.kill()  # nobody can stop it otherwise
            raise

    def start(self) -> None:
        arguments = ["serve", "--config", "wirekey.yaml", *self.arguments]
        with self.output.open("ab") as output:
            if self.new_process or not can_start(self.environ):
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "wirekey", *arguments],
                    cwd=self.folder,
                    env=self.environ,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            else:
                self.process = fork_server().start(arguments, self.folder, self.environ, output, output)
        log_of(self.output, self.process)
        self.running = wait_for(self.is_up, "wirekey serve to listen")

    def is_up(self) -> RunningProxy | None:
        if self.process.poll() is not None:
            raise AssertionError(f"wirekey serve ended with {self.process.returncode}:\n{self.output.read_text()}")
        running = RunningProxy.read(self.state)
        return running if running and running.pid == self.process.pid else None

    @property
    def agents(self) -> AgentStore:
        return AgentStore(self.state / "agents.json")

    def add_agent(self, name: str = "alice", **facts) -> str:
        return self.agents.add(name, **facts)

    def proxy_url(self, agent: str, token: str) -> str:
        return f"http://{agent}:{token}@{self.running.forward}"

    @property
    def root(self) -> Path:
        return self.certs / "mitmproxy-ca-cert.pem"

    def events(self) -> list[dict]:
        """All audit events, oldest first."""
        with contextlib.closing(sqlite3.connect(self.state / "audit.db")) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute("SELECT * FROM calls ORDER BY id")]

    def finished_events(self, count: int, since: str = "") -> list[dict]:
        """The events of calls that began after the call id `since`, once `count` of them have an outcome.

        Ids made in the same millisecond sort by chance, so those of that of `since` count too.
        """
        millisecond = since[:13]

        def enough():
            events = [event for event in self.events() if event["outcome"] and event["id"] > millisecond]
            return events if len(events) >= count else None

        return wait_for(enough, f"{count} finished audit events")

    def finished_event(self, since: str = "") -> dict:
        """The only event of a call that began after the call id `since`."""
        (event,) = self.finished_events(1, since)
        return event

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        return self.process.wait(PATIENCE)


def bare_environment() -> dict[str, str]:
    """No provider key, no proxy, no CA of the machine that runs the tests."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH") if name in os.environ}


def behind(simulator: SimulatorThread, **more) -> dict:
    """A configuration in which each provider is the simulator, with the real-looking keys in the environment."""
    upstream = {"upstream_url": simulator.url}
    providers = {name: {"keys": [f"env:REAL_{name.upper()}"], **upstream} for name in PROVIDER_KEYS}
    return {
        "upstream_ca_file": str(simulator.ca_file),
        "policy": {"path": str(EVERYTHING)},
        "providers": providers | {"bedrock": {"aws": {"bearer": "env:REAL_BEDROCK"}, **upstream}},
        **more,
    }


KEY_ENVIRONMENT = {f"REAL_{name.upper()}": key for name, key in PROVIDER_KEYS.items()}


@contextlib.contextmanager
def wirekey_behind(folder: Path, simulator: SimulatorThread, *arguments: str, **more) -> Iterator[Wirekey]:
    proxy = Wirekey(folder, behind(simulator, **more), *arguments, environ=KEY_ENVIRONMENT)
    try:
        yield proxy
    finally:
        proxy.stop()
