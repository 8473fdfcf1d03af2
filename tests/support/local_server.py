"""A stand-in for Ollama, vLLM or llama.cpp: OpenAI's chat format over plain HTTP, with a stream in several packets."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHUNKS = ("Hel", "lo", "!")
USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}


@dataclass
class Arrived:
    method: str
    path: str
    headers: dict[str, str]
    body: dict


@dataclass
class LocalServer:
    port: int
    arrived: list[Arrived] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def completion(model: str) -> dict:
    message = {"role": "assistant", "content": "".join(CHUNKS)}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return {"id": "c1", "object": "chat.completion", "created": 1, "model": model, "choices": choices, "usage": USAGE}


def events(model: str) -> Iterator[bytes]:
    """The events of a stream, each cut in two."""
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": model}
    choices = [{"index": 0, "delta": {"content": text}, "finish_reason": None} for text in CHUNKS]
    documents = [head | {"choices": [choice]} for choice in choices]
    documents.append(head | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    documents.append(head | {"choices": [], "usage": USAGE})
    for document in documents:
        event = f"data: {json.dumps(document)}\n\n".encode()
        yield event[:20]
        yield event[20:]
    yield b"data: [DONE]\n\n"


@contextlib.contextmanager
def local_server() -> Iterator[LocalServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            headers = {name.lower(): value for name, value in self.headers.items()}
            running.arrived.append(Arrived(self.command, self.path, headers, body))
            self.send_response(200)
            if body.get("stream"):
                self.send_header("content-type", "text/event-stream")
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                for piece in (*events(body["model"]), b""):
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                    self.wfile.flush()
                    time.sleep(0.005)
            else:
                data = json.dumps(completion(body["model"])).encode()
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    running = LocalServer(server.server_address[1])
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
