"""One request and its answer on a connection that tornado reads.

Who sends more than is read gets the answer at once, and may go on for a while: a connection that is closed on what
its client still sends takes the answer away with it.
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
"""Of a body that is not read, how much is taken, and dropped, before the connection is closed."""


class Exchange(HTTPMessageDelegate):
    """`patience`: seconds within which the client takes its answer."""

    def __init__(
        self, connection: HTTP1Connection, address: str, answer: Callable[[LocalRequest], LocalReply], patience: float
    ) -> None:
        self._connection = connection
        self._address = address
        self._answer = answer
        self._patience = patience
        self._request: LocalRequest | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._answered = False
        self._finished = False

    def headers_received(self, start_line: object, headers: HTTPHeaders) -> None:
        line: RequestStartLine = start_line  # type: ignore[assignment]  # of a server's connection
        fields = tuple(headers.get_all())
        request = self._request = parse_local_request(line.method, line.path, fields, self._address)
        if wrong := wrong_head(line.path, line.version, fields):
            self._send(wrong, closing=True)
            self._finish()
            return
        declared = headers.get("Content-Length", "")
        # What is no number, or too long for one, tornado refuses next.
        if declared.isascii() and declared.isdecimal() and (len(declared) > 18 or int(declared) > BODY_BYTES):
            waits = "Expect" in headers
            self._respond(replace(request, body=None), closing=waits)
            if waits:
                self._finish()

    def data_received(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._answered:
            if self._size > DRAINED_BYTES:
                self._finish()
        elif self._size > BODY_BYTES:
            assert self._request
            self._respond(replace(self._request, body=None), closing=True)
        else:
            self._chunks.append(chunk)

    def finish(self) -> None:
        if self._answered:
            self._finish()
            return
        assert self._request
        request = replace(self._request, body=b"".join(self._chunks))
        self._chunks.clear()
        reply = self._asked(request)
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
        self._chunks.clear()

    def _respond(self, request: LocalRequest, *, closing: bool = False) -> None:
        """Answer before all is read."""
        self._chunks.clear()
        reply = self._asked(request)
        answer = reply if isinstance(reply, LocalResponse) else too_long()
        self._send(checked(request, answer), closing=closing)

    def _asked(self, request: LocalRequest) -> LocalReply:
        try:
            return self._answer(request)
        except Exception as error:
            return broken(request, error)

    async def _later(self, request: LocalRequest, reply: Awaitable[LocalResponse]) -> None:
        try:
            answer = checked(request, await reply)
        except Exception as error:
            answer = broken(request, error)
        if not self._connection.stream.closed():
            self._send(answer, closing=False)
            self._finish()

    def _stream(self, request: LocalRequest, reply: Streamed) -> None:
        logger.debug("%s %s from %s: a stream", request.method, request.path, request.address)
        self._answered = True
        headers = HTTPHeaders(headers_of(reply.head))
        headers["date"] = formatdate(usegmt=True)
        start = ResponseStartLine("HTTP/1.1", reply.head.status, HTTPStatus(reply.head.status).phrase)
        outlet = StreamOutlet(self._connection, self._finish)
        outlet.took(self._connection.write_headers(start, headers))
        reply.start(outlet)

    def _send(self, answer: LocalResponse, *, closing: bool) -> None:
        self._answered = True
        assert self._request
        headers = HTTPHeaders(headers_of(answer))
        headers["date"] = formatdate(usegmt=True)
        if closing:
            headers["connection"] = "close"
        start = ResponseStartLine("HTTP/1.1", answer.status, HTTPStatus(answer.status).phrase)
        body = b"" if self._request.method == "HEAD" else answer.body
        stream = self._connection.stream
        deadline = asyncio.get_running_loop().call_later(self._patience, stream.close)
        written = self._connection.write_headers(start, headers, body)

        def taken(future: asyncio.Future[None]) -> None:
            deadline.cancel()
            future.exception()  # looked at, so that nobody says it was not: the client went away

        written.add_done_callback(taken)

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
        return not self._closed and not self._connection.stream.closed()

    def send(self, data: bytes) -> None:
        if self.is_open:
            self.took(self._connection.write(data))

    def took(self, written: asyncio.Future[None]) -> None:
        self.is_busy = not written.done()

        def taken(future: asyncio.Future[None]) -> None:
            self.is_busy = False
            future.exception()  # looked at, so that nobody says it was not: the client went away

        written.add_done_callback(taken)

    def close(self) -> None:
        """End the stream; a client that did not take what was sent before is cut off."""
        if not self.is_open:
            return
        self._closed = True
        if self.is_busy:
            self._connection.stream.close()
        else:
            self._finish()


def checked(request: LocalRequest, answer: LocalResponse) -> LocalResponse:
    if headers_of(answer).get("content-length") != str(len(answer.body)) and request.method != "HEAD":
        answer = local_error(500, "server_error", "Wirekey made an answer without its length.")
    logger.debug("%s %s from %s: %d", request.method, request.path, request.address, answer.status)
    return answer


def broken(request: LocalRequest, error: Exception) -> LocalResponse:
    logger.error("no answer to %s %s: %s", request.method, request.path, safe_traceback(error))
    return local_error(500, "server_error", "Wirekey failed at this. The operator finds the reason in the log.")
