"""The state of the delivery of an audit log that is a file: a second file beside it."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from typing import TYPE_CHECKING

from wirekey.core.audit.audit_log import AuditDatabaseError
from wirekey.core.identity import private_file

if TYPE_CHECKING:
    from pathlib import Path

    from wirekey.core.audit.delivery_state import DeliveryDocument


class DeliveryFile:
    """The state in a file that is replaced as a whole. The lock of a second file is the claim."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: int | None = None
        self._is_closed = False
        self._turn = threading.Lock()

    def claim(self) -> int:
        """Return 1 if this process has the lock, which the system ends with the process."""
        with self._turn:
            return self._claim()

    def _claim(self) -> int:
        if self._lock is not None:
            return 1
        if self._is_closed:
            return 0
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self._path.with_name(f"{self._path.name}.lock"), flags, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return 0
        except OSError as error:
            os.close(lock)
            raise self._unusable(error) from error
        self._lock = lock
        return 1

    def read(self) -> dict[str, DeliveryDocument]:
        """Return the documents, or none if the file does not exist."""
        try:
            found = json.loads(private_file.read(self._path))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._unusable(error) from error
        except ValueError as error:
            raise self._damaged() from error
        if not isinstance(found, dict) or not all(isinstance(each, dict) for each in found.values()):
            raise self._damaged()
        return found

    def write(self, name: str, document: DeliveryDocument) -> None:
        """Replace the file, with another document of this name."""
        with self._turn:
            if self._lock is None:
                raise AuditDatabaseError(f"{self._path}: another process may deliver events now.")
            content = json.dumps({**self.read(), name: document}, separators=(",", ":")).encode()
            try:
                private_file.replace(self._path, content)
            except OSError as error:
                raise self._unusable(error) from error

    def close(self) -> None:
        """Unlock, for good: a thread that has not ended does not claim it again."""
        with self._turn:
            lock, self._lock, self._is_closed = self._lock, None, True
            if lock is not None:
                os.close(lock)

    def _damaged(self) -> AuditDatabaseError:
        return AuditDatabaseError(
            f"{self._path} is damaged. Restore a copy, or remove it: then events that wait are not delivered."
        )

    def _unusable(self, error: OSError) -> AuditDatabaseError:
        return AuditDatabaseError(f"{self._path} cannot be used: {error.strerror}.")
