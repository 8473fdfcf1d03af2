"""Carries the conversations of one process: what the core asks about WebSockets and streams in two directions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wirekey.core.body import Body
from wirekey.core.calls.agent_check import STOPPING
from wirekey.core.calls.conversations import UPGRADE_REFUSED, Conversations
from wirekey.core.subprotocol_keys import PROTOCOLS
from wirekey.features.realtime.bedrock_stream import TwoWayStream
from wirekey.features.realtime.handshake import (
    EXTENSIONS,
    NO_WEBSOCKET,
    check_request,
    route_needs_http,
)
from wirekey.features.realtime.http_conversations import HttpConversations
from wirekey.features.realtime.opening import WebSocketOpening
from wirekey.features.realtime.two_way import check_events, check_upstream, is_between_turns
from wirekey.features.realtime.two_way_events import events_to_send
from wirekey.features.realtime.two_way_turns import TwoWayTurns, turns_of
from wirekey.features.realtime.websocket_call import OpenedCalls
from wirekey.providers.formats import HTTP_INSTEAD
from wirekey.providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mitmproxy import http
    from mitmproxy.connection import Server
    from mitmproxy.proxy.commands import StartHook

    from wirekey.core.call import Call, Outcome
    from wirekey.core.calls.attempt_state import AttemptState
    from wirekey.core.calls.conversations import Fields
    from wirekey.core.calls.services import Services
    from wirekey.core.calls.state import CallState
    from wirekey.core.errors import Refusal
    from wirekey.core.operation import Operation, ResponseReader
    from wirekey.core.wire.stream import WireStream
    from wirekey.core.wire.takeover import StreamTakeover

EVENT_STREAM = "application/vnd.amazon.eventstream"
NOT_FOR_MESSAGES = frozenset({EXTENSIONS.encode(), PROTOCOLS.encode(), b"content-length"})


class CarriedConversations(Conversations):
    """Carries WebSockets and streams in two directions."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.http_conversations = HttpConversations()
        self.opened_calls = OpenedCalls(services, self.http_conversations)

    # The opening.

    def check_upgrade(self, request: http.Request, headers: Mapping[str, str]) -> None:
        """Raise Refusal(400) unless a request opens a WebSocket as RFC 6455 says."""
        check_request(request.method, request.http_version, headers)

    def open(self, flow: http.HTTPFlow, state: CallState, operation: Operation, query: Mapping[str, str]) -> Operation:
        """Return the operation of a conversation, with its model if the head names it. Raises Refusal."""
        request = flow.request
        if operation.body is Body.EVENTS:
            check_events(request)
            return operation
        if "upgrade" not in request.headers:
            raise NO_WEBSOCKET
        assert state.call.provider
        operation = PROVIDERS[state.call.provider].operations.read_upgrade(operation, query)
        self.check_connection(state.call, operation, request.headers)
        return operation

    def check_connection(self, call: Call, operation: Operation, headers: http.Headers) -> None:
        """Raise Refusal(426) if the requests that a connection would carry must come by HTTP."""
        if operation.name not in HTTP_INSTEAD:
            return
        if (model := self.http_conversations.model_of(call, headers)) is not None:
            raise route_needs_http(model)

    def refusal_of(self, operation: Operation, refusal: Refusal) -> Refusal:
        """Return the refusal of a connection, with a status that makes its program use HTTP if it can.

        By HTTP, each request is decided by itself, and those that are refused get their usual status.
        """
        if operation.name not in HTTP_INSTEAD or refusal.status not in {400, 403, 503}:
            return refusal
        return replace(refusal, status=UPGRADE_REFUSED.status, message=f"{refusal.message} Use HTTP.")

    # WebSockets.

    def takeover(self, stream: WireStream) -> StreamTakeover:
        """Return what opens the WebSocket of a call."""
        return WebSocketOpening(stream, self.opened_calls)

    def fields_to_send(self, operation: Operation, fields: Fields) -> Fields:
        """Return the header fields of a request that opens a WebSocket.

        If its first message was read, the client was told that there are no extensions and no subprotocol, and the
        message is sent after the head.
        """
        if operation.body is Body.MESSAGE:
            fields = tuple(field for field in fields if field[0].lower() not in NOT_FOR_MESSAGES)
        return (*fields, (b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"))

    # Streams in two directions.

    def check_upstream(self, state: CallState, server: Server) -> None:
        """Raise Refusal unless the events of a call can be signed and sent over this connection."""
        check_upstream(state, server)

    def sign_events(self, state: CallState, attempt: AttemptState) -> None:
        """Sign the events of a call from now on, in the chain of the head that is sent."""
        assert attempt.aws
        received = self.services.agent_signatures.received_events(state)
        signature = attempt.signature.decode()
        state.features.put(
            self.services.upstream_signatures.resigner(received, attempt.aws, attempt.signing_host, signature)
        )

    def request_parts(self, flow: http.HTTPFlow, state: CallState, data: bytes) -> Iterator[bytes | StartHook]:
        """Yield the verified events of a part of a request, and what to wait for. Raises RequestRefused."""
        return events_to_send(self.services, flow, state, data)

    def reader(self, flow: http.HTTPFlow, state: CallState, content_type: str) -> ResponseReader | None:
        """Return the reader of a response, which reports the turns of its model."""
        if not content_type.lower().startswith(EVENT_STREAM):
            return None
        reader = TwoWayStream()
        reader.report = turns_of(self.services, flow, state).observe
        return reader

    def due(self, state: CallState) -> Refusal | None:
        """Return why a stream must end now: its last turn was not allowed, or the process ends and no turn runs."""
        if self.services.drain.has_begun and is_between_turns(state):
            return STOPPING
        turns = state.features.find(TwoWayTurns)
        return turns.due() if turns else None

    def end(self, state: CallState, outcome: Outcome, reader: ResponseReader | None) -> None:
        """Record the turns that have not ended."""
        if turns := state.features.find(TwoWayTurns):
            turns.end(outcome, reader)
