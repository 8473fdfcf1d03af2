"""The base class of the addons: it guards each hook by the hook's name.

mitmproxy logs an exception in a hook, and the request continues. Here an exception before the verdict refuses the call,
one in a hook about a connection closes the connection, and one after the verdict is logged and the call continues.
`ON_ERROR` maps each hook to its action. `Addon` applies it when a class is created, so no hook can be without a guard.

The log shows where an exception was raised, but not its message, which may quote the call.
"""

from __future__ import annotations

import functools
import logging
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mitmproxy import hooks
from mitmproxy.proxy.layer import NextLayer

from wirekey.core.errors import INTERNAL_ERROR, Refusal
from wirekey.core.tracebacks import forget_frames, safe_traceback
from wirekey.core.wire.install import CloseConnectionLayer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mitmproxy import http

    from wirekey.core.call import Call
    from wirekey.core.calls.services import Services
    from wirekey.core.endpoints.reply import LocalHandler

logger = logging.getLogger(__name__)

type Hook = Callable[[Any, Any], Awaitable[None] | None]

CLOSED = "internal error"
"""Why a connection was closed whose hook raised."""


class Addon:
    """Decides or records one thing about a call, in mitmproxy's hooks.

    A hook returns None, or an awaitable if it has to wait for something. A hook before the verdict refuses the call by
    raising a Refusal; it is skipped for calls that were refused before.
    """

    handles_local_requests = False
    """Whether the hooks before the verdict also get the bodies of requests to Wirekey's own endpoints."""
    pages: Mapping[str, LocalHandler] = MappingProxyType({})
    """The pages of the console that the addon serves: path → handler."""
    decides_own_calls = False
    """Whether the hooks before the verdict also decide calls that Wirekey itself makes on behalf of an agent."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.calls = services.calls

    def __init_subclass__(cls) -> None:
        """Guard each hook of a new addon. Raises TypeError if it is not known how a hook of this name fails."""
        super().__init_subclass__()
        for name, hook in tuple(vars(cls).items()):
            if name in ON_ERROR:
                setattr(cls, name, guard(name, hook))
            elif name in hooks.all_hooks and name not in LIFECYCLE:
                raise TypeError(
                    f"{cls.__name__}.{name}: add this hook to ON_ERROR in wirekey/addons/base.py, which maps each "
                    "hook to the action when it raises."
                )

    def log_failure(self, name: str, error: Exception) -> None:
        """Log an exception in this addon, without its message."""
        logger.error("%s.%s failed: %s", type(self).__name__, name, safe_traceback(error))

    # The actions of ON_ERROR.

    def refuse_call(self, name: str, flow: http.HTTPFlow, error: Exception) -> None:
        """Refuse the call of a flow with the Refusal that was raised, or as an internal error."""
        if isinstance(error, Refusal):
            self.calls.refuse(flow, error)
        else:
            self.log_failure(name, error)
            self.calls.refuse(flow, INTERNAL_ERROR)

    def close_connection(self, name: str, data: Any, error: Exception) -> None:
        """Close the connection that a hook is about, or do not open it."""
        self.log_failure(name, error)
        if isinstance(data, NextLayer):
            data.layer = CloseConnectionLayer(data.context)
        else:
            getattr(data, "server", data).error = CLOSED

    def stop_retrying(self, name: str, attempt: Any, error: Exception) -> None:
        """Make no further attempt."""
        self.log_failure(name, error)
        attempt.retry = False

    def only_log(self, name: str, _: Any, error: Exception) -> None:
        """Log the failure. The call continues."""
        self.log_failure(name, error)


BEFORE_VERDICT = frozenset({"http_connect", "requestheaders", "request"})
ON_ERROR: dict[str, Callable[[Addon, str, Any, Exception], None]] = {
    **dict.fromkeys(BEFORE_VERDICT, Addon.refuse_call),
    **dict.fromkeys(("client_connected", "next_layer", "server_connect"), Addon.close_connection),
    **dict.fromkeys(("attempt_failed", "attempt_repeated"), Addon.stop_retrying),
    **dict.fromkeys(("responseheaders", "response", "error", "http_connected", "http_connect_error"), Addon.only_log),
    "held_response": Addon.only_log,  # the end of the response then does the work
    **dict.fromkeys(("tls_clienthello", "tls_start_client", "tls_start_server"), Addon.only_log),
    **dict.fromkeys(("tls_established_client", "client_disconnected"), Addon.only_log),
    "decide_message": Addon.only_log,  # an undecided message closes its connection
}
"""Hook → the action when it raises."""
LIFECYCLE = frozenset({"load", "configure", "running", "done"})
"""Hooks without a guard. An exception in one stops the start. Every call is refused until the start is complete."""


def guard(name: str, hook: Hook) -> Hook:
    """Return the hook with a guard: when it raises, the action that `ON_ERROR` has for its name runs."""
    on_error, before_verdict = ON_ERROR[name], name in BEFORE_VERDICT

    @functools.wraps(hook)
    def guarded(addon: Addon, data: Any) -> Awaitable[None] | None:
        if before_verdict and not (
            data.response is None
            and data.error is None
            and (addon.handles_local_requests or data.id not in addon.calls.local_requests)
        ):
            return None
        try:
            waiting = hook(addon, data)
        except Exception as error:
            on_error(addon, name, data, error)
            forget_frames(error)
            return None
        return None if waiting is None else wait(addon, data, waiting)

    async def wait(addon: Addon, data: Any, waiting: Awaitable[None]) -> None:
        try:
            await waiting
        except Exception as error:
            on_error(addon, name, data, error)
            forget_frames(error)

    return guarded


class AdmittingAddon(Addon):
    """An addon that decides on all that is read of a request.

    That is the head, for operations whose body is not read, and otherwise the head and the body. So `admit` is called
    by the first hook or by the second, once for each call.
    """

    def admit(self, flow: http.HTTPFlow, call: Call) -> Awaitable[None] | None:
        """Decide on a call. Raises Refusal to refuse it."""
        raise NotImplementedError

    def requestheaders(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Admit a call of which only the head is read."""
        call = self.calls.states[flow.id].call
        return None if call.reads_body else self.admit(flow, call)

    def request(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Admit a call whose body is read."""
        call = self.calls.states[flow.id].call
        return self.admit(flow, call) if call.reads_body else None
