"""Runs the handlers of a hook of a connection without a coroutine, as long as none of them waits."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from mitmproxy.flow import Flow
from mitmproxy.http import HTTPFlow

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mitmproxy.proxy.commands import StartHook
    from mitmproxy.proxy.mode_servers import ProxyConnectionHandler

argument_names: dict[type[StartHook], str] = {}
"""The name of the one argument that each hook of a connection has."""


def run_handlers(handler: ProxyConnectionHandler, hook: StartHook) -> Awaitable[None] | None:
    """Run the handlers of a hook until one of them waits. Return what remains to be awaited, or None."""
    start = getattr(handler.master.addons, "start_lifecycle", None)
    if start is None:
        return handler.handle_hook(hook)  # mitmproxy's own addon manager always waits
    try:
        message = argument_of(hook)
        waiting: Awaitable[None] | None = start(hook, message)
    except Exception as error:
        return fail(error)
    # The exact class is compared first, because Flow is an abstract class, of which isinstance is slow.
    if (type(message) is HTTPFlow or isinstance(message, Flow)) and (waiting is not None or message.intercepted):
        return resume_after(waiting, message)
    return waiting


def argument_of(hook: StartHook) -> Any:
    """Return the argument of a hook. Raises ValueError unless it has exactly one."""
    name = argument_names.get(type(hook))
    if name is None:
        (name,) = (field.name for field in fields(hook))  # type: ignore[arg-type]  # every hook is a dataclass
        argument_names[type(hook)] = name
    return getattr(hook, name)


async def resume_after(waiting: Awaitable[None] | None, flow: Flow) -> None:
    """Wait for the handlers of a hook, and until the flow is resumed if one of them has intercepted it."""
    if waiting is not None:
        await waiting
    await flow.wait_for_resume()


async def fail(error: Exception) -> None:
    """Raise the exception of a hook in the task that waits for the hook."""
    raise error
