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
    from collections.abc import Awaitable, Callable, Iterator

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

    def start_lifecycle(self, event: hooks.Hook, message: object) -> Awaitable[None] | None:
        """Run the handlers of a hook with one argument, and `update` after it, until one of them waits.

        Return what remains to be awaited, or None if all handlers have run.
        """
        waiting = self.run_groups(iter(self.handlers_of(event)), (message,))
        if self.handlers_of(UPDATE) and isinstance(message, flow.Flow):
            return self.update_after(waiting, message)
        return waiting

    async def update_after(self, waiting: Awaitable[None] | None, message: flow.Flow) -> None:
        """Run mitmproxy's hook `update` after the handlers of a hook about a flow."""
        if waiting is not None:
            await waiting
        await self.trigger_event(hooks.UpdateHook([message]))

    async def handle_lifecycle(self, event: hooks.Hook) -> None:
        """Run the handlers of a hook, then those of mitmproxy's `update` if the hook is about a flow."""
        waiting = self.start_lifecycle(event, event.args()[0])
        if waiting is not None:
            await waiting

    async def trigger_event(self, event: hooks.Hook) -> None:
        """Run the handlers of a hook, as stock mitmproxy does: an exception ends the handlers of one addon."""
        groups = self.handlers_of(event)
        waiting = self.run_groups(iter(groups), tuple(event.args()) if groups else ())
        if waiting is not None:
            await waiting

    def run_groups(self, groups: Iterator[list[Handler]], arguments: tuple[Any, ...]) -> Awaitable[None] | None:
        """Run the handlers of the remaining addons. Return what remains to be awaited once one of them waits."""
        for group in groups:
            remaining = iter(group)
            try:
                for _, handler in remaining:
                    result = handler(*arguments)
                    if result is not None and inspect.isawaitable(result):
                        return self.wait(result, remaining, groups, arguments)
            except exceptions.AddonHalt:
                return None
            except exceptions.OptionsError:
                raise
            except Exception:
                logger.exception("Addon error")
        return None

    async def wait(
        self,
        result: Awaitable[object],
        group: Iterator[Handler],
        groups: Iterator[list[Handler]],
        arguments: tuple[Any, ...],
    ) -> None:
        """Wait for one handler, then run the others of its addon, then those of the remaining addons."""
        try:
            await result
            for _, handler in group:
                following = handler(*arguments)
                if following is not None and inspect.isawaitable(following):
                    await following
        except exceptions.AddonHalt:
            return
        except exceptions.OptionsError:
            raise
        except Exception:
            logger.exception("Addon error")
        waiting = self.run_groups(groups, arguments)
        if waiting is not None:
            await waiting


UPDATE = hooks.UpdateHook([])


class ServeMaster(Master):
    """A master with only the built-in addons that a running proxy needs."""

    def __init__(self, options: Options, loop: asyncio.AbstractEventLoop | None = None) -> None:
        super().__init__(options, event_loop=loop)
        # It makes an event of each log line, for addons with the deprecated hook `add_log`. None of these has it.
        self._legacy_log_events.uninstall()
        self.options.changed.disconnect(self.addons._configure_all)  # noqa: SLF001  # the manager is replaced
        self.addons = IndexedAddonManager(self)
        self.addons.add(
            core.Core(),
            proxyserver.Proxyserver(),
            next_layer.NextLayer(),
            tlsconfig.TlsConfig(),
            errorcheck.ErrorCheck(),
        )
