"""The master secret of a state folder, from which the agents' AWS key pairs are derived."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from typing import TYPE_CHECKING

from wirekey.errors import UserError
from wirekey.secret import Secret

if TYPE_CHECKING:
    from pathlib import Path

BYTES = 32
CONTENT = re.compile(rf"[0-9a-f]{{{2 * BYTES}}}\n?", re.ASCII)


class MasterSecretError(UserError):
    """The file of the master secret cannot be used: names the file and the fix."""


def load_master(path: Path) -> Secret:
    """Give the master secret, 64 hex digits; make it where there is none. Raises MasterSecretError.

    Of several processes that make it at once one does, and all get the same.
    """
    try:
        if not os.path.lexists(path):
            _make(path)
        return _read(path)
    except OSError as error:
        raise MasterSecretError(f"{path} cannot be used: {error.strerror}.") from error


def _read(path: Path) -> Secret:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(file, "rb") as stream:  # noqa: PTH123  # of a descriptor, which Path has no word for
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise MasterSecretError(f"{path} is not a regular file. Move it away; a new one is made.")
        if status.st_mode & 0o077:
            raise MasterSecretError(f"{path} can be read by others. Make it yours alone: chmod 600 {path}")
        content = stream.read(1024).decode("latin-1")
    if not CONTENT.fullmatch(content):
        raise MasterSecretError(
            f"{path} does not hold the master secret as it was written. Put a copy back; or move it away, and give "
            "every agent a new AWS key pair."
        )
    return Secret(content.strip())


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with open(file, "wb") as stream:  # noqa: PTH123  # of a descriptor, which Path has no word for
            stream.write(secrets.token_hex(BYTES).encode() + b"\n")
            stream.flush()
            os.fsync(file)
        # A link, not a rename: it does not replace the file of a process that was faster.
        with contextlib.suppress(FileExistsError):
            os.link(partial, path)
    finally:
        partial.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
