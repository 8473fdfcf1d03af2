"""A login at this machine: a server on 127.0.0.1 waits for the one request with which Google's page ends."""

from __future__ import annotations

import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from wirekey.features.google_accounts.oauth import OAuthError, code_in, fields_of

if TYPE_CHECKING:
    from wirekey.core.secret import Secret
    from wirekey.features.google_accounts.oauth import LoginSecrets

PATH = "/oauth2callback"
CONNECTION_TIMEOUT = 10.0
SUCCESS = "<h1>Login received</h1><p>You may close this window and go back to the terminal.</p>"
FAILURE = "<h1>Login failed</h1><p>The terminal has the reason. You may close this window.</p>"


class LoopbackServer:
    """Listens on 127.0.0.1 until the end of its block. The first request for its path is the result of the login."""

    def __init__(self, port: int = 0) -> None:
        """Listen at `port`, or at a free one. Raises OSError."""
        self._results: queue.SimpleQueue[dict[str, str]] = queue.SimpleQueue()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def redirect_uri(self) -> str:
        """The address to which Google redirects the browser."""
        return f"http://127.0.0.1:{self._server.server_address[1]}{PATH}"

    def code(self, login: LoginSecrets, timeout: float) -> Secret:
        """Wait for the code of a login, for `timeout` seconds. Raises OAuthError."""
        try:
            fields = self._results.get(timeout=timeout)
        except queue.Empty:
            raise OAuthError("timeout", f"No one has logged in within {timeout:g} s. Nothing was stored.") from None
        return code_in(fields, login)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        results, own_host = self._results, self._own_host

        class CallbackHandler(BaseHTTPRequestHandler):
            timeout = CONNECTION_TIMEOUT

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                is_result = parts.path == PATH and self.headers.get("host") == own_host()
                fields = fields_of(parts.query) if is_result else {}
                body = (SUCCESS if "code" in fields else FAILURE).encode()
                self.send_response(200 if "code" in fields else 400 if is_result else 404)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.send_header("content-security-policy", "default-src 'none'; frame-ancestors 'none'")
                self.send_header("referrer-policy", "no-referrer")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                if is_result:
                    results.put(fields)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # so it is called
                """Log nothing: the query has the code."""

        return CallbackHandler

    def _own_host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"
