"""Decides whether calls still try a server that fails. Pure, except for the clock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

FAILURES = 3
"""Failures without a success between them after which no call tries the server, if `SPREAD` has passed, too."""
SPREAD = 0.5
"""Seconds from the first to the last of these failures: those of one moment, however many, say little."""
REST = 1.0
"""Seconds for which no call tries the server then."""
SHARE = 4
"""After that, one of four calls tries the server, until one succeeds or `FAILURES` of them have failed."""


class Breaker:
    """Keeps calls from waiting for a server that is unreachable. `clock` is in seconds and never goes back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._first = 0.0
        """When the first of these failures was."""
        self._probes_from = 0.0
        self._asked = 0
        self.is_open = False
        """Whether the server counts as away."""

    def allows(self) -> bool:
        """Return whether a call may ask the server."""
        if not self.is_open:
            return True
        if self._clock() < self._probes_from:
            return False
        self._asked += 1
        return self._asked % SHARE == 1

    def fail(self) -> bool:
        """Note a failure. Return True if the server counts as away from now on."""
        now = self._clock()
        if not self._failures:
            self._first = now
        self._failures += 1
        if self._failures < FAILURES or (not self.is_open and now < self._first + SPREAD):
            return False
        was_open, self.is_open = self.is_open, True
        self._probes_from, self._failures, self._asked = now + REST, 0, 0
        return not was_open

    def succeed(self) -> bool:
        """Note a success. Return True if the server no longer counts as away."""
        self._failures = 0
        was_open, self.is_open = self.is_open, False
        return was_open

    def probe_now(self) -> None:
        """Allow calls to try the server without further delay, as there is a sign that it is back."""
        self._probes_from = 0.0
