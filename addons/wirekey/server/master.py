"""The master of `wirekey serve`: mitmproxy with its hook dispatch indexed and nothing loaded that is not used.

Stock mitmproxy walks all of its addons for each hook of each request; that is four tenths of its CPU. Here the
handlers of each hook are looked up once. The order of handlers is the stock one; a test compares both.
"""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

from mitmproxy import addonmanager, exceptions, flow, hooks
from mitmproxy.addons import core, errorcheck, next_layer, proxyserver, tlsconfig
from mitmproxy.master import Master

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from mitmproxy.options import Options

logger = logging.getLogger("mitmproxy.addonmanager")

Handler = tuple[object, "Callable[..., Any]"]


class IndexedAddonManager(addonmanager.AddonManager):
    """Keeps, per hook, the handlers in chain order, grouped by top-level addon; forgets them on any change."""

    def __init__(self, master: Master) -> None:
        super().__init__(master)
        self.handlers: dict[str, list[list[Handler]]] = {}

    def register(self, addon: object) -> object:
        self.handlers.clear()
        registered = super().register(addon)
        self.handlers.clear()
        return registered

    def add(self, *addons: object) -> None:
        super().add(*addons)
        self.handlers.clear()

    def remove(self, addon: object) -> None:
        super().remove(addon)
        self.handlers.clear()

    def clear(self) -> None:
        super().clear()
        self.handlers.clear()

    def handlers_of(self, event: hooks.Hook) -> list[list[Handler]]:
        groups = self.handlers.get(event.name)
        if groups is None:
            found = [list(self._iter_hooks(addon, event)) for addon in self.chain]
            groups = self.handlers[event.name] = [group for group in found if group]
        return groups

    async def handle_lifecycle(self, event: hooks.Hook) -> None:
        await self.trigger_event(event)
        message = event.args()[0]
        if isinstance(message, flow.Flow) and self.handlers_of(UPDATE):
            await self.trigger_event(hooks.UpdateHook([message]))

    async def trigger_event(self, event: hooks.Hook) -> None:
        groups = self.handlers_of(event)
        arguments = event.args() if groups else ()
        for group in groups:
            try:
                for _, handler in group:
                    result = handler(*arguments)
                    if result is not None and inspect.isawaitable(result):
                        await result
            except exceptions.AddonHalt:
                return
            except exceptions.OptionsError:
                raise
            except Exception:
                logger.exception("Addon error")


UPDATE = hooks.UpdateHook([])


class ServeMaster(Master):
    """A master with only those built-in addons that a running proxy needs."""

    def __init__(self, options: Options, loop: asyncio.AbstractEventLoop | None = None) -> None:
        super().__init__(options, event_loop=loop)
        self.options.changed.disconnect(self.addons._configure_all)  # noqa: SLF001  # the manager is replaced
        self.addons = IndexedAddonManager(self)
        self.addons.add(
            core.Core(),
            proxyserver.Proxyserver(),
            next_layer.NextLayer(),
            tlsconfig.TlsConfig(),
            errorcheck.ErrorCheck(),
        )
