"""The raises of one machine, in a file of its state folder, and those that machines share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wirekey.core.errors import UserError
from wirekey.core.identity import private_file
from wirekey.features.quotas.raises.record import LONGEST, decode, encode, merged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from wirekey.core.identity.private_file import FileVersion
    from wirekey.core.shared_state import SharedState
    from wirekey.features.quotas.raises.record import RaiseRecord

FILE = "quota-raises.json"
KEY = "quota-raises"
KEPT = LONGEST.total_seconds()
TRIES = 5


class RaisesError(UserError):
    """A raise is not possible, or the file of the raises cannot be used. The message says why, and names the fix."""


class RaisesFile:
    """The file. Each method raises RaisesError if it cannot be used."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE

    def read(self) -> tuple[RaiseRecord, ...]:
        """Return the raises: none if there is no file."""
        try:
            return decode(private_file.read(self.path))
        except FileNotFoundError:
            return ()
        except (OSError, ValueError) as error:
            raise self._unusable(error) from error

    def change(self, change: Callable[[tuple[RaiseRecord, ...]], Sequence[RaiseRecord]]) -> tuple[RaiseRecord, ...]:
        """Replace the raises with what `change` makes of them, and return it. Other processes wait."""
        try:
            with private_file.exclusive(self.path):
                before = self.read()
                after = tuple(change(before))
                if after != before:
                    private_file.replace(self.path, encode(after))
        except OSError as error:
            raise self._unusable(error) from error
        return after

    def version(self) -> FileVersion:
        """Return the version of the file, or None if it does not exist."""
        try:
            return private_file.file_version(self.path)
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> RaisesError:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return RaisesError(f"{self.path}: {reason}. No raise is in force. Repair the file, or move it away.")


async def exchange(state: SharedState, own: tuple[RaiseRecord, ...]) -> tuple[RaiseRecord, ...]:
    """Add raises to the list of all machines, and return these with those of the list.

    Raises SharedStateUnavailableError.
    """
    for _ in range(TRIES):
        found, now = await state.get(KEY), datetime.now(UTC)
        listed = readable(found)
        latest = merged(own, listed, now)
        shared = merged(latest, (), now, is_shared=True)
        if shared == merged(listed, (), now, is_shared=True):
            break
        data = encode(shared)
        if found is None:
            is_written = await state.add(KEY, data, KEPT) is None
        else:
            is_written = await state.replace(KEY, found, data, KEPT)
        if is_written:  # otherwise another machine was faster
            break
    return latest


def readable(stored: bytes | None) -> tuple[RaiseRecord, ...]:
    """Return the raises of a list: none if it is not valid."""
    try:
        return decode(stored)
    except ValueError:
        return ()
