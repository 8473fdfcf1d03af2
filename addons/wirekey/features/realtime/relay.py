"""Relays the frames of a WebSocket between a client and its provider. It replaces mitmproxy's `WebsocketLayer`.

mitmproxy's layer keeps every message on the flow until the connection ends. This one keeps nothing. A message of
the client is held until it is complete and its session has decided it. Frames of the provider pass when they are
complete, and long ones as they arrive. All frames keep their bytes, with masks, fragments and compression.

A side that is silent for long gets a ping of Wirekey's own. Its pong is not passed on.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING

from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layer import Layer
from mitmproxy.proxy.layers.http import HttpResponseHook
from wsproto.frame_protocol import CloseReason

from wirekey.core.call import Outcome
from wirekey.core.tracebacks import safe_traceback
from wirekey.features.realtime.decisions import UNDECIDED, Closing, DecideMessageHook, MessageDecision, PendingDecision
from wirekey.features.realtime.frames import (
    Control,
    Opcode,
    ProtocolError,
    WebSocketMessage,
    WebSocketReader,
    close_code,
    close_frame,
    message_frame,
    ping_frame,
    text_frame,
)
from wirekey.features.realtime.keep_alive import KeepAlive
from wirekey.features.realtime.rate import MessageRate

if TYPE_CHECKING:
    from mitmproxy import http
    from mitmproxy.connection import Connection
    from mitmproxy.proxy.context import Context
    from mitmproxy.proxy.layer import CommandGenerator

    from wirekey.features.realtime.decisions import WebSocketSession
    from wirekey.features.realtime.frames import Piece
    from wirekey.features.realtime.handshake import Compression

logger = logging.getLogger(__name__)

CLOSING_SECONDS = 2.0
"""Time for the client to confirm the close of its connection."""
HIDDEN = b"*"
NORMAL = frozenset({1000, 1001, 1005})
"""Close codes of a connection that ended as planned."""


class WebSocketRelay(Layer):
    """One open WebSocket."""

    def __init__(
        self, context: Context, flow: http.HTTPFlow, session: WebSocketSession, deflate: Compression | None
    ) -> None:
        super().__init__(context)
        self.flow, self.session = flow, session
        limits = session.limits
        self.client_limit = limits.client_message_bytes or limits.message_bytes
        self.from_client = WebSocketReader(from_client=True, limit=self.client_limit, holds=True, deflate=deflate)
        self.from_server = WebSocketReader(from_client=False, limit=limits.message_bytes, holds=False, deflate=deflate)
        self.client_rate = MessageRate(limits.messages_per_second, limits.bytes_per_second)
        self.server_rate = MessageRate(limits.messages_per_second, limits.bytes_per_second)
        self.waiting: deque[Piece] = deque()
        """The frames of the client that were not decided yet."""
        self.waiting_bytes = 0
        self.deciding: tuple[DecideMessageHook, Piece] | None = None
        self.recodes = False
        """Whether compressed messages of the client are sent uncompressed, as one before them was not sent."""
        self.replies: list[bytes] = []
        """Frames for the client that wait until a message of the provider has ended."""
        self.at_message_end = self.at_frame_end = True
        self.active_at = time.monotonic()
        """When a side last sent anything but the pong to a ping of Wirekey's own."""
        self.client_side, self.server_side = KeepAlive(self.active_at), KeepAlive(self.active_at)
        self.received = self.sent = 0
        self.client_closed = self.server_closed = False
        """Whether this side has sent its close frame."""
        self.closing_since = 0.0
        self.closing: Closing | None = None
        """Why Wirekey closes the connection."""
        self.failure: Closing | None = None
        """Why the provider has closed it, if that was not planned."""
        self.server_gone = self.is_over = False

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if self.is_over:
            return
        try:
            if isinstance(event, events.DataReceived):
                if event.connection is self.context.client:
                    yield from self.receive_from_client(event.data)
                else:
                    yield from self.receive_from_server(event.data)
            elif isinstance(event, events.ConnectionClosed):
                yield from self.connection_closed(event.connection)
            elif isinstance(event, events.HookCompleted):
                yield from self.decided(event)
            elif not isinstance(event, events.Start):
                yield from self.on_tick()
        except ProtocolError as error:
            yield from self.close(Closing(error.code, error.reason, Outcome.INTERRUPTED))

    # From the client.

    def receive_from_client(self, data: bytes) -> CommandGenerator[None]:
        """Read frames of the client."""
        self.received += len(data)
        if self.closing:
            yield from self.await_confirmation(data)
            return
        now, before = time.monotonic(), len(self.waiting)
        self.client_side.hear(now)
        pongs = 0
        for piece in self.from_client.feed(data):
            if is_pong(piece, self.client_side):
                pongs += 1
                continue
            self.waiting.append(piece)
            self.waiting_bytes += len(piece.data)
        messages = len(self.waiting) - before
        if messages or not pongs:
            self.active_at = now
        if self.client_rate.add(now, messages=messages, size=len(data)) or (
            self.deciding and self.waiting_bytes > self.client_limit
        ):
            raise ProtocolError(CloseReason.POLICY_VIOLATION, "too many messages: see limits.websocket")
        yield from self.decide_waiting()

    def await_confirmation(self, data: bytes) -> CommandGenerator[None]:
        """Drop what the client still sends, until it has confirmed the close."""
        try:
            confirmed = any(is_close(piece) for piece in self.from_client.feed(data))
        except ProtocolError:
            confirmed = True
        if confirmed:
            yield from self.finish()

    def decide_waiting(self) -> CommandGenerator[None]:
        """Decide on and pass on what the client has sent, in order, until a decision must be waited for."""
        while self.waiting and self.deciding is None and not (self.closing or self.is_over):
            piece = self.waiting.popleft()
            self.waiting_bytes -= len(piece.data)
            if isinstance(piece.content, Control):
                yield from self.pass_control(piece.data, piece.content)
                continue
            assert isinstance(piece.content, WebSocketMessage)
            if self.server_closed:
                continue  # the provider reads nothing any more
            try:
                decision = self.session.decide(piece.content.payload)
            except Exception as error:
                logger.error("a message could not be decided: %s", safe_traceback(error))  # noqa: TRY400  # without its text
                decision = UNDECIDED
            if isinstance(decision, MessageDecision):
                yield from self.carry_out(decision, piece)
                continue
            hook = DecideMessageHook(PendingDecision(decision))
            hook.blocking = self  # type: ignore[assignment]  # true, so that its end is reported here, and not True, which would stop this layer
            self.deciding = hook, piece
            yield hook

    def decided(self, event: events.HookCompleted) -> CommandGenerator[None]:
        """Carry out a decision that had to be waited for, and continue with what was received since."""
        if self.deciding is None or event.command is not self.deciding[0]:
            return
        (hook, piece), self.deciding = self.deciding, None
        if self.closing:
            return
        yield from self.carry_out(hook.pending.decision, piece)
        yield from self.decide_waiting()

    def carry_out(self, decision: MessageDecision, piece: Piece) -> CommandGenerator[None]:
        """Send a message of the client, or what was decided instead."""
        message = piece.content
        assert isinstance(message, WebSocketMessage)
        if not decision.forward or decision.payload is not None:
            # The provider cannot decompress later messages without this one.
            self.recodes = self.recodes or message.is_compressed
        if decision.forward and decision.payload is not None:
            yield from self.to_server(message_frame(decision.payload, is_text=message.is_text, to_server=True))
        elif decision.forward and self.recodes and message.is_compressed:
            yield from self.to_server(message_frame(message.payload, is_text=message.is_text, to_server=True))
        elif decision.forward:
            yield from self.to_server(piece.data)
        if decision.reply is not None:
            self.replies.append(text_frame(decision.reply, to_server=False))
            yield from self.send_replies()
        if decision.closing:
            yield from self.close(decision.closing)

    def pass_control(self, data: bytes, control: Control) -> CommandGenerator[None]:
        """Pass on a control frame of the client."""
        yield from self.to_server(data)
        if control.opcode is Opcode.CLOSE:
            self.client_closed = True
            yield from self.sides_closed()

    # From the provider.

    def receive_from_server(self, data: bytes) -> CommandGenerator[None]:
        """Pass on frames of the provider, and learn from its messages."""
        if self.closing:
            return
        now, before = time.monotonic(), self.active_at
        self.server_side.hear(now)
        self.active_at = now
        for number, piece in enumerate(self.from_server.feed(data)):
            if is_pong(piece, self.server_side):
                self.active_at = now if number else before
                continue
            content, self.active_at = piece.content, now
            passed = self.without_secrets(piece)
            if passed is None:
                yield from self.close(
                    Closing(CloseReason.INTERNAL_ERROR, "a message quoted a credential", Outcome.UPSTREAM_ERROR)
                )
                return
            yield from self.to_client(passed)
            self.at_frame_end, self.at_message_end = piece.ends_frame, piece.ends_message
            if isinstance(content, WebSocketMessage):
                try:
                    self.session.observe(content.payload)
                except Exception as error:
                    logger.error("a message could not be read: %s", safe_traceback(error))  # noqa: TRY400  # without its text
            elif isinstance(content, Control) and content.opcode is Opcode.CLOSE:
                self.server_closed = True
                if close_code(content.payload) not in NORMAL:
                    code = close_code(content.payload)
                    self.failure = Closing(code, "closed by the provider", Outcome.UPSTREAM_ERROR)
                yield from self.sides_closed()
            yield from self.send_replies()
        # Its messages are not counted: a model may write hundreds of words a second.
        if self.server_rate.add(now, size=len(data)):
            raise ProtocolError(CloseReason.POLICY_VIOLATION, "too many bytes: see limits.websocket")
        if not self.server_closed:
            yield from self.close_if_due()

    def without_secrets(self, piece: Piece) -> bytes | None:
        """Return a frame of the provider with secrets masked; None if it is too late to mask one."""
        data = piece.data
        for secret in self.session.secrets:
            if secret in data:
                data = data.replace(secret, HIDDEN * len(secret))
            elif isinstance(piece.content, WebSocketMessage) and secret in piece.content.payload:
                return None
        return data

    def send_replies(self) -> CommandGenerator[None]:
        """Send Wirekey's own messages to the client, unless a message of the provider is unfinished."""
        if self.replies and self.at_message_end and not self.server_closed:
            replies, self.replies = self.replies, []
            yield from self.to_client(b"".join(replies))

    # Sending.

    def to_client(self, data: bytes) -> CommandGenerator[None]:
        """Send bytes to the client."""
        self.sent += len(data)
        yield commands.SendData(self.context.client, data)

    def to_server(self, data: bytes) -> CommandGenerator[None]:
        """Send bytes to the provider."""
        yield commands.SendData(self.context.server, data)

    # The end.

    def on_tick(self) -> CommandGenerator[None]:
        """Check the time limits, and whether the connection must be closed."""
        now = time.monotonic()
        if self.closing_since:
            if now - self.closing_since > CLOSING_SECONDS:
                yield from self.finish()
        elif (yield from self.close_if_due()):
            return
        elif now - self.active_at > self.session.idle:
            reason = "no frame for too long: see timeouts.idle"
            yield from self.close(Closing(CloseReason.GOING_AWAY, reason, Outcome.TIMEOUT))
        else:
            yield from self.check_sides(now, self.session.idle)

    def check_sides(self, now: float, limit: float) -> CommandGenerator[None]:
        """Close the connection if a side no longer responds, and send a ping to one that is silent."""
        for side, name in ((self.client_side, "client"), (self.server_side, "provider")):
            if side.is_gone(now, limit):
                reason = f"the {name} no longer responds: see timeouts.idle"
                yield from self.close(Closing(CloseReason.GOING_AWAY, reason, Outcome.TIMEOUT))
                return
        if self.at_frame_end and (payload := self.client_side.due_ping(now, limit)):
            yield from self.to_client(ping_frame(payload, to_server=False))
        if payload := self.server_side.due_ping(now, limit):
            yield from self.to_server(ping_frame(payload, to_server=True))

    def close_if_due(self) -> CommandGenerator[bool]:
        """Return whether the connection must be closed now, and close it. Announce it before, if the session does."""
        if (notice := self.session.notice()) is not None:
            self.replies.append(text_frame(notice, to_server=False))
            yield from self.send_replies()
        if closing := self.session.due():
            yield from self.close(closing)
        return closing is not None

    def sides_closed(self) -> CommandGenerator[None]:
        """Wait for the rest of the closing handshake, but not for long."""
        if not self.closing_since:
            self.closing_since = time.monotonic()
        if self.client_closed and self.server_gone:
            yield from self.finish()

    def close(self, closing: Closing) -> CommandGenerator[None]:
        """Close the connection with a code that says why."""
        if self.is_over or self.closing:
            return
        self.closing, self.closing_since = closing, time.monotonic()
        if not self.client_closed:
            yield from self.to_server(close_frame(CloseReason.GOING_AWAY, to_server=True))
        yield commands.CloseConnection(self.context.server)
        if self.server_closed or self.client_closed or not self.at_frame_end:
            yield from self.finish()
            return
        if self.at_message_end and self.replies:
            yield from self.send_replies()
        yield from self.to_client(close_frame(closing.code, closing.reason, to_server=False))

    def connection_closed(self, connection: Connection) -> CommandGenerator[None]:
        """End when a side has disconnected. A client may still confirm the close of its provider."""
        if connection is self.context.client:
            yield from self.finish(None if self.client_closed or self.server_closed else Outcome.CLIENT_CANCELLED)
            return
        self.server_gone = True
        if self.closing:
            return  # the client has yet to confirm
        if self.server_closed and not self.client_closed:
            yield from self.sides_closed()
        else:
            yield from self.finish(None if self.server_closed or self.client_closed else Outcome.UPSTREAM_RESET)

    def finish(self, outcome: Outcome | None = None) -> CommandGenerator[None]:
        """Disconnect both sides, and record the end."""
        if self.is_over:
            return
        self.is_over = True
        self.waiting.clear()
        closing = self.closing or self.failure
        ended = (closing.outcome if closing else None) or outcome or Outcome.COMPLETED
        yield commands.CloseConnection(self.context.server)
        yield commands.CloseConnection(self.context.client)
        reason = f"{closing.code}: {closing.reason}" if closing else None
        self.session.end(ended, reason, self.received, self.sent)
        self.flow.live = False
        yield HttpResponseHook(self.flow)


def is_pong(piece: Piece, side: KeepAlive) -> bool:
    """Return whether a piece is the pong of a side to a ping of Wirekey's own."""
    content = piece.content
    return isinstance(content, Control) and content.opcode is Opcode.PONG and side.answers(content.payload)


def is_close(piece: Piece) -> bool:
    """Return whether a piece is a close frame."""
    return isinstance(piece.content, Control) and piece.content.opcode is Opcode.CLOSE
