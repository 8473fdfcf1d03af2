"""The body of one request while it is received from the client, and while it is sent to the provider.

Receiving: the first part is kept as it came, so that a body of one part is never copied. Further parts are collected in
memory up to `SPOOL_ABOVE` bytes and in a spool file above. Memory is reserved before a part is kept.

Sending: a body in memory is sent at once. A spooled body is sent `SEND_AHEAD` bytes at a time, each time after the
connection has written nearly all of what came before: what is sent faster would wait in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mitmproxy.proxy.layers.http import RequestData, RequestEndOfMessage, SendHttp

from wirekey.core.body import PIECE, SPOOL_ABOVE, Spool
from wirekey.core.errors import Refusal
from wirekey.core.wire.connection_handler import WakeWhenWritten

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mitmproxy import http
    from mitmproxy.connection import Connection
    from mitmproxy.proxy import commands
    from mitmproxy.proxy.layer import CommandGenerator

    from wirekey.core.body import RequestBody, SpooledBody
    from wirekey.core.wire.delegate import WireDelegate

SEND_AHEAD = 1024 * 1024
"""Bytes of a spooled body that are sent before the connection must have written them; a whole number of pieces."""
RESERVE_AHEAD = 256 * 1024
"""Bytes that are reserved at a time for a body whose length is not known."""
SHORT_PART = 4 * 1024
"""Bytes of a part that is joined with the next one. Many tiny parts would take many times their bytes in memory."""


class RequestBuffer:
    """Holds a request body in memory or in a spool file, within limits, and sends it as fast as it is written.

    One per stream. It holds nothing after `finish`, after `discard`, and once the last piece was sent.
    """

    def __init__(self, stream_id: int, delegate: WireDelegate) -> None:
        self.stream_id = stream_id
        self.delegate = delegate
        self.size = 0
        """Bytes received."""
        self._reserved = 0
        """Bytes that may be held."""
        self._first = b""
        """The first part, or the only one."""
        self._parts: list[bytes] | Spool | None = None
        """All parts, the first included, once there are two."""
        self._unsent: Iterator[bytes] | None = None
        """The pieces of a spooled body that were not sent yet."""
        self._wakeup: WakeWhenWritten | None = None
        """The command that waits until the connection has written what was sent."""

    # Receiving.

    def append(self, flow: http.HTTPFlow, data: bytes) -> None:
        """Keep the next part of the body. Raises Refusal if it exceeds a limit, or if the disk cannot take it."""
        self.size += len(data)
        if self.size > self.delegate.limits.body_bytes:
            raise too_large(self.delegate.limits.body_bytes)
        if self.size > self._reserved:
            ahead = RESERVE_AHEAD if self._reserved else 0  # most bodies arrive as one part
            self._reserved = self.delegate.reserve_memory(flow, self.size + ahead)
        if not self._first:
            self._first = data
            return
        parts = self._parts
        if parts is None:
            parts = self._parts = [self._first]
        elif self.size > SPOOL_ABOVE and isinstance(parts, list):
            in_memory, parts = parts, self.delegate.open_spool(flow)
            self._parts = parts
            for part in in_memory:
                parts.write(part)
        if not isinstance(parts, list):
            parts.write(data)
        elif len(parts[-1]) < SHORT_PART:
            parts[-1] += data
        else:
            parts.append(data)

    def finish(self) -> RequestBody:
        """Return the whole body. Raises Refusal."""
        first, parts = self._first, self._parts
        self._first, self._parts = b"", None
        return first if parts is None else b"".join(parts) if isinstance(parts, list) else parts.finish()

    def discard(self) -> None:
        """Release the body, whether it is being received or sent, and close its file."""
        if isinstance(self._parts, Spool):
            self._parts.close()
        self._first, self._parts = b"", None
        self._unsent = self._wakeup = None

    # Sending.

    @property
    def is_sending(self) -> bool:
        """Return whether a part of a spooled body was not sent yet."""
        return self._unsent is not None

    @property
    def can_send_more(self) -> bool:
        """Return whether there is more to send, and the connection has written what was sent before."""
        return self._unsent is not None and self._wakeup is None

    def send_all(self, body: bytes, connection: Connection) -> CommandGenerator[None]:
        """Send a body that is in memory, and the end of the request."""
        # In pieces: asyncio's TLS keeps a buffer as large as its largest write until the connection ends.
        for start in range(0, len(body), PIECE):
            yield SendHttp(RequestData(self.stream_id, body[start : start + PIECE]), connection)
        yield SendHttp(RequestEndOfMessage(self.stream_id), connection)

    def start_sending(self, body: SpooledBody) -> None:
        """Start to send a spooled body. `send_more` sends its pieces."""
        self._unsent = body.pieces()

    def send_more(self, connection: Connection) -> CommandGenerator[None]:
        """Send the next `SEND_AHEAD` bytes of a spooled body, or the rest of it and the end of the request."""
        for _ in range(SEND_AHEAD // PIECE):
            if self._unsent is None:
                return
            piece = next(self._unsent, None)
            if piece is None:
                self.discard()
                yield SendHttp(RequestEndOfMessage(self.stream_id), connection)
                return
            yield SendHttp(RequestData(self.stream_id, piece), connection)
        self._wakeup = WakeWhenWritten(connection)
        yield self._wakeup

    def is_woken_by(self, command: commands.RequestWakeup) -> bool:
        """Return whether a completed command is the one waited for, and not one of a cancelled attempt."""
        if command is not self._wakeup:
            return False
        self._wakeup = None
        return True


def too_large(limit: int) -> Refusal:
    """Return the error for a body of more than `limit` bytes."""
    return Refusal(
        413, "request_too_large", f"The request body is larger than limits.body_bytes allows ({limit} bytes)."
    )
