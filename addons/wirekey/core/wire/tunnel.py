"""A CONNECT tunnel whose bytes are relayed undecrypted, and counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mitmproxy.proxy import events
from mitmproxy.proxy.layers import TCPLayer

if TYPE_CHECKING:
    from mitmproxy.proxy.context import Context
    from mitmproxy.proxy.layer import CommandGenerator


@dataclass(slots=True)
class TunnelTraffic:
    """The traffic of one tunnel."""

    sent: int = 0
    """Bytes from the client."""
    received: int = 0
    """Bytes from the host."""
    is_connected: bool = False
    """Whether the connection to the host was opened."""
    refused: str | None = None
    """The code of the reason why the tunnel was closed before it was opened, or None."""


class TunnelLayer(TCPLayer):
    """mitmproxy's layer that relays bytes. It stores none of them, and counts them in its `traffic`."""

    def __init__(self, context: Context, traffic: TunnelTraffic) -> None:
        super().__init__(context, ignore=True)
        self.traffic = traffic

    def relay_messages(self, event: events.Event) -> CommandGenerator[None]:
        """Count and relay what either side sends."""
        self.traffic.is_connected = True
        if isinstance(event, events.DataReceived):
            if event.connection is self.context.client:
                self.traffic.sent += len(event.data)
            else:
                self.traffic.received += len(event.data)
        relayed: CommandGenerator[None] = super().relay_messages(event)
        return relayed
