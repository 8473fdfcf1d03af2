"""Decides in which folder a program may work. A remote caller must not choose where a program runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

NOTHING = ("", ".", "..")
MISSING = (
    "The backend gemini-cli-acp needs a project folder. The operator sets backends.gemini-cli-acp.workspace, or the "
    "request names one below backends.gemini-cli-acp.workspaces: in the header x-wirekey-workspace, or as project_dir "
    "in extra_body."
)
OUTSIDE = "The project folder is not below one of backends.gemini-cli-acp.workspaces, which the operator sets."


class WorkspaceError(Exception):
    """No program may work in the folder that is asked for. `status` is that of the response."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def workspace(requested: str | None, usual: Path | None, allowed: Sequence[Path]) -> str:
    """Return the folder of a program, without symbolic links. Reads the file system. Raises WorkspaceError.

    `requested` is what the request names. A folder outside `allowed` is refused before it is looked for, so that no
    caller can find out which folders exist.
    """
    if requested is None or requested.strip() in NOTHING:
        if usual is None:
            raise WorkspaceError(400, MISSING)
        return existing(str(usual))
    if not Path(requested).is_absolute() or "\0" in requested:
        raise WorkspaceError(400, "The project folder must be an absolute path.")
    real = os.path.realpath(requested)
    if not any(is_below(real, os.path.realpath(root)) for root in allowed):
        raise WorkspaceError(403, OUTSIDE)
    return existing(real)


def existing(folder: str) -> str:
    """Return a folder that exists, without symbolic links. Raises WorkspaceError."""
    if not Path(folder).is_dir():
        raise WorkspaceError(400, "The project folder does not exist.")
    return os.path.realpath(folder)


def is_below(path: str, root: str) -> bool:
    """Return whether a path is a folder or inside it. Both have no symbolic links."""
    return Path(path).is_relative_to(root)
