"""HTTP/1.1 on either side, which reads what was received of a body together as one piece."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mitmproxy.proxy.events import DataReceived
from mitmproxy.proxy.layers.http import ReceiveHttp, RequestData, ResponseData

from wirekey.core.wire.http1 import BoundedHttp1Client, BoundedHttp1Server
from wirekey.core.wire.speed.body_reading import read_body

if TYPE_CHECKING:
    from mitmproxy.proxy import events
    from mitmproxy.proxy.layer import CommandGenerator


class FastHttp1Server(BoundedHttp1Server):
    """The client's side."""

    framed_stream: int = 0
    """The stream that `is_chunked` was looked up for."""
    is_chunked: bool = False

    @property
    def sends_chunks(self) -> bool:
        """Return whether the body of the response is sent in chunks. Its head must have been sent."""
        if self.framed_stream != self.stream_id:
            assert self.response
            self.framed_stream = self.stream_id
            self.is_chunked = "chunked" in self.response.headers.get("transfer-encoding", "").lower()
        return self.is_chunked

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, DataReceived) and not len(self.buf) and self.state == self.read_body:
            # The bytes of a body need not be copied into the buffer and out of it again.
            body, rest = read_body(self.body_reader, event.data)
            if body:
                yield ReceiveHttp(RequestData(self.stream_id, body))
            if rest is None:
                return
            event = DataReceived(event.connection, rest)
        yield from super()._handle_event(event)


class FastHttp1Client(BoundedHttp1Client):
    """The provider's side."""

    def take_buffer(self) -> bytes:
        """Return what was received and not read, and forget it."""
        taken = bytes(self.buf)
        self.buf.maybe_extract_at_most(len(taken))
        return taken

    def read_body(self, event: events.Event) -> CommandGenerator[None]:
        """Read a response body, all that was received together as one piece."""
        if isinstance(event, DataReceived) and self.stream_id is not None and len(self.buf):
            body, rest = read_body(self.body_reader, self.take_buffer())
            self.buf += rest or b""
            if body:
                yield ReceiveHttp(ResponseData(self.stream_id, body))
            if rest is None:
                return
        yield from super().read_body(event)
