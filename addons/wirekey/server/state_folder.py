"""The state folder belongs to Wirekey's user alone, and nothing in it is a symbolic link."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from wirekey.errors import UserError
from wirekey.file_modes import ENTER, READ, WRITE, mode_of, opened_to_others

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

logger = logging.getLogger(__name__)

NAMES = (
    "agents.json",
    "audit.db",
    "aws-master.key",
    "console-token",
    "jwt-keys.json",
    "running.json",
    "simulator",
    "tmp",
    "upstream-roots.pem",
    "wirekey.lock",
)
"""What Wirekey makes in its state folder. Locks, partial files and SQLite's files have these names and more."""


class StateFolderError(UserError):
    """The state folder cannot be used as it is: says why, and what to do."""


def make_private(state: Path) -> None:
    """Make the folder, with mode 0700. Raises StateFolderError where others may write there, OSError."""
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    if troubles := list(write_troubles(state)):
        raise StateFolderError(" ".join(troubles))
    if opened_to_others(state) or mode_of(state) != "700":
        readable, mode = opened_to_others(state) & (READ | ENTER), mode_of(state)
        try:
            state.chmod(0o700)
        except PermissionError:
            # Another user owns it. What others may do was judged already.
            if warning := read_warning(state):
                logger.warning("%s", warning)
            return
        if readable:
            logger.warning("other users could read the state folder %s (mode %s). Its mode is 700 now", state, mode)


def write_troubles(state: Path) -> Iterator[str]:
    """Yield a sentence for each way in which others may change the state. Raises OSError."""
    if opened_to_others(state) & WRITE:
        yield f"Other users may write into the state folder {state} (mode {mode_of(state)}). Run: chmod 700 {state}."
    for path in entries(state):
        if path.is_symlink():
            yield f"{path} is a symbolic link, and Wirekey follows none in its state folder. Move it away."
        elif opened_to_others(path) & WRITE:
            fix = "chmod -R go-w" if path.is_dir() else "chmod 600"
            yield f"Other users may change {path} (mode {mode_of(path)}). Run: {fix} {path}."


def read_warning(state: Path) -> str:
    """Return a sentence where others may read what is in the folder, empty where not. Raises OSError."""
    if opened_to_others(state) & (READ | ENTER):
        return f"Other users may read the state folder {state} (mode {mode_of(state)}). Run: chmod 700 {state}."
    return ""


def entries(state: Path) -> list[Path]:
    """Return what Wirekey made in the folder, sorted; nothing where there is no folder yet."""
    if not state.is_dir():
        return []
    return sorted(path for path in state.iterdir() if path.name.startswith(NAMES))
