"""The state folder belongs to Wirekey's user alone, and nothing in it is a symbolic link."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from wirekey.core.errors import UserError
from wirekey.core.file_modes import ENTER, READ, WRITE, mode_of, opened_to_others

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

logger = logging.getLogger(__name__)

NAMES = (
    "agents-copy.json",
    "agents.json",
    "audit.db",
    "aws-master.key",
    "console-token",
    "jwt-keys.json",
    "running.json",
    "shared.db",
    "simulator",
    "tmp",
    "upstream-roots.pem",
    "wirekey.lock",
)
"""Files and folders that Wirekey creates in its state folder.

The names of locks, partial files and SQLite's files begin with these."""


class StateFolderError(UserError):
    """Other users can change the state folder."""


def make_private(state: Path) -> None:
    """Create the folder with mode 0700. Raises StateFolderError if others can write there, OSError."""
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    if troubles := list(write_troubles(state)):
        raise StateFolderError(" ".join(troubles))
    if opened_to_others(state) or mode_of(state) != "700":
        readable, mode = opened_to_others(state) & (READ | ENTER), mode_of(state)
        try:
            state.chmod(0o700)
        except PermissionError:
            # Another user owns it. Whether others can write was checked above.
            if warning := read_warning(state):
                logger.warning("%s", warning)
            return
        if readable:
            logger.warning("Other users could read the state folder %s (mode %s). Its mode is 700 now.", state, mode)


def write_troubles(state: Path) -> Iterator[str]:
    """Yield a message for each way in which other users can change the state. Raises OSError."""
    if opened_to_others(state) & WRITE:
        yield f"Other users can write to the state folder {state} (mode {mode_of(state)}). Run: chmod 700 {state}."
    for path in entries(state):
        if path.is_symlink():
            yield f"{path} is a symbolic link, and Wirekey does not follow links in its state folder. Move it away."
        elif opened_to_others(path) & WRITE:
            fix = "chmod -R go-w" if path.is_dir() else "chmod 600"
            yield f"Other users can change {path} (mode {mode_of(path)}). Run: {fix} {path}."


def read_warning(state: Path) -> str:
    """Return a message if other users can read the files of the folder, otherwise an empty string. Raises OSError."""
    if opened_to_others(state) & (READ | ENTER):
        return f"Other users can read the state folder {state} (mode {mode_of(state)}). Run: chmod 700 {state}."
    return ""


def entries(state: Path) -> list[Path]:
    """Return the files and folders that Wirekey created in the state folder, sorted; none if it does not exist."""
    if not state.is_dir():
        return []
    return sorted(path for path in state.iterdir() if path.name.startswith(NAMES))
