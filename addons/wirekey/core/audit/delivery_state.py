"""How far the events of an audit log were delivered elsewhere, and which process delivers them.

The state is beside the audit log, because all processes that write to the log share it. A file is here; a database
server has a table.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from typing import TYPE_CHECKING, Any, Protocol

from wirekey.core.audit.audit_log import AuditDatabaseError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

type DeliveryDocument = Mapping[str, Any]
"""The JSON values that are kept of one receiver."""


class DeliveryState(Protocol):
    """The documents of all receivers, by name, and the claim of the one process that delivers. For several threads."""

    def claim(self) -> int:
        """Return the number of this process's claim to deliver, or 0 if another process has it.

        The claim ends with the process, however that ends. A later claim of the same process has another number:
        another process may have delivered in between. Raises AuditDatabaseError.
        """

    def read(self) -> dict[str, DeliveryDocument]:
        """Return the documents, by name. Raises AuditDatabaseError."""

    def write(self, name: str, document: DeliveryDocument) -> None:
        """Replace the document of a name. Only for the process that delivers. Raises AuditDatabaseError."""

    def close(self) -> None:
        """Leave the claim to others."""


class DeliveryFile:
    """The state in a file that is replaced as a whole. The lock of a second file is the claim."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: int | None = None
        self._turn = threading.Lock()

    def claim(self) -> int:
        """Return 1 if this process has the lock, which the system ends with the process."""
        with self._turn:
            return self._claim()

    def _claim(self) -> int:
        if self._lock is not None:
            return 1
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self._path.with_name(f"{self._path.name}.lock"), flags, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return 0
        self._lock = lock
        return 1

    def read(self) -> dict[str, DeliveryDocument]:
        """Return the documents, or none if the file does not exist."""
        try:
            found = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._unusable(error) from error
        except ValueError as error:
            raise AuditDatabaseError(
                f"{self._path} is damaged. Remove it: events may then be delivered twice."
            ) from error
        return found if isinstance(found, dict) else {}

    def write(self, name: str, document: DeliveryDocument) -> None:
        """Replace the file, with another document of this name."""
        with self._turn:
            self._write(name, document)

    def _write(self, name: str, document: DeliveryDocument) -> None:
        content = json.dumps({**self.read(), name: document}, separators=(",", ":")).encode()
        new = self._path.with_name(f"{self._path.name}.new")
        try:
            new.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            with open(os.open(new, flags, 0o600), "wb") as file:  # noqa: PTH123  # a path cannot be opened with a mode
                file.write(content)
            new.replace(self._path)
        except OSError as error:
            raise self._unusable(error) from error

    def close(self) -> None:
        """Unlock."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def _unusable(self, error: OSError) -> AuditDatabaseError:
        return AuditDatabaseError(f"{self._path} cannot be used: {error.strerror}.")
