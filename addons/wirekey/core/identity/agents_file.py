"""The file of the agents: read and replaced as a whole, and changed by one process at a time."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from wirekey.core.errors import UserError
from wirekey.core.identity import agents_format, private_file
from wirekey.core.identity.agents_format import AgentRecords, AgentRecordsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wirekey.core.identity.private_file import FileVersion


class AgentsFileError(UserError):
    """The agents file cannot be read or written. The message names the file and the fix."""


class AgentsFile:
    """The agents file of one state folder. Every method raises AgentsFileError if the file cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the file against changes by other processes."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(private_file.exclusive(self.path))
            except OSError as error:
                raise AgentsFileError(f"{self.path} cannot be locked: {error.strerror}.") from error
            yield

    def read(self) -> AgentRecords:
        """Return the agents: no agents if there is no file."""
        try:
            data = private_file.read(self.path)
        except FileNotFoundError:
            return AgentRecords()
        except OSError as error:
            raise AgentsFileError(f"{self.path} cannot be read: {error.strerror}.") from error
        try:
            return agents_format.decode(data)
        except AgentRecordsError as error:
            raise AgentsFileError(
                f"{self.path} {error}. The file was not changed. Repair it, restore a copy, or move it away to start "
                "without agents."
            ) from error

    def write(self, data: bytes) -> None:
        """Replace the content of the file, which must be locked."""
        try:
            private_file.replace(self.path, data)
        except OSError as error:
            raise AgentsFileError(f"{self.path} cannot be written: {error.strerror}. Nothing was changed.") from error

    def has(self, data: bytes) -> bool:
        """Return whether this is the content of the file. A file that cannot be read has another content."""
        try:
            return private_file.read(self.path) == data
        except OSError:
            return False

    def version(self) -> FileVersion:
        """Return the version of the file, or None if it does not exist."""
        try:
            return private_file.file_version(self.path)
        except OSError as error:
            raise AgentsFileError(f"{self.path} cannot be read: {error.strerror}.") from error
