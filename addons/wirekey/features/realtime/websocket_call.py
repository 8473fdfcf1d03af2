"""The call that opens a WebSocket, as the wire layer sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from wirekey.core.body import Body
from wirekey.core.calls.agent_check import STOPPING
from wirekey.core.calls.guard import guard
from wirekey.core.credentials.agent_tokens import text_without_tokens
from wirekey.core.errors import INTERNAL_ERROR
from wirekey.core.header_fields import by_name
from wirekey.features.realtime.closing import GOING_AWAY, INTERNAL, close_code
from wirekey.features.realtime.protocols import protocol_of
from wirekey.features.realtime.responses_session import ResponsesSession
from wirekey.features.realtime.session import RealtimeSession
from wirekey.providers.formats import HTTP_INSTEAD

if TYPE_CHECKING:
    from mitmproxy import http

    from wirekey.core.calls.services import Services
    from wirekey.features.realtime.http_conversations import HttpConversations
    from wirekey.features.realtime.messages import RequestProtocol


class OpenedCalls:
    """Implements `wirekey.features.realtime.decisions.WebSocketCall` for all calls of a process."""

    def __init__(self, services: Services, by_http: HttpConversations) -> None:
        self.services, self.calls, self.states = services, services.calls, services.calls.states
        self.by_http = by_http

    @guard(on_error=lambda *_: None)
    def key_to_accept(self, flow: http.HTTPFlow) -> str | None:
        """Return the client's Sec-WebSocket-Key if the call is decided by its first message; else None."""
        operation = self.states[flow.id].call.operation
        if operation is None or operation.body is not Body.MESSAGE:
            return None
        key: str = self.calls.request(flow).headers["sec-websocket-key"]
        return key

    @guard(on_error=lambda *_: (INTERNAL, INTERNAL_ERROR.code))
    def closing(self, flow: http.HTTPFlow) -> tuple[int, str]:
        """Return the close code and reason of a WebSocket whose call was refused."""
        call = self.states[flow.id].call
        if call.refusal_code is None:
            refusing = "The provider" if call.attempts else "An extension of Wirekey"
            return close_code(call.status or 502), f"{refusing} refused the WebSocket: HTTP status {call.status}."
        code = GOING_AWAY if call.refusal_code == STOPPING.code else close_code(call.status or 500)
        return code, text_without_tokens(call.policy_reason or call.refusal_code)

    @guard(on_error=lambda *_: None)
    def session(self, flow: http.HTTPFlow) -> RealtimeSession | None:
        """Return the session of a connection that was opened."""
        state = self.states[flow.id]
        assert state.call.provider
        assert state.call.operation
        protocol = protocol_of(state.call.provider, state.call.operation.name)
        request = self.calls.request(flow)
        headers = by_name(request.headers.fields)
        if state.call.operation.name in HTTP_INSTEAD:
            requests = cast("RequestProtocol", protocol)
            return ResponsesSession(self.services, state, requests, headers, request, by_http=self.by_http)
        return RealtimeSession(self.services, state, protocol, headers)
