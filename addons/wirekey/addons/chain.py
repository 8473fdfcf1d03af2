"""Runs the handlers of several addons as one handler of each hook.

mitmproxy searches all registered addons for each hook of each request, and makes a coroutine for each. A chain is one
addon to it. The handlers of a hook run in one loop, under the same guard as alone, and a coroutine is made only when
one of them waits. So `wirekey serve` and plain mitmdump run the same handlers in the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wirekey.addons.base import BEFORE_VERDICT, LIFECYCLE, ON_ERROR, Addon
from wirekey.tracebacks import forget_frames

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from wirekey.addons.base import Hook

type Step = tuple[Addon, Hook]
"""An addon and its handler of a hook, without the guard."""


class Chain:
    """Consecutive addons, registered with mitmproxy as one. It has a handler for each hook that one of them has.

    An exception in a handler has the same effect as without the chain: `ON_ERROR` names it, and the handlers of the
    other addons run.
    """

    def __init__(self, members: Sequence[Addon]) -> None:
        self.members = tuple(members)
        for name in ON_ERROR:
            steps = tuple((member, unguarded(member, name)) for member in members if hasattr(member, name))
            if steps:
                setattr(self, name, handler_of(name, steps))
        for member in members:
            if unknown := [name for name in LIFECYCLE - {"running", "done"} if hasattr(member, name)]:
                raise TypeError(f"{type(member).__name__}.{unknown[0]}: a chain has only the hooks running and done.")

    async def running(self) -> None:
        """Start the members, in order. Raises the first exception, after all were started."""
        await self.run_lifecycle("running")

    async def done(self) -> None:
        """Stop the members, in order. Raises the first exception, after all were stopped."""
        await self.run_lifecycle("done")

    async def run_lifecycle(self, name: str) -> None:
        """Run a hook of the lifecycle of all members. Raises the first exception, after all have run."""
        first: Exception | None = None
        for member in self.members:
            try:
                waiting = getattr(member, name, lambda: None)()
                if waiting is not None:
                    await waiting
            except Exception as error:
                first = first or error
        if first:
            raise first


def unguarded(member: Addon, name: str) -> Hook:
    """Return a handler of an addon without its guard, which the chain has instead."""
    handler: Hook = getattr(type(member), name).__wrapped__
    return handler


def handler_of(name: str, steps: tuple[Step, ...]) -> Callable[[Any], Awaitable[None] | None]:
    """Return one handler that runs these steps under their guard. It returns None, or what remains to be awaited."""
    on_error, before_verdict = ON_ERROR[name], name in BEFORE_VERDICT
    local_requests = steps[0][0].calls.local_requests

    def run(data: Any) -> Awaitable[None] | None:
        return run_steps(data, iter(steps))

    def run_steps(data: Any, remaining: Iterator[Step]) -> Awaitable[None] | None:
        for addon, step in remaining:
            if before_verdict and (
                data.response is not None
                or data.error is not None
                or (local_requests and not addon.handles_local_requests and data.id in local_requests)
            ):
                continue
            try:
                waiting = step(addon, data)
            except Exception as error:
                on_error(addon, name, data, error)
                forget_frames(error)
                continue
            if waiting is not None:
                return wait(addon, data, waiting, remaining)
        return None

    async def wait(addon: Addon, data: Any, waiting: Awaitable[None], remaining: Iterator[Step]) -> None:
        try:
            await waiting
        except Exception as error:
            on_error(addon, name, data, error)
            forget_frames(error)
        rest = run_steps(data, remaining)
        if rest is not None:
            await rest

    return run
