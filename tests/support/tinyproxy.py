"""tinyproxy, a real HTTP proxy, started on a free port. Debian's package tinyproxy-bin has it; .ci/run installs it."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.running import wait_for

PATIENCE = 60.0


@dataclass
class Tinyproxy:
    port: int
    log: Path
    command: list[str]
    process: subprocess.Popen | None = None

    @property
    def asked(self) -> list[str]:
        """The request lines that it got."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line.partition("): ")[2].strip() for line in lines if "Request (file descriptor" in line]

    def start(self) -> None:
        self.process = subprocess.Popen(self.command)
        wait_for(self.is_up, "tinyproxy to listen")

    def is_up(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE).close()
            return True
        return False

    def stop(self) -> None:
        """End it at once, with all of its tunnels."""
        if self.process:
            self.process.kill()
            self.process.wait(PATIENCE)
            self.process = None


@contextlib.contextmanager
def tinyproxy(folder: Path, next_proxy: int, *lines: str) -> Iterator[Tinyproxy]:
    """Run tinyproxy. `next_proxy`: the port of the proxy that it connects through. `lines`: more of its settings."""
    found = shutil.which("tinyproxy")
    if not found:
        pytest.skip("tinyproxy is not installed. Run .ci/run.")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "tinyproxy.conf"
    log = folder / "tinyproxy.log"
    common = [f"Port {port}", "Listen 127.0.0.1", f'LogFile "{log}"', "LogLevel Connect"]
    settings.write_text("\n".join([*common, f"Upstream http 127.0.0.1:{next_proxy}", *lines, ""]))
    running = Tinyproxy(port, log, [found, "-d", "-c", str(settings)])
    running.start()
    try:
        yield running
    finally:
        running.stop()
