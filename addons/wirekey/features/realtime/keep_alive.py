"""Finds out whether a silent side of a WebSocket is still there, by pings of Wirekey's own. Pure.

A side whose machine or network is gone sends nothing, and no end of its connection either. The other side may continue
sending for a long time. A side that is there answers a ping at once (RFC 6455, section 5.5.2).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

PING_BYTES = 8


@dataclass(slots=True)
class KeepAlive:
    """One side. `heard_at`: when it sent anything, by a monotonic clock. `limit`: the longest silence, in seconds."""

    heard_at: float
    ping: bytes = b""
    """The payload of the ping that it has not answered."""

    def hear(self, now: float) -> None:
        """Note that the side has sent something."""
        self.heard_at = now

    def answers(self, payload: bytes) -> bool:
        """Return whether a pong answers Wirekey's own ping, and so is not for the other side."""
        if not self.ping or payload != self.ping:
            return False
        self.ping = b""
        return True

    def is_gone(self, now: float, limit: float) -> bool:
        """Return whether the side has been silent for too long, and has not answered a ping."""
        return bool(self.ping) and now - self.heard_at > limit

    def due_ping(self, now: float, limit: float) -> bytes:
        """Return the payload of a ping to send now; b"" if none is due. One is due after half of the limit."""
        if self.ping or now - self.heard_at <= limit / 2:
            return b""
        self.ping = secrets.token_bytes(PING_BYTES)
        return self.ping
