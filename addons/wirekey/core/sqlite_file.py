"""Creating SQLite files that only their owner can read, without a danger to SQLite's locks."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


def create_private(path: Path) -> None:
    """Create an SQLite file, unless it exists. Raises OSError; links and other kinds of files are refused.

    A file that exists is not opened. Closing it would remove the locks that SQLite has on it in this process: POSIX
    ends all locks of a process on a file when any of its descriptors is closed.
    """
    try:
        os.close(os.open(path, FLAGS, 0o600))
    except FileExistsError:
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode) and os.access(path, os.R_OK | os.W_OK):
            return
        reason = errno.ELOOP if stat.S_ISLNK(mode) else errno.EISDIR if stat.S_ISDIR(mode) else errno.EACCES
        raise OSError(reason, os.strerror(reason), str(path)) from None
