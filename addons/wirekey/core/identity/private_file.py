"""Files of the state folder that only their owner may read: replaced as a whole, changed by one process at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

type FileVersion = tuple[int, int, int] | None
"""Modification time, size and inode, which change whenever the file is replaced. None: the file does not exist."""


def file_version(path: Path) -> FileVersion:
    """Return the version of a file, or None if it does not exist. Raises OSError."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def read(path: Path) -> bytes:
    """Return the content of a regular file, without following a symbolic link. Raises OSError."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(file, "rb") as stream:  # noqa: PTH123  # opens a descriptor, which Path cannot
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        return stream.read()


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Lock the file against changes by other processes. Readers never wait. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    lock = os.open(path.with_name(path.name + ".lock"), flags, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def replace(path: Path, data: bytes) -> None:
    """Replace the content on disk. The new file has mode 0600 from its first byte. Raises OSError.

    Call it within `exclusive`.
    """
    partial = path.with_name(path.name + ".new")
    file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(file, "wb") as stream:  # noqa: PTH123  # opens a descriptor, which Path cannot
        os.fchmod(file, 0o600)
        stream.write(data)
        stream.flush()
        os.fsync(file)
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
