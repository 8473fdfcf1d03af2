"""The master of `wirekey serve`: mitmproxy with an index of its hooks, and only the addons that Wirekey needs.

Stock mitmproxy searches all of its addons for each hook of each request, which takes 40 % of its CPU time. Here the
handlers of each hook are looked up once. They run in the same order as in stock mitmproxy; a test compares the two.
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
    """An addon manager that remembers the handlers of each hook. Any change of the addons clears the index."""

    def __init__(self, master: Master) -> None:
        super().__init__(master)
        self.handlers: dict[str, list[list[Handler]]] = {}
        """Hook → its handlers in the order of the chain, grouped by top-level addon."""

    def register(self, addon: object) -> object:
        """Register an addon and its children."""
        self.handlers.clear()
        registered = super().register(addon)
        self.handlers.clear()
        return registered

    def add(self, *addons: object) -> None:
        """Add addons to the end of the chain."""
        super().add(*addons)
        self.handlers.clear()

    def remove(self, addon: object) -> None:
        """Remove an addon and its children."""
        super().remove(addon)
        self.handlers.clear()

    def clear(self) -> None:
        """Remove all addons."""
        super().clear()
        self.handlers.clear()

    def handlers_of(self, event: hooks.Hook) -> list[list[Handler]]:
        """Return the handlers of a hook in the order of the chain, grouped by top-level addon."""
        groups = self.handlers.get(event.name)
        if groups is None:
            found = [list(self._iter_hooks(addon, event)) for addon in self.chain]
            groups = self.handlers[event.name] = [group for group in found if group]
        return groups

    async def handle_lifecycle(self, event: hooks.Hook) -> None:
        """Run the handlers of a hook, then those of mitmproxy's `update` if the hook is about a flow."""
        await self.trigger_event(event)
        message = event.args()[0]
        if isinstance(message, flow.Flow) and self.handlers_of(UPDATE):
            await self.trigger_event(hooks.UpdateHook([message]))

    async def trigger_event(self, event: hooks.Hook) -> None:
        """Run the handlers of a hook, as stock mitmproxy does: an exception ends the handlers of one addon."""
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
    """A master with only the built-in addons that a running proxy needs."""

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
