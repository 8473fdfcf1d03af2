"""What a program on the same machine can read of Wirekey's process and files, as another user."""

from __future__ import annotations

import ctypes
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

from tests.redteam.ground import Ground
from tests.redteam.technique import ROOT, Technique

NOBODY = 65534
MOST = 60_000
"""Bytes that fit into a pipe that nobody reads yet."""
FILES = ("environ", "mem", "maps", "stack", "auxv", "fd", "fdinfo", "root", "cwd", "exe", "syscall", "io", "pagemap")
STATE = (
    "wirekey.yaml",
    "output.txt",
    "state",
    "state/audit.db",
    "state/agents.json",
    "certs/mitmproxy-ca.pem",
    "state/console-token",
    "state/jwt-keys.json",
    "state/aws-master.key",
    "state/quotas.db",
    "state/running.json",
)
WRITTEN = ("wirekey.yaml", "state/audit.db", "state/agents.json", "certs/mitmproxy-ca.pem")
LIBC = ctypes.CDLL(None, use_errno=True)


def as_nobody(attack: Callable[[], bytes]) -> str:
    """Return what an attack reads, or its error, in a child process of the user nobody.

    The child is forked, not started, because that user may not be allowed to read this Python.
    """
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child uses no lock of another thread
        child = os.fork()
    if not child:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        try:
            said = attack()
        except OSError as error:
            said = f"{type(error).__name__}: {error.strerror}".encode()
        finally:
            os.write(writing, b"as nobody: " + said[:MOST])
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read().decode("latin-1")
    os.waitpid(child, 0)
    if not text.startswith("as nobody: "):
        raise RuntimeError("the attack did not run")
    return text.removeprefix("as nobody: ")


def read(path: str) -> bytes:
    """Return the bytes of a file, or the names in a folder."""
    place = Path(path)
    if place.is_dir():
        return repr([each.name for each in place.iterdir()]).encode()
    with place.open("rb") as file:
        return file.read(MOST)


def ptrace(request: int, pid: int) -> bytes:
    if LIBC.ptrace(request, pid, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return b"attached"


def proc(name: str) -> Technique:
    return Technique(
        "process",
        f"read /proc/PID/{name}",
        lambda ground: as_nobody(lambda: read(f"/proc/{ground.proxy.process.pid}/{name}")),
        needs=ROOT,
    )


def state(name: str) -> Technique:
    return Technique(
        "files", f"read {name}", lambda ground: as_nobody(lambda: read(str(ground.proxy.folder / name))), needs=ROOT
    )


def changes(path: Path) -> dict[str, Callable[[], object]]:
    """Return by name what another user could do to a file."""
    return {
        "write": lambda: path.open("ab").write(b"x"),
        "remove": path.unlink,
        "rename": lambda: path.rename(f"{path}.old"),
        "open to all": lambda: path.chmod(0o666),
        "link to": lambda: Path(tempfile.gettempdir(), f"link-{os.getpid()}").hardlink_to(path),
        "put a link beside": lambda: path.with_name("link").symlink_to("/etc/passwd"),
    }


def change(name: str, how: str) -> Technique:
    """Change a file as another user. Success begins with 200."""

    def attack(ground: Ground) -> str:
        def changed() -> bytes:
            changes(ground.proxy.folder / name)[how]()
            return b"200"

        return as_nobody(changed)

    return Technique("files", f"{how} {name}", attack, needs=ROOT, refused=True)


def trace(what: str, request: int) -> Technique:
    return Technique(
        "process",
        f"ptrace {what}",
        lambda ground: as_nobody(lambda: ptrace(request, ground.proxy.process.pid)),
        needs=ROOT,
    )


TECHNIQUES = [
    *map(proc, FILES),
    *map(state, STATE),
    *(change(name, how) for name in WRITTEN for how in changes(Path())),
    trace("PTRACE_ATTACH", 16),
    trace("PTRACE_SEIZE", 0x4206),
]
