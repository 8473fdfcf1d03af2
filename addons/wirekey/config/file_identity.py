"""Checks that a changed configuration file is still the operator's: of the same owner, and not open to more users.

Editors write a file in place, or write a new one and rename it. Both leave owner and mode as they are, so the inode may
change. Nothing here tells a person's edit from one that a program of the same user makes.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.config.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wirekey.config.models import Config


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """The properties of a file that must not change while Wirekey runs: owner, mode, and whether its name is a link."""

    owner: int
    mode: int
    is_link: bool
    link_owner: int


type Identities = Mapping[Path, FileIdentity | None]
"""None: there was no such file."""


def identities(config: Config) -> Identities:
    """Return the identity of the configuration file and of `.env`. Raises OSError."""
    files = [config.folder / ".env", *([config.source.absolute()] if config.source else [])]
    return {path: identity_of(path) for path in files}


def identity_of(path: Path) -> FileIdentity | None:
    """Return the identity of a file; None if it does not exist. Raises OSError."""
    try:
        named, status = path.lstat(), path.stat()
    except FileNotFoundError:
        return None
    return FileIdentity(status.st_uid, stat.S_IMODE(status.st_mode), stat.S_ISLNK(named.st_mode), named.st_uid)


def changed_files(before: Identities, after: Identities) -> list[Problem]:
    """Return a problem for each file that has changed hands since Wirekey started."""
    owners = {known.owner for known in before.values() if known}
    return [
        Problem(path, None, "", f"{reason}. If you did this, restart Wirekey to use the file")
        for path, latest in after.items()
        if latest and (reason := change(before.get(path), latest, owners))
    ]


def change(before: FileIdentity | None, latest: FileIdentity, owners: set[int]) -> str | None:
    """Return what has changed of a file that must not. `owners`: of the files that existed at the start."""
    if before is None:
        is_known = not owners or latest.owner in owners
        return None if is_known else "the file is new, and has another owner than the others"
    if latest.owner != before.owner:
        return f"the file has another owner than at the start (user {latest.owner}, was {before.owner})"
    if latest.mode & ~before.mode:
        return f"the file is open to more users than at the start (mode {latest.mode:o}, was {before.mode:o})"
    if latest.is_link and not before.is_link:
        return "the file has become a symbolic link"
    if latest.link_owner != before.link_owner:
        return "the symbolic link to the file has another owner than at the start"
    return None
