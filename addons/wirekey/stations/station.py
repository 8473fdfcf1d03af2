"""What all stations share: they fail closed, and admit a call once, as soon as enough of it is there."""

from __future__ import annotations

import functools
import inspect
import logging
from typing import TYPE_CHECKING, Any

from wirekey.refusal import Fault, Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mitmproxy import http

    from wirekey.call import Call
    from wirekey.stations.house import House

logger = logging.getLogger(__name__)

BROKEN = Refusal(
    503,
    "wirekey_error",
    "Wirekey could not decide this call, so it was not sent. The operator finds the reason in the log.",
    Fault.WIREKEY,
)


def fail_closed[Hook: Callable[..., Any]](hook: Hook) -> Hook:
    """Make a hook that comes before the verdict refuse the call when it raises, and skip calls refused before.

    mitmproxy logs an exception in a hook and lets the request go on; a hook of ours must not have one.
    """
    if inspect.iscoroutinefunction(hook):

        @functools.wraps(hook)
        async def guarded_async(self: Station, flow: http.HTTPFlow) -> None:
            if flow.response is None and flow.error is None:
                try:
                    await hook(self, flow)
                except Refusal as refusal:
                    self.house.refuse(flow, refusal)
                except Exception:
                    logger.exception("%s.%s failed", type(self).__name__, hook.__name__)
                    self.house.refuse(flow, BROKEN)

        return guarded_async  # type: ignore[return-value]  # the same signature, by wraps

    @functools.wraps(hook)
    def guarded(self: Station, flow: http.HTTPFlow) -> None:
        if flow.response is None and flow.error is None:
            try:
                hook(self, flow)
            except Refusal as refusal:
                self.house.refuse(flow, refusal)
            except Exception:
                logger.exception("%s.%s failed", type(self).__name__, hook.__name__)
                self.house.refuse(flow, BROKEN)

    return guarded  # type: ignore[return-value]  # the same signature, by wraps


def keep_going[Hook: Callable[..., Any]](hook: Hook) -> Hook:
    """Make a hook that comes after the verdict never disturb the call: what it raises is logged."""

    @functools.wraps(hook)
    def guarded(self: Station, data: Any) -> None:
        try:
            hook(self, data)
        except Exception:
            logger.exception("%s.%s failed", type(self).__name__, hook.__name__)

    return guarded  # type: ignore[return-value]  # the same signature, by wraps


class Station:
    def __init__(self, house: House) -> None:
        self.house = house


class AdmittingStation(Station):
    """A station that needs the whole of what is read of a request.

    That is the head, for operations whose body is none or passes unread, and else the body too: so `admit` runs
    from the first hook or from the second, once.
    """

    admit: Callable[[http.HTTPFlow, Call], None]

    @fail_closed
    def requestheaders(self, flow: http.HTTPFlow) -> None:
        call = self.house.call(flow)
        if not call.reads_body:
            self.admit(flow, call)

    @fail_closed
    def request(self, flow: http.HTTPFlow) -> None:
        call = self.house.call(flow)
        if call.reads_body:
            self.admit(flow, call)


class AsyncAdmittingStation(Station):
    """An admitting station that must wait for something."""

    admit: Callable[[http.HTTPFlow, Call], Awaitable[None]]

    @fail_closed
    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        call = self.house.call(flow)
        if not call.reads_body:
            await self.admit(flow, call)

    @fail_closed
    async def request(self, flow: http.HTTPFlow) -> None:
        call = self.house.call(flow)
        if call.reads_body:
            await self.admit(flow, call)
