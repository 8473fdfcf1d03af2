"""HTTP/1.1 framing with bounds: mitmproxy's classes hold heads and chunk lines without end, and fail on trailers."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

from h11 import EndOfMessage
from h11._readers import ChunkedReader
from mitmproxy.connection import ConnectionState
from mitmproxy.net.http import http1
from mitmproxy.proxy import commands
from mitmproxy.proxy.events import DataReceived
from mitmproxy.proxy.layers.http import (
    Http1Client,
    Http1Server,
    ReceiveHttp,
    ResponseEndOfMessage,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._events import ErrorCode

if TYPE_CHECKING:
    from h11 import Data
    from h11._receivebuffer import ReceiveBuffer
    from mitmproxy.proxy import events
    from mitmproxy.proxy.layer import CommandGenerator

MAX_RESPONSE_HEAD_BYTES = 256 * 1024
"""More than any provider sends before the body of an answer."""


class TrailerDroppingReader(ChunkedReader):
    """Reads a chunked body; mitmproxy gives up on one with trailers, which nobody here has a use for."""

    def __call__(self, buf: ReceiveBuffer) -> Data | EndOfMessage | None:
        event = super().__call__(buf)
        return EndOfMessage() if type(event) is EndOfMessage else event


class BoundedHttp1Server(Http1Server):
    """Bounds the bytes of a request head, chunk line or trailer while it arrives."""

    head_bytes: int = 64 * 1024
    head_since: float = 0.0
    """When the first byte of an unfinished head came; 0 where there is none."""

    def read_headers(self, event: events.ConnectionEvent) -> CommandGenerator[None]:
        yield from super().read_headers(event)
        if self.state != self.read_headers or not len(self.buf):
            self.head_since = 0.0
            return
        self.head_since = self.head_since or time.monotonic()
        if len(self.buf) > self.head_bytes:
            yield from self.give_up(431, f"request head larger than {self.head_bytes} bytes (limits.header_bytes)")

    def read_body(self, event: events.Event) -> CommandGenerator[None]:
        yield from super().read_body(event)
        if self.state == self.read_body and len(self.buf) > self.head_bytes:
            yield from self.give_up(400, "chunk line or trailers without end")

    def give_up(self, status: int, reason: str) -> CommandGenerator[None]:
        self.state = self.done
        self.head_since = 0.0
        if self.conn.state & ConnectionState.CAN_WRITE:
            yield commands.SendData(self.conn, bare_error_response(status, reason))
        yield commands.CloseConnection(self.conn)


INTERIM_RESPONSE = re.compile(rb"HTTP/1\.1 1(?!01)\d\d\b")
"""The start of an interim answer, such as 100 Continue or 103 Early Hints; 101 is a final one."""


class BoundedHttp1Client(Http1Client):
    """Bounds the head of an answer while it arrives, and passes over interim ones.

    mitmproxy takes an interim answer for the answer; the real one would then be read as that to the next request,
    which may be another client's.
    """

    had_interim_response = False

    @property
    def is_idle(self) -> bool:
        """Tell whether a request may go out: the response to the last one was read to its end, and nothing after it."""
        return self.stream_id is None and self.request is None and not len(self.buf)

    def read_headers(self, event: events.ConnectionEvent) -> CommandGenerator[None]:
        if self.request and isinstance(event, DataReceived):
            while INTERIM_RESPONSE.match(bytes(self.buf)[: len("HTTP/1.1 100 ")]) and self.buf.maybe_extract_lines():
                self.had_interim_response = True
        elif self.stream_id and self.had_interim_response:
            # Said in other words than where no byte came: the provider has begun with this request.
            yield commands.CloseConnection(self.conn)
            reason = "connection closed after an interim answer"
            yield ReceiveHttp(ResponseProtocolError(self.stream_id, reason, ErrorCode.GENERIC_SERVER_ERROR))
            return
        yield from super().read_headers(event)
        if self.state != self.read_headers or not self.request:
            self.had_interim_response = False
        if self.state == self.read_headers and len(self.buf) > MAX_RESPONSE_HEAD_BYTES and self.stream_id:
            yield commands.CloseConnection(self.conn)
            reason = f"the head of the answer is larger than {MAX_RESPONSE_HEAD_BYTES} bytes"
            yield ReceiveHttp(ResponseProtocolError(self.stream_id, reason, ErrorCode.GENERIC_SERVER_ERROR))
            self.state = self.done

    def read_body(self, event: events.Event) -> CommandGenerator[None]:
        # mitmproxy tells the end of a response before it is done with it. Who sends the next request on hearing of the
        # end would find the connection still taken.
        end = None
        for command in super().read_body(event):
            if isinstance(command, ReceiveHttp) and isinstance(command.event, ResponseEndOfMessage):
                end = command
            else:
                yield command
        if end is not None:
            yield end


def bare_error_response(status: int, reason: str) -> bytes:
    """Phrase an answer for a request of which not even the head is there."""
    from mitmproxy import http

    body = json.dumps({"error": {"message": reason, "type": "invalid_request_error", "code": status}})
    headers = {"content-type": "application/json", "connection": "close"}
    answer: bytes = http1.assemble_response(http.Response.make(status, body, headers))
    return answer
