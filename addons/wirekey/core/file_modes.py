"""Which other users can read or write a file, by its mode."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

READ = 0o044
WRITE = 0o022
ENTER = 0o011
"""For a folder: to access its files by name."""


def opened_to_others(path: Path) -> int:
    """Return the mode bits (READ, WRITE, ENTER) that other users have on a file or folder; 0 if it does not exist.

    On a file system that is mounted read-only, as container secrets are, nobody can write. Raises OSError.
    """
    try:
        status = path.stat()
        read_only = os.statvfs(path).f_flag & os.ST_RDONLY
    except FileNotFoundError:
        return 0
    bits = stat.S_IMODE(status.st_mode) & (READ | WRITE | ENTER)
    if is_private_group(status.st_uid, status.st_gid):
        bits &= 0o007
    return bits & ~WRITE if read_only else bits


def replaceable_by_others(folder: Path) -> bool:
    """Return whether other users can replace a file in `folder`. Raises OSError."""
    return bool(opened_to_others(folder) & WRITE) and not folder.stat().st_mode & stat.S_ISVTX


@lru_cache(maxsize=64)
def is_private_group(uid: int, gid: int) -> bool:
    """Return whether a group belongs to one user and has no other members. Many systems create one for each user."""
    try:
        user, group = pwd.getpwuid(uid), grp.getgrgid(gid)
    except KeyError:
        return False
    return uid != 0 and user.pw_gid == gid and group.gr_name == user.pw_name and not set(group.gr_mem) - {user.pw_name}


def mode_of(path: Path) -> str:
    """Return the mode of a file in the notation of `chmod`, such as 644. Raises OSError."""
    return f"{stat.S_IMODE(path.stat().st_mode):o}"
