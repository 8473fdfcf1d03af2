"""The settings of the terminal, which a program that is ended cannot restore itself."""

from __future__ import annotations

import contextlib
import os
import termios
from typing import Any

STDIN = 0


def settings() -> list[Any] | None:
    """Return the settings of the terminal, or None without one."""
    try:
        return termios.tcgetattr(STDIN)
    except (termios.error, OSError):
        return None


def restore(saved: list[Any] | None) -> None:
    """Set the settings of the terminal, unless this process is in the background of it."""
    if saved is None:
        return
    with contextlib.suppress(termios.error, OSError):
        if os.tcgetpgrp(STDIN) == os.getpgrp():
            termios.tcsetattr(STDIN, termios.TCSADRAIN, saved)
