"""What an agent may do at all: words such as `web:read`, which its record or its JWT gives it."""

from __future__ import annotations

import re

READ = "web:read"
"""To ask for what does not generate: lists, one thing by its name."""
WRITE = "web:write"
"""To call what generates."""

DEFAULT = (READ, WRITE)
"""What an agent has of whom nothing else was said."""

WORD = r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,63}"
PERMISSION = re.compile(WORD, re.ASCII)
STORED = rf"^{WORD}\Z"
MAX_PERMISSIONS = 64
"""More permissions than this no agent has: the list goes into every decision."""


def normalized(permissions: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Give each once, sorted. Raises ValueError, naming the first that is none."""
    for permission in permissions:
        if not PERMISSION.fullmatch(permission):
            raise ValueError(
                f"{permission[:80]!r} is no permission. Use {READ}, {WRITE}, or a word of yours: "
                "1 to 64 letters, digits and '_.:/-'."
            )
    kept = tuple(sorted(set(permissions)))
    if len(kept) > MAX_PERMISSIONS:
        raise ValueError(f"{len(kept)} permissions are too many; {MAX_PERMISSIONS} are the most.")
    return kept
