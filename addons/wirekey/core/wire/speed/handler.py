"""The handler of one client connection, with less work for each event.

- Once a connection is open, its HTTP layer gets events by the direct path.
- A hook whose addons do not wait completes at once, without a task.
- The client is read without asyncio's reader.
- The layers are taken apart at the end, so that nothing waits for the garbage collector.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from wirekey.core.wire.connection_handler import WireConnectionHandler
from wirekey.core.wire.speed.cleanup import release_layers
from wirekey.core.wire.speed.client_socket import ClientProtocol
from wirekey.core.wire.speed.direct_layer import DirectHttpLayer
from wirekey.core.wire.speed.direct_path import DirectPath, find_path
from wirekey.core.wire.speed.hooks import index_of

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mitmproxy.proxy import commands, events
    from mitmproxy.proxy.server import ConnectionIO

    from wirekey.core.wire.connection_handler import ClientHttpLayer


class FastConnectionHandler(WireConnectionHandler):
    """Replaces the wire layer's own handler."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.path: DirectPath | None = None
        """The direct path to the innermost HTTP layer, as soon as there is one."""
        self.hook_index = index_of(self.master.addons)

    def use_http_layer(self, layer: ClientHttpLayer) -> None:
        """Note the innermost HTTP layer. Events reach it through the layers outside of it at first."""
        super().use_http_layer(layer)
        self.path = None

    def enter_tunnel(self) -> None:
        """Send events to the layers inside the tunnel from now on."""
        super().enter_tunnel()
        self.path = None

    def hand_on(self, event: events.Event) -> None:
        """Hand an event to the HTTP layer directly, or else to the outermost layer."""
        if self.path is not None and self.path.takes(event):
            self.path.handle(event)
            return
        self.flush()  # what these layers encrypt must follow what was sent before
        super().hand_on(event)
        if self.path is None and not self.is_released and isinstance(self.http_layer, DirectHttpLayer):
            self.path = self.http_layer.path = find_path(self, self.http_layer)

    def flush(self) -> None:
        """Write what the layers have sent.

        The layers outside of the direct path encrypt at once, and `hand_on` flushes before they do. So what they have
        sent is older than what waits on the path, and its TLS records must be written first.
        """
        super().flush()
        if self.path is not None and self.path.plaintext:
            self.path.flush()

    async def read_client(self, transport: ConnectionIO) -> None:
        """Read the client until it ends its side."""
        if type(transport.reader) is asyncio.StreamReader:
            assert isinstance(transport.writer, asyncio.StreamWriter)
            await ClientProtocol(self, transport.writer, transport.reader).run()
        else:
            await super().read_client(transport)

    def begin_hook(self, hook: commands.StartHook) -> Awaitable[None] | None:
        """Run the handlers of a hook until one of them waits. Return what remains to be awaited, or None."""
        if not self.hook_index.is_of(self.master.addons):
            self.hook_index = index_of(self.master.addons)
        try:
            return self.hook_index.start(hook)
        except Exception as error:
            return fail(error)

    async def handle_hook(self, hook: commands.StartHook) -> None:
        """Run a hook to its end."""
        waiting = self.begin_hook(hook)
        if waiting is not None:
            await self.wait_for_hook(waiting)

    def release(self) -> None:
        """Release the layers and all that they refer to, so that their memory is free at once."""
        http_layer = self.http_layer if isinstance(self.http_layer, DirectHttpLayer) else None
        layers = (self.layer, http_layer, self.tunnel_layer)
        super().release()
        self.path = None
        release_layers(layers)


async def fail(error: Exception) -> None:
    """Raise the exception of a hook in the task that waits for the hook."""
    raise error
