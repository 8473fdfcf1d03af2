"""Limits how many messages and bytes one direction of a connection may have a second."""

from __future__ import annotations

from dataclasses import dataclass

PERIOD = 10.0
"""Seconds over which a rate is measured, so that a burst is no violation."""


@dataclass(slots=True)
class MessageRate:
    """Counts the messages and bytes of one direction in periods of ten seconds."""

    messages_per_second: int
    bytes_per_second: int
    began: float = 0.0
    messages: int = 0
    size: int = 0

    def add(self, now: float, *, messages: int = 0, size: int = 0) -> bool:
        """Count messages and bytes. Return whether they exceed the limits. `now`: of a monotonic clock."""
        if now - self.began >= PERIOD:
            self.began, self.messages, self.size = now, 0, 0
        self.messages += messages
        self.size += size
        return self.messages > self.messages_per_second * PERIOD or self.size > self.bytes_per_second * PERIOD
