"""The master of `wirekey serve`: mitmproxy with only the addons that Wirekey needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mitmproxy.addons import core, errorcheck, next_layer, proxyserver, tlsconfig
from mitmproxy.master import Master

if TYPE_CHECKING:
    import asyncio

    from mitmproxy.options import Options


class ServeMaster(Master):
    """A master with only the built-in addons that a running proxy needs."""

    def __init__(self, options: Options, loop: asyncio.AbstractEventLoop | None = None) -> None:
        super().__init__(options, event_loop=loop)
        # It makes an event of each log line, for addons with the deprecated hook `add_log`. None of these has it.
        self._legacy_log_events.uninstall()
        self.addons.add(
            core.Core(),
            proxyserver.Proxyserver(),
            next_layer.NextLayer(),
            tlsconfig.TlsConfig(),
            errorcheck.ErrorCheck(),
        )
