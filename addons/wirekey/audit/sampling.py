"""Which refusals are recorded one by one: so many of each address and minute. The others are counted. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from wirekey.identity.throttle import neighbourhood

WINDOW = 60.0
"""Seconds."""
MOST_ADDRESSES = 10_000
"""Those that are counted apart at a time; of more, all count as one."""
OTHERS = "other addresses"


@dataclass(slots=True)
class Window:
    """What one address did within a minute."""

    since: float
    recorded: int = 0
    dropped: int = 0


class RefusalSample:
    """Refusals by address. Times are of a clock that never goes back, in seconds."""

    def __init__(self) -> None:
        self.windows: dict[str, Window] = {}

    def admits(self, address: str, now: float, most: int) -> bool:
        """Return whether this refusal is recorded; otherwise it is counted."""
        where = neighbourhood(address)
        window = self.windows.get(where)
        if window is None and len(self.windows) >= MOST_ADDRESSES:
            where, window = OTHERS, self.windows.get(OTHERS)
        if window is None or (now - window.since >= WINDOW and not window.dropped):
            window = self.windows[where] = Window(now)
        if window.recorded < most:
            window.recorded += 1
            return True
        window.dropped += 1
        return False

    def take_ended(self, now: float) -> list[tuple[str, int]]:
        """Return the addresses whose minute is over, each with the number of dropped refusals, and forget them."""
        ended = [where for where, window in self.windows.items() if now - window.since >= WINDOW]
        counts = [(where, self.windows.pop(where).dropped) for where in ended]
        return [(where, dropped) for where, dropped in counts if dropped]
