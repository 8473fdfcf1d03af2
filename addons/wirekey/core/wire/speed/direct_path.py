"""The direct path of a client connection: from its socket to its HTTP layer and back, past the layers in between.

In mitmproxy, each event passes down through all layers, and each command back up, through a generator of every layer.
Once a connection is open, the layers between the socket and the HTTP layer only pass them on, or encrypt them. Here the
HTTP layer gets its events directly, and its commands are executed at once.

The layers stay as they are. The end of the client connection, and every event that is not listed in `takes`, still
passes through them.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layer import NextLayer
from mitmproxy.proxy.layers.http import Http1Server
from mitmproxy.proxy.layers.modes import HttpProxy, ReverseProxy
from mitmproxy.proxy.layers.tls import ClientTLSLayer
from mitmproxy.proxy.tunnel import TunnelState
from OpenSSL import SSL

from wirekey.core.wire.http2 import FramesWaiting
from wirekey.core.wire.speed.client_tls import ClientTls
from wirekey.core.wire.speed.response_relay import relay

if TYPE_CHECKING:
    from mitmproxy.proxy.layer import Layer

    from wirekey.core.wire.connection_handler import WireConnectionHandler
    from wirekey.core.wire.speed.direct_layer import DirectHttpLayer


class DirectPath:
    """Hands the events of one client connection to its HTTP layer, and its commands to the connection's handler.

    Exists while the layers outside of the HTTP layer have nothing to decide. `find_path` makes it.
    """

    def __init__(self, handler: WireConnectionHandler, layer: DirectHttpLayer, tls: ClientTls | None) -> None:
        self.handler = handler
        self.layer = layer
        self.tls = tls
        self.client = handler.client
        self.plaintext: list[bytes] = []
        """The bytes that the HTTP layer has sent to a client with TLS, until they are encrypted."""
        self.resumes_at_once = isinstance(layer.connections.get(handler.client), Http1Server)
        """Whether a stream continues as soon as a hook has completed.

        Over HTTP/2 it first gets the other frames that came along, so that a stream that was reset is not sent.
        """

    def takes(self, event: events.Event) -> bool:
        """Return whether an event can be handed to the HTTP layer directly."""
        kind = type(event)
        if kind is events.DataReceived or kind is FramesWaiting:
            return True
        if kind is events.ConnectionClosed:
            return event.connection is not self.client  # type: ignore[attr-defined]
        if isinstance(event, events.CommandCompleted):
            return event.command in self.layer.command_sources or event.command is self.layer.tick_command
        return False

    def handle(self, event: events.Event) -> None:
        """Hand an event to the HTTP layer, and execute the commands that follow."""
        if type(event) is not events.DataReceived:
            self.layer.handle_directly(event)
        elif event.connection is not self.client:
            rest = relay(self.layer, event.connection, event.data, self.send_to_client)
            if rest is not None:
                event.data = rest
                self.layer.handle_directly(event)
        elif self.tls is not None:
            self.receive_encrypted(self.tls, event.data)
        else:
            self.layer.handle_directly(event)

    def receive_encrypted(self, tls: ClientTls, data: bytes) -> None:
        """Decrypt what the client sent, and hand it to the HTTP layer. Does what mitmproxy's `TLSLayer` does."""
        self.handler.flush()  # OpenSSL may answer while it decrypts, and that record must follow what was sent before
        plaintext, error = tls.decrypt(data)
        if answer := tls.pending():
            self.handler.write(self.client, answer)
        if plaintext:
            self.layer.handle_directly(events.DataReceived(self.client, plaintext))
        if isinstance(error, SSL.ZeroReturnError):
            self.client.state &= ~ConnectionState.CAN_READ
            self.layer.handle_directly(events.ConnectionClosed(self.client))
        elif error is not None:
            self.handler.log(f"TLS Error: {error}", logging.WARNING)

    def execute(self, command: commands.Command) -> None:
        """Execute a command of the HTTP layer."""
        if type(command) is commands.SendData and command.connection is self.client:
            self.send_to_client(command.data)
        else:
            self.handler.execute(command)

    def run_hook(self, hook: commands.StartHook) -> bool:
        """Run a hook. Returns whether it has completed."""
        return self.handler.run_hook(hook)

    def send_to_client(self, data: bytes) -> None:
        """Send bytes to the client, together with what else is sent while an event is handled."""
        if self.tls is not None:
            self.plaintext.append(data)
        else:
            self.handler.pending_writes.setdefault(self.client, []).append(data)

    def flush(self) -> None:
        """Encrypt and write what the HTTP layer has sent to the client: small pieces as one TLS record."""
        pieces, self.plaintext = self.plaintext, []
        assert self.tls
        self.handler.write(self.client, self.tls.encrypt(b"".join(pieces) if len(pieces) > 1 else pieces[0]))


def find_path(handler: WireConnectionHandler, target: DirectHttpLayer) -> DirectPath | None:
    """Return the direct path of a connection; None if a layer outside of its HTTP layer may still decide something."""
    tls = None
    if handler.client not in target.connections:
        return None
    layer: Layer | None = handler.layer
    while layer is not target:
        if layer is None or layer._paused is not None:  # noqa: SLF001  # mitmproxy has no other way to ask
            return None
        if isinstance(layer, ClientTLSLayer):
            if tls is not None or layer.tunnel_state is not TunnelState.OPEN or layer.command_to_reply_to:
                return None
            tls, layer = ClientTls(layer), layer.child_layer
        elif isinstance(layer, NextLayer):
            layer = layer.layer
        elif isinstance(layer, (HttpProxy, ReverseProxy)):
            layer = getattr(layer._handle_event, "__self__", None)  # noqa: SLF001  # the layer it has chosen
            if isinstance(layer, (HttpProxy, ReverseProxy)):
                return None
        else:
            return None
    return DirectPath(handler, target, tls)
