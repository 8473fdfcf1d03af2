"""What a running proxy says of itself in the state folder, for `exec`, `env`, `doctor` and people."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from wirekey.identity import private_file

if TYPE_CHECKING:
    from pathlib import Path

FILE = "running.json"
THIS_MACHINE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared with, not bound to


def on_this_machine(listener: str) -> tuple[str, int]:
    """Give host and port at which a program of this machine finds a listener, HOST:PORT."""
    host, _, port = listener.rpartition(":")
    host = host.strip("[]")
    return THIS_MACHINE.get(host, host), int(port)


@dataclass(frozen=True, slots=True)
class RunningProxy:
    """One running process. The listeners are HOST:PORT as really listened on; None: not there."""

    pid: int
    forward: str
    simulated: bool
    gateway: str | None = None
    console: str | None = None

    @property
    def host(self) -> str:
        """Where a program of this machine finds it."""
        return on_this_machine(self.forward)[0]

    @property
    def port(self) -> int:
        return on_this_machine(self.forward)[1]

    def write(self, state: Path) -> None:
        private_file.replace(state / FILE, json.dumps(asdict(self)).encode())

    @classmethod
    def read(cls, state: Path) -> RunningProxy | None:
        """Give the proxy that runs on this state folder; None where none does."""
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
        (state / FILE).unlink(missing_ok=True)
