"""The file in the state folder that says where Wirekey runs, for `exec`, `env`, `doctor` and people."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from wirekey.core.identity import private_file

if TYPE_CHECKING:
    from pathlib import Path

FILE = "running.json"
THIS_MACHINE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared with, not bound to


def on_this_machine(listener: str) -> tuple[str, int]:
    """Return the host and port at which a program of this machine reaches a listener, which is HOST:PORT."""
    host, _, port = listener.rpartition(":")
    host = host.strip("[]")
    return THIS_MACHINE.get(host, host), int(port)


@dataclass(frozen=True, slots=True)
class RunningProxy:
    """A running process and its listeners: HOST:PORT with the port that is really used, or None if not open."""

    pid: int
    forward: str
    simulated: bool
    gateway: str | None = None
    console: str | None = None

    @property
    def host(self) -> str:
        """The host at which a program of this machine reaches the proxy."""
        return on_this_machine(self.forward)[0]

    @property
    def port(self) -> int:
        """The port of the proxy."""
        return on_this_machine(self.forward)[1]

    def write(self, state: Path) -> None:
        """Write the file. Raises OSError."""
        private_file.replace(state / FILE, json.dumps(asdict(self)).encode())

    @classmethod
    def read(cls, state: Path) -> RunningProxy | None:
        """Return the process that uses this state folder, or None if none is running."""
        try:
            running = cls(**json.loads(private_file.read(state / FILE)))
        except (OSError, ValueError, TypeError):
            return None
        try:
            os.kill(running.pid, 0)
        except PermissionError:
            return running  # another user's
        except (OSError, OverflowError, TypeError):
            return None
        return running

    @staticmethod
    def remove(state: Path) -> None:
        """Remove the file if it exists. Raises OSError."""
        (state / FILE).unlink(missing_ok=True)
