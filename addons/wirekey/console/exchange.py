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

from wirekey.console.desk import headers_of
from wirekey.console.request import BODY_BYTES, request_of, wrong_head
from wirekey.failure import described
from wirekey.identity.token_endpoint import Answer, failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado.http1connection import HTTP1Connection
    from tornado.httputil import RequestStartLine

    from wirekey.console.request import Request

logger = logging.getLogger(__name__)

DRAINED_BYTES = 16 * 1024 * 1024
"""Of a body that is not read, how much is taken, and dropped, before the connection is closed."""


class Exchange(HTTPMessageDelegate):
    """`patience`: seconds within which the client takes its answer."""

    def __init__(
        self, connection: HTTP1Connection, address: str, answer: Callable[[Request], Answer], patience: float
    ) -> None:
        self._connection = connection
        self._address = address
        self._answer = answer
        self._patience = patience
        self._request: Request | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._answered = False
        self._finished = False

    def headers_received(self, start_line: object, headers: HTTPHeaders) -> None:
        line: RequestStartLine = start_line  # type: ignore[assignment]  # of a server's connection
        fields = tuple(headers.get_all())
        request = self._request = request_of(line.method, line.path, fields, self._address)
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
        if not self._answered:
            assert self._request
            self._respond(replace(self._request, body=b"".join(self._chunks)))
        self._finish()

    def on_connection_close(self) -> None:
        self._chunks.clear()

    def _respond(self, request: Request, *, closing: bool = False) -> None:
        self._chunks.clear()
        try:
            answer = self._answer(request)
            headers = headers_of(answer)
        except Exception as error:
            logger.error("no answer to %s %s: %s", request.method, request.path, described(error))  # noqa: TRY400  # see described
            answer = failure(500, "server_error", "Wirekey failed at this. The operator finds the reason in the log.")
        else:
            if headers.get("content-length") != str(len(answer.body)) and request.method != "HEAD":
                answer = failure(500, "server_error", "Wirekey made an answer without its length.")
        logger.debug("%s %s from %s: %d", request.method, request.path, request.address, answer.status)
        self._send(answer, closing=closing)

    def _send(self, answer: Answer, *, closing: bool) -> None:
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
