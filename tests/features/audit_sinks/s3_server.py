"""A server of S3 with one bucket: it verifies signatures with botocore, and requires what an object lock requires."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.support.running import wait_for

ACCESS_KEY, SECRET_KEY = "AKIAWIREKEYTESTBUCKET", "canary/secret+key/of/the/bucket/8d1e"
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([A-Z0-9]+)/(\d{8}/[a-z0-9-]+/s3/aws4_request), "
    r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})"
)
LOCKED = (
    b'<?xml version="1.0" encoding="UTF-8"?><ObjectLockConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    b"<ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"
)


class S3Server:
    """`behaviours`: of the first requests, each a status, `hang`, `close`, or `lose` (stored, without a response)."""

    def __init__(self, *behaviours: int | str, region: str = "eu-west-1", locked: bool = True) -> None:
        self.objects: dict[str, bytes] = {}
        self.retained: dict[str, tuple[str, datetime]] = {}
        self.requests: list[tuple[str, str]] = []
        self.wrong: list[str] = []
        self.region, self.locked = region, locked
        self._behaviours = list(behaviours)
        self._ended = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                self.handle_request()

            def do_GET(self) -> None:
                self.handle_request()

            def handle_request(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"] or 0))
                server.requests.append((self.command, self.path))
                behaviour = server._behaviours.pop(0) if server._behaviours else 200
                if behaviour == "hang":
                    server._ended.wait()
                status, content = (behaviour, b"") if isinstance(behaviour, int) else (0, b"")
                if behaviour in (200, "lose"):
                    status, content = server.respond(self.command, self.path, self.headers, body)
                if isinstance(behaviour, str):
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def respond(self, method: str, path: str, headers, body: bytes) -> tuple[int, bytes]:
        if problem := self.problem_of_signature(method, path, headers, body):
            self.wrong.append(problem)
            return 403, problem.encode()
        if method == "GET":
            assert path == "/audit?object-lock"
            return (200, LOCKED) if self.locked else (404, b"")
        if path in self.objects:
            assert headers["if-none-match"] == "*"
            return 412, b""
        if problem := problem_of_object(headers, body):
            self.wrong.append(problem)
            return 400, problem.encode()
        until = datetime.fromisoformat(headers["x-amz-object-lock-retain-until-date"])
        self.objects[path] = body
        self.retained[path] = (headers["x-amz-object-lock-mode"], until)
        return 200, b""

    def problem_of_signature(self, method: str, path: str, headers, body: bytes) -> str | None:
        """Return what is wrong with a signature, which botocore makes again of what was received."""
        found = AUTHORIZATION.fullmatch(headers["authorization"])
        assert found
        access_key, scope, names, signature = found.groups()
        date = headers["x-amz-date"]
        if access_key != ACCESS_KEY or scope != f"{date[:8]}/{self.region}/s3/aws4_request":
            return "another key or scope"
        if headers["x-amz-content-sha256"] != hashlib.sha256(body).hexdigest():
            return "the hash of the body is wrong"
        received = {name.lower() for name in headers if name.lower().startswith("x-amz-")} | {"host", "content-md5"}
        if missing := {name for name in received if headers[name]} - set(names.split(";")):
            return f"not signed: {missing}"
        request = AWSRequest(method, f"{self.url}{path}", {name: headers[name] for name in names.split(";")}, body)
        request.context["timestamp"] = date
        auth = S3SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", self.region)
        expected = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
        return None if expected == signature else "the signature is wrong"

    @property
    def events(self) -> list[dict]:
        """Return the events of all objects, in the order in which they were stored."""
        return [json.loads(line) for content in self.objects.values() for line in content.splitlines()]

    def wait_for(self, count: int) -> list[dict]:
        wait_for(lambda: self.wrong or len(self.events) >= count, f"{count} events")
        assert not self.wrong
        return self.events

    def stop(self) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()


def problem_of_object(headers, body: bytes) -> str | None:
    """Return what S3 would refuse of an object for a bucket with an object lock."""
    if headers["x-amz-object-lock-mode"] not in ("COMPLIANCE", "GOVERNANCE"):
        return "no mode"
    if datetime.fromisoformat(headers["x-amz-object-lock-retain-until-date"]) <= datetime.now(UTC):
        return "the retention has ended"
    if headers["content-md5"] != base64.b64encode(hashlib.md5(body).digest()).decode():
        return "the MD5 is wrong"
    if headers["x-amz-checksum-sha256"] != base64.b64encode(hashlib.sha256(body).digest()).decode():
        return "the checksum is wrong"
    return None
