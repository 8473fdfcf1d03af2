"""A client program that runs as long as the tests do, and makes one call whenever a line asks it for one."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.fork_server import can_start
from tests.support.running import PATIENCE, PROVIDER_KEYS, SimulatorThread, Wirekey, bare_environment, fork_server

HERE = Path(__file__).parents[1] / "clients"


@dataclass(frozen=True)
class Outcome:
    """What one call gave its program: `value`, or the exception that the SDK raised."""

    value: Any = None
    left: bool = False
    type: str | None = None
    status: int | None = None
    message: str = ""

    @property
    def failed(self) -> bool:
        return self.type is not None


class Program:
    """A running client program."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self.stderr = folder / "stderr.txt"
        with self.stderr.open("ab") as stderr:
            self.process = subprocess.Popen(
                command,
                env=environment,
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        self.lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(b"")

    def do(self, client: str, action: str, **options: Any) -> Outcome:
        self.ask(client, action, **options)
        return self.outcome()

    def ask(self, client: str, action: str, **options: Any) -> None:
        line = json.dumps({"client": client, "action": action, "options": options})
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def outcome(self) -> Outcome:
        line = self.lines.get(timeout=3 * PATIENCE)
        if not line:
            raise AssertionError(f"the client program ended:\n{self.stderr.read_text()}")
        said = json.loads(line)
        return Outcome(said.get("value"), said.get("left", False), **said.get("error", {}))

    def stop(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.stdout.close()


def installed(name: str) -> str:
    """Return the path of a program, or skip the test if it is not installed."""
    if found := shutil.which(name):
        return found
    pytest.skip(f"{name} is not installed, so its calls cannot be tested. Install it, or run .ci/run as root.")


def install_node_packages() -> None:
    """Bring tests/clients/node/node_modules to what the lock file says; a no-op where it is."""
    folder = HERE / "node"
    done = folder / "node_modules" / ".package-lock.json"
    if done.exists() and done.stat().st_mtime >= (folder / "package-lock.json").stat().st_mtime:
        return
    subprocess.run(
        [installed("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True
    )
    done.touch()


def frameworks_python() -> str:
    """Return the Python of the environment that .ci/run makes for LangChain and LiteLLM."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path(os.environ.get("HOME") or "/tmp") / ".cache"  # read
    found = Path(cache) / "wirekey-frameworks" / "bin" / "python"
    if not found.exists():
        pytest.skip("LangChain and LiteLLM are not installed, so their calls cannot be tested. Run .ci/run.")
    return str(found)


def programs_python() -> str:
    """Return the Python of the environment that .ci/run makes for programs of the guides."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path(os.environ.get("HOME") or "/tmp") / ".cache"  # read
    found = Path(cache) / "wirekey-programs" / "bin" / "python"
    if not found.exists():
        pytest.skip("The packages of the guides' programs are not installed. Run .ci/run.")
    return str(found)


def command_of(language: str) -> list[str]:
    if language == "node":
        install_node_packages()
        return [installed("node"), str(HERE / "node" / "client.mjs")]
    if language == "frameworks":
        return [frameworks_python(), str(HERE / "python" / "client.py")]
    return [sys.executable, str(HERE / "python" / "client.py")]


def direct_environment(simulator: SimulatorThread) -> dict[str, str]:
    """The provider is the simulator, called without a proxy, with the real keys."""
    url, ca = simulator.url, str(simulator.ca_file)
    return bare_environment() | {
        "OPENAI_API_KEY": PROVIDER_KEYS["openai"],
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_API_BASE": f"{url}/v1",
        "ANTHROPIC_API_KEY": PROVIDER_KEYS["anthropic"],
        "ANTHROPIC_BASE_URL": url,
        "GEMINI_API_KEY": PROVIDER_KEYS["gemini"],
        "GOOGLE_GEMINI_BASE_URL": url,
        "MISTRAL_API_KEY": PROVIDER_KEYS["mistral"],
        "MISTRAL_API_BASE": f"{url}/v1",
        "AWS_BEARER_TOKEN_BEDROCK": PROVIDER_KEYS["bedrock"],
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": url,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NODE_EXTRA_CA_CERTS": ca,
        "SSL_CERT_FILE": ca,
        "REQUESTS_CA_BUNDLE": ca,
        "AWS_CA_BUNDLE": ca,
        "CURL_CA_BUNDLE": ca,
    }


def behind_exec(
    proxy: Wirekey, *command: str, variables: dict[str, str] | None = None, gateway: bool = False
) -> list[str]:
    """The command that runs a program behind Wirekey; `variables` are set on top of what exec sets."""
    return [sys.executable, "-m", "wirekey", *exec_arguments(proxy, *command, variables=variables, gateway=gateway)]


def run_behind_exec(
    proxy: Wirekey,
    *command: str,
    folder: Path | None = None,
    environ: dict[str, str] | None = None,
    variables: dict[str, str] | None = None,
    gateway: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a program behind Wirekey to its end. `exec` itself is forked, which saves its imports."""
    environment = bare_environment() | (environ or {})
    arguments = exec_arguments(proxy, *command, variables=variables, gateway=gateway)
    if can_start(environment):
        return fork_server().run(arguments, folder or proxy.folder, environment, 4 * PATIENCE)
    return subprocess.run(
        [sys.executable, "-m", "wirekey", *arguments],
        env=environment,
        cwd=folder or proxy.folder,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=4 * PATIENCE,
        check=False,
    )


def exec_arguments(proxy: Wirekey, *command: str, variables: dict[str, str] | None, gateway: bool) -> list[str]:
    setting = [installed("env"), *(f"{name}={value}" for name, value in (variables or {}).items())]
    return [
        *("exec", "--config", str(proxy.folder / "wirekey.yaml"), "--agent", "alice"),
        *(("--gateway",) if gateway else ()),
        "--",
        *(setting if variables else ()),
        *command,
    ]
