"""A lock, so that only one process uses a state folder: two could not distinguish their unfinished calls."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from wirekey.core.errors import UserError
from wirekey.server.state_folder import make_private

if TYPE_CHECKING:
    from pathlib import Path

FILE = "wirekey.lock"


class StateInUseError(UserError):
    """The state folder cannot be locked, for instance because another process uses it."""


class StateLock:
    """Holds the state folder until `release()` or until the process ends, however it ends.

    Creates the folder with access for its user only. Raises StateInUseError, StateFolderError.
    """

    def __init__(self, state: Path) -> None:
        path = state / FILE
        try:
            make_private(state)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StateInUseError(f"The state folder {state} cannot be used: {path}: {error.strerror}.") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._file, 20, 0).decode("ascii", "replace").strip()
            os.close(self._file)
            raise StateInUseError(
                f"Another Wirekey{f' (process {holder})' if holder.isdigit() else ''} uses the state folder {state}. "
                "Stop it, or set another folder here: `state:` in wirekey.yaml."
            ) from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Release the folder. Does nothing the second time."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
