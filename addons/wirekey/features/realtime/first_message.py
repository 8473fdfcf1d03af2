"""A WebSocket that is opened for its client before its provider is connected, to read the client's first message.

Some protocols name the model in that message, which a client sends only after its WebSocket is open. So Wirekey accepts
the WebSocket itself and reads one message. From then on, the message is the body of the request: it is decided, routed,
recorded and perhaps tried at several upstreams like any other. Only then is a connection made to the provider.

Compression (permessage-deflate) must be agreed when the client's WebSocket is opened, and the provider cannot be asked
by then. So Wirekey declines the client's offer, as any server may (RFC 7692, section 5), and makes none to the
provider. Both directions are uncompressed, and their frames pass as they are. Subprotocols are declined, too.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layer import Layer
from wsproto.frame_protocol import CloseReason

from wirekey.features.realtime.frames import (
    Control,
    Opcode,
    ProtocolError,
    WebSocketMessage,
    WebSocketReader,
    close_frame,
    message_frame,
)

if TYPE_CHECKING:
    from mitmproxy.proxy.context import Context
    from mitmproxy.proxy.layer import CommandGenerator

    from wirekey.core.body import RequestBody

LONGEST = 1024 * 1024
"""Bytes of the first message, and of what the client may send before the provider has accepted the WebSocket."""
MOST_CONTROLS = 100
"""Control frames before the first message."""
CLOSING_SECONDS = 2.0
"""Time for the client to confirm the close of its connection."""
UNRESERVED = 64 * 1024
"""Bytes of a message up to which no memory is reserved."""


class FirstMessage:
    """Reads the first message of a client, and keeps what follows it until the provider is connected."""

    def __init__(self) -> None:
        self.opened_at = time.monotonic()
        self.reader = WebSocketReader(from_client=True, limit=LONGEST, holds=True)
        self.message: WebSocketMessage | None = None
        self.frames = b""
        """The message as it was received, or as it is sent if it was changed."""
        self.held = bytearray()
        """The bytes of the client that follow the message."""
        self.received = self.controls = 0
        self.has_overflowed = False

    @property
    def is_complete(self) -> bool:
        """Return whether the first message was received."""
        return self.message is not None

    @property
    def payload(self) -> bytes:
        """Return the content of the first message."""
        return self.message.payload if self.message else b""

    def feed(self, data: bytes) -> list[Control]:
        """Read bytes of the client up to the end of its first message. Return control frames. Raises ProtocolError."""
        self.received += len(data)
        controls: list[Control] = []
        for piece in self.reader.feed(data):
            if isinstance(piece.content, Control):
                controls.append(piece.content)
                self.controls += 1
                if self.controls > MOST_CONTROLS:
                    raise ProtocolError(CloseReason.POLICY_VIOLATION, "too many frames before the first message")
            elif isinstance(piece.content, WebSocketMessage):
                self.message, self.frames = piece.content, piece.data
                self.hold(self.reader.take_rest())
                break
        return controls

    def hold(self, data: bytes) -> None:
        """Keep bytes that follow the first message, up to a limit."""
        self.has_overflowed = self.has_overflowed or len(self.held) + len(data) > LONGEST
        if not self.has_overflowed:
            self.held += data

    def prepare(self, body: RequestBody) -> None:
        """Set the message that is sent: the frames as they were received, unless the body was changed."""
        assert self.message
        if body != self.message.payload:
            self.frames = message_frame(bytes(body[:]), is_text=self.message.is_text, to_server=True)


class ClosingHandshake(Layer):
    """Closes a WebSocket that was never relayed: sends a close frame, and waits for the client's, but not for long."""

    def __init__(self, context: Context, first: FirstMessage, code: int, reason: str) -> None:
        super().__init__(context)
        self.first, self.code, self.reason = first, code, reason
        self.began_at = 0.0
        self.is_over = False

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if self.is_over:
            return
        if isinstance(event, events.Start):
            self.began_at = time.monotonic()
            yield commands.SendData(self.context.client, close_frame(self.code, self.reason, to_server=False))
            if self.is_confirmed_by(bytes(self.first.held)):
                yield from self.finish()
        elif isinstance(event, events.DataReceived):
            if self.is_confirmed_by(event.data):
                yield from self.finish()
        elif isinstance(event, events.ConnectionClosed) or time.monotonic() - self.began_at > CLOSING_SECONDS:
            yield from self.finish()

    def is_confirmed_by(self, data: bytes) -> bool:
        """Return whether these bytes end the closing handshake: a close frame, or no frame at all."""
        try:
            contents = [piece.content for piece in self.first.reader.feed(data)]
        except ProtocolError:
            return True
        return any(isinstance(each, Control) and each.opcode is Opcode.CLOSE for each in contents)

    def finish(self) -> CommandGenerator[None]:
        """Disconnect the client."""
        self.is_over = True
        yield commands.CloseConnection(self.context.client)
