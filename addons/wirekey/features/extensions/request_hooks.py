"""Runs the operator's extensions on each request, after its agent is known and before it is recognised and decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.addons.base import Addon
from wirekey.core.addons.recognition import Recognition
from wirekey.core.body import READ_AS_JSON, Body
from wirekey.core.call import Call
from wirekey.core.calls.credential_removal import strip
from wirekey.core.egress.web_pages import PREFLIGHT_REFUSED
from wirekey.core.errors import Fault, Refusal
from wirekey.extension import ExtensionError
from wirekey.features.extensions.calls import ask_hooks, byte_fields, extension_failed, request_for_hooks, respond
from wirekey.features.extensions.functions import HooksInUse
from wirekey.providers.formats import HTTP_INSTEAD
from wirekey.providers.registry import PROVIDERS
from wirekey.providers.request_head import check_headers

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mitmproxy import http

    from wirekey.core.addons.order import AddonOrder
    from wirekey.core.calls.services import Services
    from wirekey.core.operation import Operation

HOOKS_NEED_HTTP = Refusal(
    426, "extensions_need_http", "Extensions of Wirekey's operator read each request, and not WebSockets. Use HTTP."
)
TOO_LARGE = Refusal(
    413, "request_too_large", "An extension made a request body that is larger than limits.body_bytes.", Fault.OPERATOR
)


class RequestHooks(Addon):
    """Asks `on_request` of each extension, which may change headers and body, or respond.

    If the operation reads its body, the extensions run when the body is complete, and otherwise at the head. The
    request that they leave is recognised, decided and sent. Without extensions it does nothing.
    """

    def __init__(self, services: Services, order: AddonOrder) -> None:
        super().__init__(services)
        self.order = order

    def requestheaders(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Ask about a request of which only the head is read."""
        if self.services.settings.features.find(HooksInUse) is None:
            return None
        call = self.calls.of(flow)
        if call.provider is None:
            return None
        operation = self.operation_of(flow.request, call)
        if operation and operation.body in (*READ_AS_JSON, Body.MULTIPART):
            return None
        if operation and operation.name in HTTP_INSTEAD and "upgrade" in flow.request.headers:
            return self.ask_about_connection(flow, call)
        return self.ask(flow, call, None)

    async def ask_about_connection(self, flow: http.HTTPFlow, call: Call) -> None:
        """Ask about a connection whose messages are requests. Raises Refusal(426) if one wants to see each request."""
        await self.ask(flow, call, None)
        used = self.services.settings.features.find(HooksInUse)
        if flow.response is None and used and any(hook.on_request is not None for hook in used.hooks):
            raise HOOKS_NEED_HTTP

    def request(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Ask about a request whose body is read."""
        if self.services.settings.features.find(HooksInUse) is None:
            return None
        call = self.calls.of(flow)
        return self.ask(flow, call, call.operation) if call.reads_body else None

    def operation_of(self, request: http.Request, call: Call) -> Operation | None:
        """Return the operation of a request by its head."""
        assert call.provider
        path = PROVIDERS[call.provider].operations.plain_target(request.path).partition("?")[0]
        return PROVIDERS[call.provider].operations.match_operation(request.method, path, request.headers)

    async def ask(self, flow: http.HTTPFlow, call: Call, operation: Operation | None) -> None:
        """Ask the extensions, and apply what they return. `operation`: None if only the head is read.

        Raises Refusal if one refuses or fails.
        """
        state, request = self.calls.state(flow), self.calls.request(flow)
        content = state.body if operation else None
        is_json = operation is not None and operation.body in READ_AS_JSON
        if content is not None and is_json:
            await self.order.get(Recognition).check_large(call, content)
        shown = request_for_hooks(call, request, content, is_json=is_json)
        used = self.services.settings.features.find(HooksInUse)
        result, response, name = await ask_hooks(used.hooks if used else (), shown)
        if response is not None:
            respond(self.calls, flow, response, name)
            return
        if result.headers is not shown.headers:
            request.headers.fields = byte_fields(result.headers)
            check_headers(request.headers.fields)
            if operation and self.operation_of(request, call) != operation:
                error = ExtensionError("its headers make the request another operation")
                raise extension_failed("An extension failed for this call", error)
        if operation and result.content is not content:
            assert result.content is not None
            if len(result.content) > self.services.settings.limits.body_bytes:
                raise TOO_LARGE
            self.calls.reserve(flow, len(result.content))
            state.body = result.content


def respond_to_preflight(services: Services, flow: http.HTTPFlow) -> Awaitable[None] | None:
    """Return what asks the extensions about the preflight of a browser; None without extensions."""
    used = services.settings.features.find(HooksInUse)
    return ask_about_preflight(services, flow, used) if used else None


async def ask_about_preflight(services: Services, flow: http.HTTPFlow, used: HooksInUse) -> None:
    """Respond to the preflight of a browser as the extensions say. Raises Refusal if none responds."""
    address = services.calls.client_address(flow)
    strip(flow.request)
    shown = request_for_hooks(Call(client=address), flow.request, None, is_preflight=True)
    _, response, name = await ask_hooks(used.hooks, shown)
    if response is None:
        raise PREFLIGHT_REFUSED
    respond(services.calls, flow, response, name)
