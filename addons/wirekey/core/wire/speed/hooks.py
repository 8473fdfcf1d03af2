"""Runs the handlers of a hook of a connection: from an index, and without a coroutine until one of them waits.

mitmproxy searches all registered addons for each hook of each request, and makes a coroutine for each, which takes 40 %
of its CPU time. Here the handlers of each hook are looked up once. They run in the same order, and fail in the same
way. Whatever else runs hooks, such as the start of the process, does so as mitmproxy does.
"""

from __future__ import annotations

import inspect
import logging
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from mitmproxy import exceptions
from mitmproxy.flow import Flow
from mitmproxy.hooks import UpdateHook
from mitmproxy.http import HTTPFlow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from mitmproxy.addonmanager import AddonManager
    from mitmproxy.hooks import Hook

logger = logging.getLogger("mitmproxy.addonmanager")

type Step = tuple[Callable[..., Any], int]
"""A handler, and the number of its top-level addon."""
NO_ADDON = -1

UPDATE = UpdateHook([])
argument_names: dict[type[Hook], str] = {}
"""The name of the one argument that each hook of a connection has."""


class HookIndex:
    """The handlers of each hook. A change of the registered addons clears it."""

    def __init__(self, manager: AddonManager) -> None:
        self.chain: list[Any] = manager.chain
        self.lookup: dict[str, Any] = manager.lookup
        self.count = len(manager.lookup)
        self.handlers: dict[str, list[Step]] = {}
        """Hook → its handlers in the order of the chain."""
        self.find = manager._iter_hooks  # noqa: SLF001  # mitmproxy's own search
        self.trigger = manager.trigger_event

    def is_of(self, manager: AddonManager) -> bool:
        """Return whether the index has the addons that are registered now.

        mitmproxy makes a new list when it removes an addon, and names each new one in its table.
        """
        return self.chain is manager.chain and self.count == len(manager.lookup)

    def handlers_of(self, event: Hook) -> list[Step]:
        """Return the handlers of a hook in the order of the chain."""
        found = self.handlers.get(event.name)
        if found is None:
            found = [
                (handler, number) for number, addon in enumerate(self.chain) for _, handler in self.find(addon, event)
            ]
            self.handlers[event.name] = found
        return found

    def start(self, hook: Hook) -> Awaitable[None] | None:
        """Run the handlers of a hook until one of them waits. Return what remains to be awaited, or None.

        After the handlers of a hook about a flow, mitmproxy's `update` runs, and the flow waits if it was intercepted.
        """
        message = argument_of(hook)
        waiting = run_handlers(iter(self.handlers_of(hook)), message)
        # The exact class is compared first, because Flow is an abstract class, of which isinstance is slow.
        if type(message) is not HTTPFlow and not isinstance(message, Flow):
            return waiting
        has_update = bool(self.handlers_of(UPDATE))
        if waiting is not None or has_update or message.intercepted:
            return self.finish(waiting, message, has_update=has_update)
        return None

    async def finish(self, waiting: Awaitable[None] | None, flow: Flow, *, has_update: bool) -> None:
        """Wait for the handlers of a hook, run those of `update`, and wait until an intercepted flow is resumed."""
        if waiting is not None:
            await waiting
        if has_update:
            await self.trigger(UpdateHook([flow]))
        await flow.wait_for_resume()


latest: list[HookIndex] = []
"""The index that was made last. A process has one addon manager."""


def index_of(manager: AddonManager) -> HookIndex:
    """Return the index of the addons that are registered now."""
    if not (latest and latest[0].is_of(manager)):
        latest[:] = [HookIndex(manager)]
    return latest[0]


def argument_of(hook: Hook) -> Any:
    """Return the argument of a hook. Raises ValueError unless it has exactly one."""
    name = argument_names.get(type(hook))
    if name is None:
        (name,) = (field.name for field in fields(hook))  # type: ignore[arg-type]  # every hook is a dataclass
        argument_names[type(hook)] = name
    return getattr(hook, name)


def run_handlers(steps: Iterator[Step], argument: Any, failed: int = NO_ADDON) -> Awaitable[None] | None:
    """Run the remaining handlers. Return what remains to be awaited once one of them waits.

    As in mitmproxy, an exception ends the handlers of its top-level addon, of which `failed` is the number.
    """
    for handler, addon in steps:
        if addon == failed:
            continue
        try:
            result = handler(argument)
        except exceptions.AddonHalt:
            return None
        except exceptions.OptionsError:
            raise
        except Exception:
            logger.exception("Addon error")
            failed = addon
            continue
        if result is not None and inspect.isawaitable(result):
            return wait(result, addon, steps, argument)
    return None


async def wait(result: Awaitable[object], addon: int, steps: Iterator[Step], argument: Any) -> None:
    """Wait for a handler of an addon, then run the others."""
    failed = NO_ADDON
    try:
        await result
    except exceptions.AddonHalt:
        return
    except exceptions.OptionsError:
        raise
    except Exception:
        logger.exception("Addon error")
        failed = addon
    waiting = run_handlers(steps, argument, failed)
    if waiting is not None:
        await waiting
