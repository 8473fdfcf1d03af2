"""Runs the operator's extensions on the head of each response, and after each call."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from wirekey.core.addons.base import Addon
from wirekey.core.calls.response_copy import ResponseCopy
from wirekey.core.errors import Fault, Refusal
from wirekey.extension import EndedCall, ExtensionError, ResponseHead
from wirekey.features.extensions.calls import (
    ask_about_response,
    byte_fields,
    call_info,
    text_fields,
)
from wirekey.features.extensions.functions import HooksInUse
from wirekey.features.extensions.running import run_limited

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mitmproxy import http

    from wirekey.core.call import Call
    from wirekey.core.calls.services import Services
    from wirekey.core.calls.state import CallState
    from wirekey.features.extensions.running import RequestHook

logger = logging.getLogger(__name__)

MOST_PENDING = 1000
"""Calls of `on_end` in progress. Beyond this number, further ones are left out."""


class ResponseHooks(Addon):
    """Asks `on_response` of each extension, which may change the headers of a response, and then `on_end`.

    The key is already masked in the head. If an extension fails, the response is refused before its first byte goes to
    the client. It leaves the refusal in the state for the wire layer. Without extensions it does nothing.
    """

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self.copies: dict[str, ResponseCopy] = {}
        """The bodies of responses for `on_end`, by the id of their call."""
        self.pending: set[asyncio.Task[None]] = set()
        services.events.observers.append(self)

    def responseheaders(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Ask about the head of a response."""
        used = self.services.settings.features.find(HooksInUse)
        if used is None:
            return None
        hooks = used.hooks
        state = self.calls.find(flow)
        if state is None or flow.response is None or state.refused_response is not None:
            return None
        if state.call.status is None and any(hook.on_end and hook.keeps_response_body for hook in hooks):
            copy = self.copies[state.call.id] = ResponseCopy(flow.response.headers.get("content-encoding", ""))
            state.response_copies += (copy,)
        if not any(hook.on_response for hook in hooks):
            return None
        return self.ask(flow, flow.response, state, hooks)

    async def ask(
        self, flow: http.HTTPFlow, response: http.Response, state: CallState, hooks: tuple[RequestHook, ...]
    ) -> None:
        """Ask the extensions, and set the headers that they return."""
        call = state.call
        head = ResponseHead(text_fields(response.headers), response.status_code, by_wirekey=call.status is not None)
        try:
            result = await ask_about_response(hooks, call_info(call), head)
        except (ExtensionError, Refusal) as error:
            if head.by_wirekey:
                logger.warning("an extension failed for a response of Wirekey: %s", reason_of(error))
            elif isinstance(error, Refusal):
                state.refused_response = error
            else:
                state.refused_response = response_failed(error)
            return
        if result.headers is not head.headers:
            response.headers.fields = byte_fields(result.headers)

    # Observes calls.

    def began(self, call: Call) -> None:
        """Do nothing: extensions have decided on the request."""

    def ended(self, call: Call) -> None:
        """Start `on_end` of the extensions. Nothing waits for them."""
        copy = self.copies.pop(call.id, None)
        used = self.services.settings.features.find(HooksInUse)
        for hook in used.hooks if used else ():
            if hook.on_end is None:
                continue
            if len(self.pending) >= MOST_PENDING:
                logger.warning("%s is too slow: its on_end is left out for a call", hook.name)
                continue
            body = copy.content() if copy and hook.keeps_response_body else None
            task = asyncio.get_running_loop().create_task(self.end(hook, ended_call(call, body)))
            self.pending.add(task)
            task.add_done_callback(self.pending.discard)

    async def end(self, hook: RequestHook, ended: EndedCall) -> None:
        """Run `on_end` of one extension."""
        assert hook.on_end
        try:
            await run_limited(hook.name, hook.time_limit, hook.on_end, ended)
        except (ExtensionError, Refusal) as error:
            logger.warning("on_end of an extension failed: %s", reason_of(error), extra={"call": ended.id})


def response_failed(error: ExtensionError) -> Refusal:
    """Return the refusal of a response for which an extension failed."""
    message = f"An extension failed for the response to this call, so Wirekey removed it: {error}."
    return Refusal(503, "extension_failed", message, Fault.OPERATOR)


def reason_of(error: ExtensionError | Refusal) -> str:
    """Return the reason of a failure for the log."""
    return error.code if isinstance(error, Refusal) else str(error)


def ended_call(call: Call, body: bytes | None) -> EndedCall:
    """Return what an extension may know of a call that has ended."""
    info, usage = call_info(call), call.usage
    return EndedCall(
        **{name: getattr(info, name) for name in type(info).__dataclass_fields__},
        status=call.status,
        outcome=call.outcome.value if call.outcome else None,
        input_tokens=usage.input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        cost_usd=call.cost_usd,
        duration_ms=call.duration_ms,
        response_body=body,
    )
