"""Waits for the decision on a message of an open connection, while the connection's other frames are relayed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.addons.base import Addon

if TYPE_CHECKING:
    from wirekey.features.realtime.decisions import PendingDecision


class Realtime(Addon):
    """Awaits what `RealtimeSession` decides on a message of the client. If that fails, the connection is closed."""

    async def decide_message(self, pending: PendingDecision) -> None:
        """Set the decision on a message."""
        pending.decision = await pending.waiting
