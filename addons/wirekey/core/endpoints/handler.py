"""Requests to the endpoints: tornado parses them and chooses the endpoint by its path.

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

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, HTTPInputError, HTTPMessageDelegate, ResponseStartLine
from tornado.web import HTTPError, RequestHandler, stream_request_body

from wirekey.core.endpoints.local_request import BODY_BYTES, parse_local_request, wrong_head
from wirekey.core.endpoints.reply import Streamed
from wirekey.core.endpoints.routes import headers_of, reply_of, too_long
from wirekey.core.local_response import LocalResponse, local_error
from wirekey.core.tracebacks import safe_traceback

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from tornado.httputil import RequestStartLine

    from wirekey.core.endpoints.local_request import LocalRequest
    from wirekey.core.endpoints.reply import LocalHandler

logger = logging.getLogger(__name__)

DRAINED_BYTES = 16 * 1024 * 1024
"""Bytes of an unread body that are received and discarded before the connection is closed."""
LONGEST_LENGTH = 18
"""Digits of a Content-Length beyond which the body is not received at all."""
MAX_QUERY_FIELDS = 100
"""tornado decodes the whole query of each request."""


@stream_request_body
class EndpointHandler(RequestHandler):
    """Handles one request to one endpoint. `patience`: seconds within which the client must receive the response."""

    def initialize(self, handler: LocalHandler, patience: float) -> None:
        """Set what tornado does not know. The body is collected here, so that its length can be checked."""
        self._handler, self._patience = handler, patience
        self._chunks: list[bytes] = []
        self._size = 0
        self._responded = False
        self._work: asyncio.Future[LocalResponse] | None = None
        self._disconnected = asyncio.Event()

    @property
    def connection(self) -> HTTP1Connection:
        """The connection of the request."""
        assert isinstance(self.request.connection, HTTP1Connection)
        return self.request.connection

    def local_request(self, body: bytes | None) -> LocalRequest:
        """Return the request as the endpoint reads it. `body` None: it is too long."""
        method, target, address = self.request.method, self.request.uri, self.request.remote_ip
        assert method is not None
        assert target is not None
        fields = tuple(self.request.headers.get_all())
        return replace(parse_local_request(method, target, fields, str(address)), body=body)

    # Reading.

    def prepare(self) -> None:
        """Respond at once if the head announces a body that is too long."""
        declared = self.request.headers.get("Content-Length", "")
        if not (declared.isascii() and declared.isdecimal()):
            return  # without a length there is no limit to check; tornado rejects a malformed one next
        is_endless = len(declared) > LONGEST_LENGTH
        if is_endless or int(declared) > BODY_BYTES:
            is_last = is_endless or "Expect" in self.request.headers
            self.refuse_body(closing=is_last)
            if is_last:
                self.finish()

    def data_received(self, chunk: bytes) -> None:
        """Collect the body, and respond once it is too long."""
        self._size += len(chunk)
        if self._responded:
            if self._size > DRAINED_BYTES:
                self.finish()
        elif self._size > BODY_BYTES:
            self.refuse_body(closing=True)
        else:
            self._chunks.append(chunk)

    def refuse_body(self, *, closing: bool) -> None:
        """Respond before the whole body is read."""
        self._chunks.clear()
        if closing:
            self.set_header("Connection", "close")
        self.send(self.local_request(None), too_long())

    def on_connection_close(self) -> None:
        """End the work on the response."""
        super().on_connection_close()
        self._disconnected.set()
        self._chunks.clear()
        if self._work:
            self._work.cancel()

    # Responding.

    async def respond(self) -> None:
        """Respond to the complete request."""
        if self._responded:
            return
        request = self.local_request(b"".join(self._chunks))
        self._chunks.clear()
        reply = reply_of(self._handler, request)
        if isinstance(reply, Streamed):
            await self.stream(request, reply)
        elif isinstance(reply, LocalResponse):
            self.send(request, reply)
        else:
            await self.send_later(request, reply)

    get = head = post = put = patch = delete = options = respond  # the endpoint decides

    async def send_later(self, request: LocalRequest, reply: Awaitable[LocalResponse]) -> None:
        """Send a response when it is ready, unless the client disconnects before."""
        self._work = asyncio.ensure_future(reply)
        await asyncio.wait([self._work])
        if not self._work.cancelled():
            self.send(request, self._work.result())

    def send(self, request: LocalRequest, response: LocalResponse) -> None:
        """Start to send a response. A client that does not receive it in time is disconnected."""
        response = checked(request, response)
        self.set_head(response)
        self.write(response.body)
        disconnect_if_slow(self.connection, self.flush(), self._patience)

    async def stream(self, request: LocalRequest, reply: Streamed) -> None:
        """Send a response in parts, until the stream or the client ends it."""
        logger.debug("%s %s from %s: a stream", request.method, request.path, request.address)
        self.set_head(reply.head)
        outlet = StreamOutlet(self)
        outlet.track(self.flush())
        reply.start(outlet)
        await self._disconnected.wait()

    def set_head(self, response: LocalResponse) -> None:
        """Set the status and the headers of the response."""
        self._responded = True
        self.set_status(response.status)
        for name, value in headers_of(response).items():
            self.set_header(name, value)

    def end_stream(self) -> None:
        """End the response."""
        self.finish()
        self._disconnected.set()

    # For tornado.

    def set_default_headers(self) -> None:
        """Remove the header that names tornado."""
        self.clear_header("Server")

    def write_error(self, status_code: int, **_: object) -> None:
        """Send the response to a request that failed, or whose method tornado does not know."""
        if status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            response = local_error(405, "invalid_request", "Use GET or POST.", ("allow", "GET, HEAD, POST"))
        else:
            response = internal_error()
        self.send(self.local_request(None), response)

    def log_exception(
        self, typ: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Log an exception without the values in its message."""
        if isinstance(value, Exception) and not isinstance(value, HTTPError):
            logger.error("no response to %s %s: %s", self.request.method, self.request.path, safe_traceback(value))


class StreamOutlet:
    """The body of a stream on its connection."""

    def __init__(self, handler: EndpointHandler) -> None:
        self._handler = handler
        self._closed = False
        self.is_busy = False

    @property
    def is_open(self) -> bool:
        """Whether data can still be sent."""
        return not self._closed and not self._handler.connection.stream.closed()

    def send(self, data: bytes) -> None:
        """Send data, if the stream is open."""
        if self.is_open:
            self._handler.write(data)
            self.track(self._handler.flush())

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
            self._handler.connection.stream.close()
        else:
            self._handler.end_stream()


class HeadCheck(HTTPMessageDelegate):
    """Refuses an invalid head with a reason, and passes others on to `following`, which is tornado's own delegate.

    `request_read` is called when the whole request was read.
    """

    def __init__(
        self,
        connection: HTTP1Connection,
        following: HTTPMessageDelegate,
        patience: float,
        request_read: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection = connection
        self._following = following
        self._patience = patience
        self._request_read = request_read

    def headers_received(self, start_line: object, headers: HTTPHeaders) -> Awaitable[None] | None:
        """Check the head."""
        line: RequestStartLine = start_line  # type: ignore[assignment]  # of a server's connection
        wrong = wrong_head(line.path, line.version, tuple(headers.get_all()))
        if wrong is None and line.path.count("&") > MAX_QUERY_FIELDS:
            wrong = local_error(400, "malformed", f"A query may have at most {MAX_QUERY_FIELDS} fields.")
        if wrong is None:
            try:
                return self._following.headers_received(line, headers)
            except (HTTPInputError, ValueError):
                wrong = local_error(400, "malformed", "The Host header is not valid.")
        fields = HTTPHeaders(headers_of(wrong) | {"date": formatdate(usegmt=True), "connection": "close"})
        start = ResponseStartLine("HTTP/1.1", wrong.status, HTTPStatus(wrong.status).phrase)
        body = b"" if line.method == "HEAD" else wrong.body
        disconnect_if_slow(self._connection, self._connection.write_headers(start, fields, body), self._patience)
        self._connection.finish()
        return None

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Pass a part of the body on."""
        return self._following.data_received(chunk)

    def finish(self) -> None:
        """Pass the end of the request on."""
        self._request_read()
        self._following.finish()

    def on_connection_close(self) -> None:
        """Pass a disconnect on."""
        self._following.on_connection_close()


def internal_error() -> LocalResponse:
    """Return the response to a request that could not be handled."""
    return local_error(500, "server_error", "Internal error. The log of Wirekey has the reason.")


def disconnect_if_slow(connection: HTTP1Connection, written: asyncio.Future[None], patience: float) -> None:
    """Close a connection if a write is not done within `patience` seconds."""
    deadline = asyncio.get_running_loop().call_later(patience, connection.stream.close)

    def written_out(future: asyncio.Future[None]) -> None:
        deadline.cancel()
        future.exception()  # retrieved, so that asyncio does not report it: the client disconnected

    written.add_done_callback(written_out)


def checked(request: LocalRequest, response: LocalResponse) -> LocalResponse:
    """Return the response, or an error if its length is missing or wrong."""
    if headers_of(response).get("content-length") != str(len(response.body)) and request.method != "HEAD":
        response = local_error(500, "server_error", "Internal error: the response has no valid length.")
    logger.debug("%s %s from %s: %d", request.method, request.path, request.address, response.status)
    return response
