"""The processes that `exec` has started, directly or not: found, and ended together."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
"""prctl(2): processes whose own parent has ended become children of this process."""
LOOK_EVERY = 0.05
LAST_LOOKS = 100
"""How often processes that are killed are looked for, as they may start others at that moment."""


def adopt_orphans() -> None:
    """Keep processes whose parent ends below this process, so that `below` finds them. Only on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def wait_for(child: subprocess.Popen[bytes]) -> int:
    """Return the exit code of a child when it has ended. Adopted processes that end before it are released."""
    with contextlib.suppress(ChildProcessError):  # another thread has waited for the child
        while sys.platform == "linux":
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
            if found is None or found.si_pid == child.pid:
                break
            os.waitpid(found.si_pid, os.WNOHANG)
    return child.wait()


def end_below(root: int, patience: float) -> None:
    """End all processes below a process: by SIGTERM, after `patience` seconds by SIGKILL. Blocks until then."""
    terminated: set[int] = set()
    deadline = time.monotonic() + patience
    while (found := below(root)) and time.monotonic() < deadline:
        for process in found:
            if process not in terminated:
                send(process, signal.SIGTERM)
                send(process, signal.SIGCONT)  # one that is stopped would not end
        terminated.update(found)
        time.sleep(LOOK_EVERY)
    for _ in range(LAST_LOOKS):
        if not (found := below(root)):
            return
        for process in found:
            send(process, signal.SIGKILL)
        time.sleep(LOOK_EVERY)


def release_ended() -> None:
    """Release adopted processes that have ended. Nothing else may wait for a child at that moment."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def send(process: int, number: int) -> None:
    """Send a signal to a process, which may have ended, or belong to another user."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(process, number)


def below(root: int) -> list[int]:
    """Return the processes that a process has started, directly or not, and that have not ended."""
    parents = parents_on_linux() if sys.platform == "linux" else parents_by_ps()
    found = {root}
    while added := {process for process, parent in parents.items() if parent in found} - found:
        found |= added
    return sorted(found - {root})


def parents_on_linux() -> dict[int, int]:
    """Return process → its parent, without those that have ended."""
    parents = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            # The name of the program is in parentheses, and may have some itself.
            state, parent, *_ = file.read_text(errors="replace").rpartition(")")[2].split()
            if state not in ("Z", "X"):
                parents[int(file.parent.name)] = int(parent)
    return parents


def parents_by_ps() -> dict[int, int]:
    """Return process → its parent, without those that have ended."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=False).stdout
    rows = (line.split() for line in listed.splitlines())
    return {int(process): int(parent) for process, parent, state in rows if not state.startswith("Z")}
