"""Permissions of agents: names such as `web:read`, set in an agent's record or its JWT."""

from __future__ import annotations

import re

READ = "web:read"
"""Allows calls that do not generate: lists, and single objects by name."""
WRITE = "web:write"
"""Allows calls that generate."""

DEFAULT = (READ, WRITE)
"""The permissions of an agent that has none of its own."""

NAME = r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,63}"
PERMISSION = re.compile(NAME, re.ASCII)
STORED = rf"^{NAME}\Z"
MAX_PERMISSIONS = 64
"""Most permissions of one agent. The list is part of every policy input."""


def normalized(permissions: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Return each permission once, sorted. Raises ValueError, which names the first invalid one."""
    for permission in permissions:
        if not PERMISSION.fullmatch(permission):
            raise ValueError(
                f"{permission[:80]!r} is not a valid permission. Use {READ}, {WRITE}, or a name of your own: "
                "1 to 64 letters, digits and '_.:/-'."
            )
    kept = tuple(sorted(set(permissions)))
    if len(kept) > MAX_PERMISSIONS:
        raise ValueError(f"{len(kept)} permissions are too many. At most {MAX_PERMISSIONS} are allowed.")
    return kept
