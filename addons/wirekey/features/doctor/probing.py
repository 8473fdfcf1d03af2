"""Finds the client runtimes of this machine and makes each of them call a stub proxy."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import ssl
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from wirekey.core.ca.certificates import issue
from wirekey.features.doctor.checks import ClientRun, check_client
from wirekey.features.doctor.clients import NOT_INSTALLED, PATH, RUNTIMES, Client, Runtime
from wirekey.features.doctor.stub import Stub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from wirekey.cli.config_checks import Finding
    from wirekey.core.ca.authority import Authority

AGENT = "wirekey-doctor"
VERSION_SECONDS = 30
AT_ONCE = 3
VERSION = re.compile(r".*?\d+(?:\.\d+)+")
FAILURE_WORDS = re.compile(r"error|exception|refused|denied|fatal|could not|unable", re.IGNORECASE)
LONGEST_LINE = 160


@dataclass(frozen=True, slots=True)
class Installed:
    """A runtime that was found on this machine. `label` is unique."""

    runtime: Runtime
    program: str
    label: str


class Prober:
    """Runs clients against a stub proxy and checks what arrives there.

    `environment` returns the variables of a program for the port of a proxy, an agent and a token. `hosts` is provider
    → one of its hosts.
    """

    def __init__(
        self,
        authority: Authority,
        hosts: Mapping[str, str],
        environment: Callable[[int, str, str], dict[str, str]],
    ) -> None:
        self.authority = authority
        self.hosts = hosts
        self.environment = environment
        self.contexts: dict[str, ssl.SSLContext] = {}

    def findings(self, found: Iterable[Installed]) -> list[Finding]:
        """Check each client of the installed runtimes, several at once. Returns the findings in the same order."""
        pairs = [(each, client) for each in found for client in each.runtime.clients]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(lambda pair: self.check(*pair), pairs))

    def check(self, installed: Installed, client: Client) -> Finding:
        """Run a client and check what arrives."""
        run = self.run(installed, client, challenge=True)
        if run.observed.connected and not run.observed.credentials:
            # Wirekey allows such clients a tunnel to a provider, so check what they do in the tunnel.
            run = self.run(installed, client, challenge=False)
        return check_client(f"{installed.label} {client.name}".strip(), client, run, self.authority.root_file)

    def run(self, installed: Installed, client: Client, *, challenge: bool) -> ClientRun:
        """Run a client against a stub proxy. `challenge` is as in `Stub`."""
        token = secrets.token_urlsafe()
        host = self.hosts[client.provider]
        with (
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
            Stub(self.context, AGENT, token, challenge=challenge) as stub,
        ):
            words = {"{host}": host, "{url}": f"https://{host}{PATH}", "{folder}": folder}
            if client.file:
                (Path(folder) / client.file[0]).write_text(client.file[1])
            command = [installed.program, *(filled(argument, words) for argument in client.arguments)]
            code, output = run_program(command, self.environment(stub.port, AGENT, token), folder, client.seconds)
        return ClientRun(
            observed=stub.observed,
            ended=code is not None,
            absent=code == NOT_INSTALLED or (code != 0 and any(mark in output for mark in installed.runtime.absent)),
            output=telling_line(output).replace(token, "…"),
        )

    def context(self, host: str) -> ssl.SSLContext | None:
        """Return the server side of TLS for a host, or None if the CA does not cover it."""
        if host not in self.contexts:
            if self.authority.covers([host]):
                return None
            pem = issue(self.authority.key_file.read_bytes(), host, datetime.now(UTC))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            # It reads only files. This one belongs to our user and is removed at once.
            with tempfile.NamedTemporaryFile() as file:
                file.write(pem)
                file.flush()
                context.load_cert_chain(file.name)
            self.contexts[host] = context
        return self.contexts[host]


def filled(argument: str, words: Mapping[str, str]) -> str:
    """Return an argument with its placeholders replaced."""
    for word, value in words.items():
        argument = argument.replace(word, value)
    return argument


def installed_runtimes(runtimes: Iterable[Runtime] = RUNTIMES) -> list[Installed]:
    """Return the runtimes on PATH and those that version managers have installed."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [each for found in pool.map(versions_of, runtimes) for each in found]


def versions_of(runtime: Runtime) -> list[Installed]:
    """Return the installed versions of a runtime."""
    versions: dict[str, str] = {}
    for program in candidates(runtime):
        code, output = run_program([program, *runtime.version], dict(os.environ), ".", VERSION_SECONDS, errors=False)
        line = next((line for line in output.splitlines() if VERSION.match(line)), None)
        if code == 0 and line:
            versions.setdefault(line, program)
    short = {line: short_version(line) for line in versions}
    return [
        Installed(runtime, program, f"{short[line]} ({program})" if several(short, line) else short[line])
        for line, program in versions.items()
    ]


def candidates(runtime: Runtime) -> Iterator[str]:
    """Yield the paths of programs that may be the runtime."""
    yield from filter(None, map(shutil.which, runtime.names))
    for pattern in runtime.elsewhere:
        yield from sorted(map(str, Path.home().glob(pattern)))


def short_version(line: str) -> str:
    """Return a line up to the end of its version number."""
    matched = VERSION.match(line)
    return matched.group().replace("/", " ") if matched else line


def several(short: Mapping[str, str], line: str) -> bool:
    """Return whether another line has the same short version."""
    return list(short.values()).count(short[line]) > 1


def run_program(
    command: list[str], environment: dict[str, str], folder: str, seconds: float, *, errors: bool = True
) -> tuple[int | None, str]:
    """Run a program to its end. Returns its exit code, or None if it was killed after `seconds`, and its output."""
    try:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if errors else subprocess.DEVNULL,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        return 127, str(error)
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return None, output
    return process.returncode, output


def telling_line(output: str) -> str:
    """Return the line of a program's output that most likely says what went wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith("Picked up ")]
    telling = [line for line in lines if FAILURE_WORDS.search(line) and not line.startswith(("at ", "File "))]
    return (telling or lines or [""])[-1][:LONGEST_LINE]
