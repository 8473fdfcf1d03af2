"""What all stations share: they fail closed, and admit a call once, as soon as enough of it is there.

mitmproxy logs an exception in a hook and lets the request go on, so each hook of a station has one of the guards
below; `guard` on the guarded hook says which. What is logged is where the exception came from, not its message: that
may quote the call.
"""

from __future__ import annotations

import functools
import inspect
import logging
from typing import TYPE_CHECKING, Any

from wirekey.errors import INTERNAL_ERROR, Refusal
from wirekey.tracebacks import safe_traceback

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mitmproxy import http
    from mitmproxy.connection import Client
    from mitmproxy.proxy.server_hooks import ServerConnectionHookData

    from wirekey.call import Call
    from wirekey.calls.services import Services

logger = logging.getLogger(__name__)

FAILED = "internal error"


def fail_closed[Hook: Callable[..., Any]](hook: Hook) -> Hook:
    """Make a hook that comes before the verdict refuse the call when it raises, and skip calls refused before."""
    if inspect.iscoroutinefunction(hook):

        @functools.wraps(hook)
        async def guarded_async(self: Addon, flow: http.HTTPFlow) -> None:
            if self.calls.is_undecided(flow):
                try:
                    await hook(self, flow)
                except Refusal as refusal:
                    self.calls.refuse(flow, refusal)
                except Exception as error:
                    self.failed(hook, error)
                    self.calls.refuse(flow, INTERNAL_ERROR)

        return marked(guarded_async, fail_closed)  # type: ignore[no-any-return]  # the same signature, by wraps

    @functools.wraps(hook)
    def guarded(self: Addon, flow: http.HTTPFlow) -> None:
        if self.calls.is_undecided(flow):
            try:
                hook(self, flow)
            except Refusal as refusal:
                self.calls.refuse(flow, refusal)
            except Exception as error:
                self.failed(hook, error)
                self.calls.refuse(flow, INTERNAL_ERROR)

    return marked(guarded, fail_closed)  # type: ignore[no-any-return]  # the same signature, by wraps


def no_retry_on_error[Hook: Callable[..., Any]](hook: Hook) -> Hook:
    """Make what decides on another attempt decide against it when it raises."""

    @functools.wraps(hook)
    async def guarded(self: Addon, attempt: Any) -> None:
        try:
            await hook(self, attempt)
        except Exception as error:
            self.failed(hook, error)
            attempt.retry = False

    return marked(guarded, no_retry_on_error)  # type: ignore[no-any-return]  # the same signature, by wraps


def refuse_local_on_error[Hook: Callable[..., Any]](hook: Hook) -> Hook:
    """Make a hook that answers for one of our own endpoints give an error when it raises."""

    @functools.wraps(hook)
    def guarded(self: Addon, flow: http.HTTPFlow) -> None:
        try:
            hook(self, flow)
        except Exception as error:
            self.failed(hook, error)
            self.calls.refuse(flow, INTERNAL_ERROR)

    return marked(guarded, refuse_local_on_error)  # type: ignore[no-any-return]  # the same signature, by wraps


def log_on_error[Hook: Callable[..., Any]](hook: Hook) -> Hook:
    """Make a hook that comes after the verdict never disturb the call: what it raises is logged."""

    @functools.wraps(hook)
    def guarded(self: Addon, data: Any) -> None:
        try:
            hook(self, data)
        except Exception as error:
            self.failed(hook, error)

    return marked(guarded, log_on_error)  # type: ignore[no-any-return]  # the same signature, by wraps


def close_on_error[Hook: Callable[..., Any]](hook: Hook) -> Hook:
    """Make a hook about a connection close it, or not dial it, when it raises."""
    if inspect.iscoroutinefunction(hook):

        @functools.wraps(hook)
        async def guarded_async(self: Addon, data: Client | ServerConnectionHookData) -> None:
            try:
                await hook(self, data)
            except Exception as error:
                self.failed(hook, error)
                connection_of(data).error = FAILED

        return marked(guarded_async, close_on_error)  # type: ignore[no-any-return]  # the same signature, by wraps

    @functools.wraps(hook)
    def guarded(self: Addon, data: Client | ServerConnectionHookData) -> None:
        try:
            hook(self, data)
        except Exception as error:
            self.failed(hook, error)
            connection_of(data).error = FAILED

    return marked(guarded, close_on_error)  # type: ignore[no-any-return]  # the same signature, by wraps


def connection_of(data: Any) -> Any:
    return getattr(data, "server", data)


def marked(guarded: Any, guard: Any) -> Any:
    guarded.guard = guard
    return guarded


class Addon:
    def __init__(self, services: Services) -> None:
        self.services = services
        self.calls = services.calls

    def failed(self, hook: Callable[..., Any], error: Exception) -> None:
        logger.error("%s.%s failed: %s", type(self).__name__, hook.__name__, safe_traceback(error))


class AdmittingAddon(Addon):
    """A station that needs the whole of what is read of a request.

    That is the head, for operations whose body is none or passes unread, and else the body too: so `admit` runs
    from the first hook or from the second, once.
    """

    admit: Callable[[http.HTTPFlow, Call], None]

    @fail_closed
    def requestheaders(self, flow: http.HTTPFlow) -> None:
        call = self.calls.of(flow)
        if not call.reads_body:
            self.admit(flow, call)

    @fail_closed
    def request(self, flow: http.HTTPFlow) -> None:
        call = self.calls.of(flow)
        if call.reads_body:
            self.admit(flow, call)


class AsyncAdmittingAddon(Addon):
    """An admitting station that must wait for something."""

    admit: Callable[[http.HTTPFlow, Call], Awaitable[None]]

    @fail_closed
    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        call = self.calls.of(flow)
        if not call.reads_body:
            await self.admit(flow, call)

    @fail_closed
    async def request(self, flow: http.HTTPFlow) -> None:
        call = self.calls.of(flow)
        if call.reads_body:
            await self.admit(flow, call)
