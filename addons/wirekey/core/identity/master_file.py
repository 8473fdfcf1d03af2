"""The master secret of a state folder. Keys for other uses are derived from it, such as the agents' AWS key pairs."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from typing import TYPE_CHECKING

from wirekey.core.errors import UserError
from wirekey.core.secret import Secret

if TYPE_CHECKING:
    from pathlib import Path

BYTES = 32
CONTENT = re.compile(rf"[0-9a-f]{{{2 * BYTES}}}\n?", re.ASCII)


class MasterSecretError(UserError):
    """The file of the master secret cannot be used. The message names the file and the fix."""


def load_master(path: Path) -> Secret:
    """Return the master secret, 64 hex digits, and create it if it does not exist. Raises MasterSecretError.

    If several processes create it at once, one succeeds and all return the same secret.
    """
    try:
        if not os.path.lexists(path):
            _make(path)
        return _read(path)
    except OSError as error:
        raise MasterSecretError(f"{path} cannot be used: {error.strerror}.") from error


def _read(path: Path) -> Secret:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(file, "rb") as stream:  # noqa: PTH123  # opens a descriptor, which Path cannot
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise MasterSecretError(f"{path} is not a regular file. Move it away and Wirekey creates a new one.")
        if status.st_mode & 0o077:
            raise MasterSecretError(f"{path} can be read by other users. Restrict it: chmod 600 {path}")
        content = stream.read(1024).decode("latin-1")
    if not CONTENT.fullmatch(content):
        raise MasterSecretError(
            f"{path} does not contain a valid master secret. Restore a copy, or move it away and create a new AWS key "
            "pair for each agent."
        )
    return Secret(content.strip())


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with open(file, "wb") as stream:  # noqa: PTH123  # opens a descriptor, which Path cannot
            stream.write(secrets.token_hex(BYTES).encode() + b"\n")
            stream.flush()
            os.fsync(file)
        # A link instead of a rename, because it does not replace the file of a faster process.
        with contextlib.suppress(FileExistsError):
            os.link(partial, path)
    finally:
        partial.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
