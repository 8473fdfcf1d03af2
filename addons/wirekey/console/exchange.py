"""One request and its response on a connection that tornado reads.

A client that sends more than is read gets the response at once and may continue sending for a while. Closing the
connection while the client still sends would discard the response.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, ResponseStartLine

from wirekey.console.local_request import BODY_BYTES, parse_local_request, wrong_head
from wirekey.console.reply import Streamed
from wirekey.console.router import headers_of, too_long
from wirekey.local_response import LocalResponse, local_error
from wirekey.tracebacks import safe_traceback

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tornado.http1connection import HTTP1Connection
    from tornado.httputil import RequestStartLine

    from wirekey.console.local_request import LocalRequest
    from wirekey.console.reply import LocalReply

logger = logging.getLogger(__name__)

DRAINED_BYTES = 16 * 1024 * 1024
"""Bytes of an unread body that are received and discarded before the connection is closed."""


class Exchange(HTTPMessageDelegate):
    """Handles one request. `patience`: seconds within which the client must receive the response."""

    def __init__(
        self, connection: HTTP1Connection, address: str, respond: Callable[[LocalRequest], LocalReply], patience: float
    ) -> None:
        self._connection = connection
        self._address = address
        self._handler = respond
        self._patience = patience
        self._request: LocalRequest | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._responded = False
        self._finished = False

    def headers_received(self, start_line: object, headers: HTTPHeaders) -> None:
        """Check the head, and respond at once if it is invalid or announces a body that is too long."""
        line: RequestStartLine = start_line  # type: ignore[assignment]  # of a server's connection
        fields = tuple(headers.get_all())
        request = self._request = parse_local_request(line.method, line.path, fields, self._address)
        if wrong := wrong_head(line.path, line.version, fields):
            self._send(wrong, closing=True)
            self._finish()
            return
        declared = headers.get("Content-Length", "")
        # tornado rejects any other value next.
        if declared.isascii() and declared.isdecimal() and (len(declared) > 18 or int(declared) > BODY_BYTES):
            waits = "Expect" in headers
            self._respond(replace(request, body=None), closing=waits)
            if waits:
                self._finish()

    def data_received(self, chunk: bytes) -> None:
        """Collect the body, and respond once it is too long."""
        self._size += len(chunk)
        if self._responded:
            if self._size > DRAINED_BYTES:
                self._finish()
        elif self._size > BODY_BYTES:
            assert self._request
            self._respond(replace(self._request, body=None), closing=True)
        else:
            self._chunks.append(chunk)

    def finish(self) -> None:
        """Respond to the complete request."""
        if self._responded:
            self._finish()
            return
        assert self._request
        request = replace(self._request, body=b"".join(self._chunks))
        self._chunks.clear()
        reply = self._reply_to(request)
        if isinstance(reply, LocalResponse):
            self._send(checked(request, reply), closing=False)
            self._finish()
        elif isinstance(reply, Streamed):
            self._stream(request, reply)
        else:
            task = asyncio.ensure_future(self._later(request, reply))

            def gone() -> None:
                task.cancel()

            self._connection.set_close_callback(gone)

    def on_connection_close(self) -> None:
        """Discard the body."""
        self._chunks.clear()

    def _respond(self, request: LocalRequest, *, closing: bool = False) -> None:
        """Respond before the whole body is read."""
        self._chunks.clear()
        reply = self._reply_to(request)
        response = reply if isinstance(reply, LocalResponse) else too_long()
        self._send(checked(request, response), closing=closing)

    def _reply_to(self, request: LocalRequest) -> LocalReply:
        try:
            return self._handler(request)
        except Exception as error:
            return broken(request, error)

    async def _later(self, request: LocalRequest, reply: Awaitable[LocalResponse]) -> None:
        try:
            response = checked(request, await reply)
        except Exception as error:
            response = broken(request, error)
        if not self._connection.stream.closed():
            self._send(response, closing=False)
            self._finish()

    def _stream(self, request: LocalRequest, reply: Streamed) -> None:
        logger.debug("%s %s from %s: a stream", request.method, request.path, request.address)
        self._responded = True
        headers = HTTPHeaders(headers_of(reply.head))
        headers["date"] = formatdate(usegmt=True)
        start = ResponseStartLine("HTTP/1.1", reply.head.status, HTTPStatus(reply.head.status).phrase)
        outlet = StreamOutlet(self._connection, self._finish)
        outlet.track(self._connection.write_headers(start, headers))
        reply.start(outlet)

    def _send(self, response: LocalResponse, *, closing: bool) -> None:
        self._responded = True
        assert self._request
        headers = HTTPHeaders(headers_of(response))
        headers["date"] = formatdate(usegmt=True)
        if closing:
            headers["connection"] = "close"
        start = ResponseStartLine("HTTP/1.1", response.status, HTTPStatus(response.status).phrase)
        body = b"" if self._request.method == "HEAD" else response.body
        stream = self._connection.stream
        deadline = asyncio.get_running_loop().call_later(self._patience, stream.close)
        written = self._connection.write_headers(start, headers, body)

        def written_out(future: asyncio.Future[None]) -> None:
            deadline.cancel()
            future.exception()  # retrieved, so that asyncio does not report it: the client disconnected

        written.add_done_callback(written_out)

    def _finish(self) -> None:
        if not self._finished:
            self._finished = True
            self._connection.finish()


class StreamOutlet:
    """The body of a stream on its connection."""

    def __init__(self, connection: HTTP1Connection, finish: Callable[[], None]) -> None:
        self._connection = connection
        self._finish = finish
        self._closed = False
        self.is_busy = False

    @property
    def is_open(self) -> bool:
        """Whether data can still be sent."""
        return not self._closed and not self._connection.stream.closed()

    def send(self, data: bytes) -> None:
        """Send data, if the stream is open."""
        if self.is_open:
            self.track(self._connection.write(data))

    def track(self, written: asyncio.Future[None]) -> None:
        """Note that the outlet is busy until a write is done."""
        self.is_busy = not written.done()

        def written_out(future: asyncio.Future[None]) -> None:
            self.is_busy = False
            future.exception()  # retrieved, so that asyncio does not report it: the client disconnected

        written.add_done_callback(written_out)

    def close(self) -> None:
        """End the stream. A client that has not received the data so far is disconnected."""
        if not self.is_open:
            return
        self._closed = True
        if self.is_busy:
            self._connection.stream.close()
        else:
            self._finish()


def checked(request: LocalRequest, response: LocalResponse) -> LocalResponse:
    """Return the response, or an error if its length is missing or wrong."""
    if headers_of(response).get("content-length") != str(len(response.body)) and request.method != "HEAD":
        response = local_error(500, "server_error", "Internal error: the response has no valid length.")
    logger.debug("%s %s from %s: %d", request.method, request.path, request.address, response.status)
    return response


def broken(request: LocalRequest, error: Exception) -> LocalResponse:
    """Log an exception and return the error response."""
    logger.error("no response to %s %s: %s", request.method, request.path, safe_traceback(error))
    return local_error(500, "server_error", "Internal error. The log of Wirekey has the reason.")
