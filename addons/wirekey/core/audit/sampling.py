"""Limits the recorded refusals to a number for each address and minute. The others are counted. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from wirekey.core.identity.throttle import neighbourhood

WINDOW = 60.0
"""Seconds."""
MAX_ADDRESSES = 10_000
"""Addresses counted separately at a time. All others count as one."""
OTHERS = "other addresses"


@dataclass(slots=True)
class Window:
    """The refusals of one address within a minute."""

    since: float
    recorded: int = 0
    dropped: int = 0


class RefusalSample:
    """Counts refusals by address. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self.windows: dict[str, Window] = {}

    def admits(self, address: str, now: float, limit: int) -> bool:
        """Return whether this refusal is recorded. Otherwise it is only counted."""
        where = neighbourhood(address)
        window = self.windows.get(where)
        if window is None and len(self.windows) >= MAX_ADDRESSES:
            where, window = OTHERS, self.windows.get(OTHERS)
        if window is None or (now - window.since >= WINDOW and not window.dropped):
            window = self.windows[where] = Window(now)
        if window.recorded < limit:
            window.recorded += 1
            return True
        window.dropped += 1
        return False

    def take_ended(self, now: float) -> list[tuple[str, int]]:
        """Return and forget the addresses whose minute has passed, each with its number of dropped refusals."""
        ended = [where for where, window in self.windows.items() if now - window.since >= WINDOW]
        counts = [(where, self.windows.pop(where).dropped) for where in ended]
        return [(where, dropped) for where, dropped in counts if dropped]
