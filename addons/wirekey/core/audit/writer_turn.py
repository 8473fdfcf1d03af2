"""A queue of the processes that write to one audit file.

SQLite waits for a lock by asking for it again after pauses of up to 100 ms, so a process may come too late again and
again while others write. A lock of the system passes it on at once.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class WriterTurn:
    """Held while a transaction is written. A process that ends, however it ends, gives it up. For one thread.

    `path`: the file of the lock, which is created. Raises OSError.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def __enter__(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file of the lock."""
        os.close(self._file)
