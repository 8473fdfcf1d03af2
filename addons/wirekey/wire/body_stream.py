"""The body of a request on its way in and out: in memory or, above `SPOOL_ABOVE`, in a file; sent as there is room."""

from __future__ import annotations

import time
from functools import cached_property
from io import BytesIO
from typing import TYPE_CHECKING

from mitmproxy.proxy.layers.http import HttpStream, RequestData, RequestEndOfMessage, SendHttp
from mitmproxy.proxy.layers.http._base import HttpEvent

from wirekey.errors import Refusal
from wirekey.wire.connection import RoomToSend
from wirekey.wire.request_body import PIECE, SPOOL_ABOVE, Spool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mitmproxy.proxy import commands
    from mitmproxy.proxy.context import Context
    from mitmproxy.proxy.layer import CommandGenerator

    from wirekey.wire.delegate import WireDelegate
    from wirekey.wire.layer import WireLayer
    from wirekey.wire.request_body import RequestBody

AHEAD = 1024 * 1024
"""Bytes of a spooled body that are handed on before it is waited until they are sent; a whole number of pieces."""
RESERVED_AHEAD = 256 * 1024
"""Bytes that are reserved at a time for a body whose length is not known."""


class RoomAgain(HttpEvent):
    """An HTTP/2 provider may have opened its window; sent to each stream that has more of its body to send."""


class BodyStream(HttpStream):
    delegate: WireDelegate
    sent_at = 0.0

    def __init__(self, context: Context, stream_id: int, delegate: WireDelegate) -> None:
        super().__init__(context, stream_id)
        self.delegate = delegate
        self.body = b""
        """The first piece of it; `more` has all, once there are two."""
        self.more: BytesIO | Spool | None = None
        self.body_size = 0
        self.reserved = 0
        """Bytes that may be held of it."""
        self.unsent: Iterator[bytes] | None = None
        """What the provider has not got yet of a spooled body."""
        self.asked_for_room: RoomToSend | None = None

    # From the client.

    def add_to_body(self, data: bytes) -> None:
        """Keep what came. Raises Refusal where it is too much, for the limit or for the disk."""
        self.body_size += len(data)
        if self.body_size > self.delegate.limits.body_bytes:
            raise too_large(self.delegate.limits.body_bytes)
        if self.body_size > self.reserved:
            ahead = RESERVED_AHEAD if self.reserved else 0  # most bodies come at once
            self.reserved = self.delegate.reserve(self.flow, self.body_size + ahead)
        if not self.body:
            self.body = data
            return
        if self.more is None:
            self.more = BytesIO()
            self.more.write(self.body)
        elif self.body_size > SPOOL_ABOVE and isinstance(self.more, BytesIO):
            in_memory, self.more = self.more, self.delegate.spool(self.flow)
            self.more.write(in_memory.getvalue())
        self.more.write(data)

    def take_body(self) -> RequestBody:
        """Give what there is of the body, without a copy of what came in pieces. Raises Refusal."""
        body, more = self.body, self.more
        self.body, self.more = b"", None
        return body if more is None else more.getvalue() if isinstance(more, BytesIO) else more.finish()

    def drop_body(self) -> None:
        """Let go of the body, arriving or leaving, and of its file."""
        if isinstance(self.more, Spool):
            self.more.close()
        self.body, self.more = b"", None
        if self.unsent is not None:
            self.unsent = self.asked_for_room = None
            self.layer.sending.discard(self)

    # To the provider.

    def send_body(self, body: RequestBody) -> CommandGenerator[None]:
        """Send it all, and the end of the request."""
        if not isinstance(body, bytes):
            self.unsent = body.pieces()
            self.layer.sending.add(self)
            yield from self.send_on()
            return
        # In pieces: what TLS is given at once it keeps room for as long as the connection lives.
        for start in range(0, len(body), PIECE):
            yield SendHttp(RequestData(self.stream_id, body[start : start + PIECE]), self.context.server)
        yield SendHttp(RequestEndOfMessage(self.stream_id), self.context.server)

    def send_on(self) -> CommandGenerator[None]:
        """Send more of a spooled body where there is room: what is handed on before would be held in memory."""
        if self.asked_for_room or self.layer.holds_back(self):
            return
        for _ in range(AHEAD // PIECE):
            if self.unsent is None:
                return
            self.sent_at = time.monotonic()
            piece = next(self.unsent, None)
            if piece is None:
                self.drop_body()
                yield SendHttp(RequestEndOfMessage(self.stream_id), self.context.server)
                return
            yield SendHttp(RequestData(self.stream_id, piece), self.context.server)
        self.asked_for_room = RoomToSend(self.context.server)
        yield self.asked_for_room

    def has_room(self, answered: commands.RequestWakeup) -> CommandGenerator[None]:
        if answered is self.asked_for_room:  # and not of an attempt that was given up
            self.asked_for_room = None
            yield from self.send_on()

    @cached_property
    def layer(self) -> WireLayer:
        return self.context.layers[self.context.layers.index(self) - 1]  # type: ignore[return-value]  # it made us


def too_large(limit: int) -> Refusal:
    return Refusal(
        413, "request_too_large", f"The request body is larger than limits.body_bytes allows ({limit} bytes)."
    )
