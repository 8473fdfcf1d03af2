"""HTTP/1.1 on either side, with limits. mitmproxy buffers endless heads and chunk lines, and rejects trailers."""

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
"""More than any provider sends before the body of a response."""
LINGER_SECONDS = 2.0
"""A refused connection is closed after this time, if the client does not close it."""
MAX_LINGER_BYTES = 16 * 1024 * 1024
"""Bytes that are read and dropped on a refused connection."""


class TrailerDroppingReader(ChunkedReader):
    """Reads a chunked body and drops its trailers, which mitmproxy rejects and no addon uses."""

    def __call__(self, buf: ReceiveBuffer) -> Data | EndOfMessage | None:
        """Return the next part of the body, its end without trailers, or None if more data is needed."""
        event = super().__call__(buf)
        return EndOfMessage() if type(event) is EndOfMessage else event


class BoundedHttp1Server(Http1Server):
    """The client's side. Limits the bytes of a request head, chunk line or trailer while it is received."""

    head_bytes: int = 64 * 1024
    head_since: float = 0.0
    """When the first byte of an unfinished head was received, by the monotonic clock; 0 if no head is unfinished."""

    lingers_since: float = 0.0
    """When a request was rejected here, by the monotonic clock; 0 if none was."""
    lingered_bytes: int = 0

    def read_headers(self, event: events.ConnectionEvent) -> CommandGenerator[None]:
        """Read a request head, and reject one that is too long."""
        yield from super().read_headers(event)
        if self.state != self.read_headers or not len(self.buf):
            self.head_since = 0.0
            return
        self.head_since = self.head_since or time.monotonic()
        if len(self.buf) > self.head_bytes:
            yield from self.reject(
                431, f"The request head is larger than {self.head_bytes} bytes (limits.header_bytes)."
            )

    def read_body(self, event: events.Event) -> CommandGenerator[None]:
        """Read a request body, and reject one whose chunk line or trailers are too long."""
        yield from super().read_body(event)
        if self.state == self.read_body and len(self.buf) > self.head_bytes:
            yield from self.reject(400, "A chunk line or the trailers of the request are too long.")

    def reject(self, status: int, message: str) -> CommandGenerator[None]:
        """Respond with an error and close the connection: at first only Wirekey's side, if the client still sends.

        A connection that is closed with unread bytes is reset, and the client may lose the response.
        """
        self.head_since = 0.0
        if not self.conn.state & ConnectionState.CAN_WRITE:
            self.state = self.done
            yield commands.CloseConnection(self.conn)
            return
        self.state = self.linger
        self.lingers_since = time.monotonic()
        self.buf.maybe_extract_at_most(len(self.buf))
        yield commands.SendData(self.conn, bare_error_response(status, message))
        yield commands.CloseTcpConnection(self.conn, half_close=True)

    def linger(self, event: events.ConnectionEvent) -> CommandGenerator[None]:
        """Drop what the client sends after its request was rejected."""
        if isinstance(event, DataReceived):
            self.lingered_bytes += len(event.data)
            self.buf.maybe_extract_at_most(len(self.buf))
            if self.lingered_bytes <= MAX_LINGER_BYTES:
                return
        self.state = self.done
        yield commands.CloseConnection(self.conn)

    def check_linger(self, now: float) -> CommandGenerator[None]:
        """Close a connection on which a request was rejected a while ago."""
        if self.lingers_since and now - self.lingers_since > LINGER_SECONDS:
            self.lingers_since = 0.0
            self.state = self.done
            yield commands.CloseConnection(self.conn)


INTERIM_RESPONSE = re.compile(rb"HTTP/1\.1 1(?!01)\d\d\b")
"""The start of an interim response, such as 100 Continue or 103 Early Hints. 101 is a final one."""


class BoundedHttp1Client(Http1Client):
    """The provider's side. Limits the head of a response while it is received, and drops interim responses.

    mitmproxy takes an interim response for the final one. The final one would then be read as the response to the next
    request, which may be another client's.
    """

    had_interim_response = False

    @property
    def is_idle(self) -> bool:
        """Return whether a request can be sent: the last response was read to its end, and nothing followed."""
        return self.stream_id is None and self.request is None and not len(self.buf)

    def read_headers(self, event: events.ConnectionEvent) -> CommandGenerator[None]:
        """Read a response head, skip interim responses, and end a response whose head is too long."""
        if self.request and isinstance(event, DataReceived):
            while INTERIM_RESPONSE.match(bytes(self.buf)[: len("HTTP/1.1 100 ")]) and self.buf.maybe_extract_lines():
                self.had_interim_response = True
        elif self.stream_id and self.had_interim_response:
            # The provider has begun to process the request, so it must not be sent again. This error therefore differs
            # from the one for a connection that ends before any byte.
            yield commands.CloseConnection(self.conn)
            reason = "connection closed after an interim response"
            yield ReceiveHttp(ResponseProtocolError(self.stream_id, reason, ErrorCode.GENERIC_SERVER_ERROR))
            return
        yield from super().read_headers(event)
        if self.state != self.read_headers or not self.request:
            self.had_interim_response = False
        if self.state == self.read_headers and len(self.buf) > MAX_RESPONSE_HEAD_BYTES and self.stream_id:
            yield commands.CloseConnection(self.conn)
            reason = f"the response head is larger than {MAX_RESPONSE_HEAD_BYTES} bytes"
            yield ReceiveHttp(ResponseProtocolError(self.stream_id, reason, ErrorCode.GENERIC_SERVER_ERROR))
            self.state = self.done

    def read_body(self, event: events.Event) -> CommandGenerator[None]:
        """Read a response body, and report its end last."""
        # mitmproxy reports the end of a response before the connection is ready for the next request. A stream that
        # sends one at once, to retry, would find the connection busy.
        end = None
        for command in super().read_body(event):
            if isinstance(command, ReceiveHttp) and isinstance(command.event, ResponseEndOfMessage):
                end = command
            else:
                yield command
        if end is not None:
            yield end


def bare_error_response(status: int, message: str) -> bytes:
    """Return the bytes of an error response to a request without a complete head, in the shape of OpenAI's errors."""
    from mitmproxy import http

    body = json.dumps({"error": {"message": message, "type": "invalid_request_error", "code": status}})
    headers = {"content-type": "application/json", "connection": "close"}
    response: bytes = http1.assemble_response(http.Response.make(status, body, headers))
    return response
