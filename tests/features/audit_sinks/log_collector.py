"""A collector of logs that decodes OTLP with the messages of opentelemetry-proto."""

from __future__ import annotations

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf.json_format import Parse
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from tests.features.traces.collector import attributes
from tests.support.running import wait_for


def plain(value):
    """Return an OTLP value as a JSON value."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(one) for one in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: plain(pair.value) for pair in value.kvlist_value.values}
    return getattr(value, kind)


class LogCollector:
    """`behaviours`: of the first requests, each a status, `hang`, `close` or a number of rejected records as a text."""

    def __init__(self, *behaviours: int | str, port: int = 0) -> None:
        self.records: list = []
        self.headers: list[dict[str, str]] = []
        self.requests = 0
        self.wrong: list[BaseException] = []
        self._behaviours = list(behaviours)
        self._ended = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.requests += 1
                behaviour = collector._behaviours.pop(0) if collector._behaviours else 200
                if behaviour == "hang":
                    collector._ended.wait()
                if behaviour in ("hang", "close"):
                    self.close_connection = True
                    return
                if behaviour == 200 or isinstance(behaviour, str):
                    collector.note(self.path, self.headers, body)
                rejected = {"partialSuccess": {"rejectedLogRecords": behaviour}} if isinstance(behaviour, str) else {}
                response = json.dumps(rejected).encode()
                self.send_response(200 if isinstance(behaviour, str) else behaviour)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(response)))
                self.end_headers()
                self.wfile.write(response)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/logs"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def note(self, path: str, headers, body: bytes) -> None:
        try:
            assert path == "/v1/logs"
            assert headers["content-type"] == "application/json"
            assert headers["content-encoding"] == "gzip"
            request = Parse(gzip.decompress(body), ExportLogsServiceRequest())
            for group in request.resource_logs:
                assert attributes(group.resource.attributes)["service.name"] == "wirekey"
                self.records += [record for scope in group.scope_logs for record in scope.log_records]
        except Exception as error:
            self.wrong.append(error)
        self.headers.append({name.lower(): value for name, value in headers.items()})

    @property
    def bodies(self) -> list[dict]:
        return [plain(record.body) for record in self.records]

    def wait_for(self, count: int) -> list[dict]:
        """Return the bodies of the records once there are as many."""
        wait_for(lambda: self.wrong or len(self.records) >= count, f"{count} records")
        assert not self.wrong, self.wrong
        return self.bodies

    def stop(self) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
