"""A small HTTP server on a free local port, for stand-ins that get a few requests."""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LARGEST_BODY = 1 << 20


class PlainResponse(NamedTuple):
    """A response with text. `location`: the address that it redirects to. `headers`: further ones."""

    status: int
    content_type: str
    body: str
    location: str = ""
    headers: tuple[tuple[str, str], ...] = ()


class PlainHandler(Protocol):
    """The handler that the server passes requests to."""

    def respond(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> PlainResponse:
        """Return the response to one request. Header names are in lower case. Called in several threads at once."""


@contextlib.contextmanager
def serving(handler: PlainHandler) -> Iterator[str]:
    """Serve until the end of the block. Yield the URL, without a path."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            length = min(int(self.headers.get("content-length") or 0), LARGEST_BODY)
            headers = {name.lower(): value for name, value in self.headers.items()}
            response = handler.respond(self.command, self.path, headers, self.rfile.read(length))
            data = response.body.encode()
            self.send_response(response.status)
            self.send_header("content-type", response.content_type)
            self.send_header("content-length", str(len(data)))
            if response.location:
                self.send_header("location", response.location)
            for name, value in response.headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = handle_any  # noqa: N815  # the names that http.server calls

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # so it is called
            """Log nothing: headers and paths may contain credentials."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
