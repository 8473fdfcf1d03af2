"""Run `wirekey` commands, and read what they print."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.support.fork_server import can_start
from tests.support.running import PATIENCE, Wirekey, bare_environment, fork_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLAIN = {"listen": {"forward": "127.0.0.1:0", "gateway": None, "console": None}}


def write_configuration(folder: Path, configuration: dict | str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = configuration if isinstance(configuration, str) else json.dumps(configuration)
    (folder / "wirekey.yaml").write_text(text)


def wirekey(folder: Path, *arguments: str, environ: dict | None = None, **options) -> subprocess.CompletedProcess:
    """Run a command to its end, in a new process where `options` of `subprocess.run` are given."""
    environment = bare_environment() | (environ or {})
    if not options and can_start(environment):
        return fork_server().run(list(arguments), folder, environment, PATIENCE)
    return subprocess.run(
        [sys.executable, "-m", "wirekey", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        **options,
    )


def refused_start(folder: Path, configuration: dict | str = PLAIN, *arguments: str, **options) -> str:
    """Assert that a start ends with exit code 2 and without a traceback. Return what it prints."""
    write_configuration(folder, configuration)
    ended = wirekey(folder, "serve", *arguments, **options)
    assert ended.returncode == 2, ended
    assert ended.stderr.splitlines()[-1].startswith("wirekey: ") or ended.stderr.startswith("wirekey: "), ended
    assert "Traceback" not in ended.stderr
    return ended.stderr


@contextlib.contextmanager
def serving(folder: Path, configuration: dict | None = None, *arguments: str, **options) -> Iterator[Wirekey]:
    running = Wirekey(folder, configuration or {}, *arguments, **options)
    try:
        yield running
    finally:
        running.stop()


@contextlib.contextmanager
def taken_port() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]
