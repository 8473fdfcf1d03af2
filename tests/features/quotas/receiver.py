"""A receiver of notices, and an independent check of their signatures, from the specification of Standard Webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


class Received(NamedTuple):
    headers: dict[str, str]
    body: bytes
    path: str

    @property
    def notice(self) -> dict:
        return json.loads(self.body)

    @property
    def is_signed(self) -> bool:
        signed = b".".join([self.headers["webhook-id"].encode(), self.headers["webhook-timestamp"].encode(), self.body])
        expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
        return self.headers["webhook-signature"] == f"v1,{expected}"


class Receiver:
    """`behaviours`: of the first requests, each a status, `hang` or `close`. Later ones get 204."""

    def __init__(self, *behaviours: int | str) -> None:
        self.received: list[Received] = []
        self._behaviours = list(behaviours)
        self._ended = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                behaviour = receiver.note(Received(headers, body, self.path))
                if behaviour == "hang":
                    receiver.wait()
                if not isinstance(behaviour, int):
                    self.close_connection = True
                    return
                self.send_response(behaviour)
                if 300 <= behaviour < 400:
                    self.send_header("Location", f"{receiver.url}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def note(self, received: Received) -> int | str:
        self.received.append(received)
        return self._behaviours.pop(0) if self._behaviours else 204

    def wait(self) -> None:
        self._ended.wait()

    def stop(self) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
