"""A provider that costs almost nothing: fixed answers over TLS, so that what is measured is the proxy.

python -m tests.benchmarks.upstream FOLDER: writes FOLDER/ca.pem, prints its port. The path says the answer:
/v1/chat/completions gives JSON. With `"stream":true` in the body it gives events: `x-events` of them, `x-pace` seconds
apart, `x-size` bytes each, or as the member `user` says ("events=9 pace=0.1"). The text of each event says when it was
sent (monotonic nanoseconds).
"""

from __future__ import annotations

import asyncio
import re
import ssl
import sys
import time
from pathlib import Path

from wirekey_simulator.certificate import prepare_certificate

JSON = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"gpt-4o-mini-2024-07-18",'
    b'"choices":[{"index":0,"message":{"role":"assistant","content":"'
    + b"A canary sings in the morning. "
    * 12
    + b'","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":19,"completion_tokens":80,'
    b'"total_tokens":99,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}},'
    b'"service_tier":"default","system_fingerprint":"fp_1"}'
)
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(JSON) + JSON
CONVERSE = (
    b'{"output":{"message":{"role":"assistant","content":[{"text":"A canary sings in the morning."}]}},'
    b'"stopReason":"end_turn","usage":{"inputTokens":19,"outputTokens":80,"totalTokens":99},"metrics":{"latencyMs":5}}'
)
SIGNED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(CONVERSE) + CONVERSE
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = (
    (
        b'data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],'
        b'"usage":null}\n\n'
    ),
    (
        b'data: {"id":"c","object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":9,'
        b'"completion_tokens":9,"total_tokens":18}}\n\n'
    ),
    b"data: [DONE]\n\n",
)
DEFAULTS = {b"events": 20, b"pace": 0.0, b"size": 200}
IN_HEAD = {name: re.compile(rb"\r\nx-%b: ([0-9.]+)\r\n" % name, re.IGNORECASE) for name in DEFAULTS}
IN_BODY = {name: re.compile(rb"\b%b=([0-9.]+)" % name) for name in DEFAULTS}
"""For proxies that pass no headers on."""
USER = re.compile(rb'"user": ?"([a-z0-9=., ]*)"')
STREAMED = (b'"stream":true', b'"stream": true')


def wanted(head: bytes, body: bytes) -> list[float]:
    """Return the number of events, the seconds between them, and the size of each."""
    if match := USER.search(body):
        text, patterns = match[1], IN_BODY
    else:
        text, patterns = head, IN_HEAD
    found = ((patterns[name].search(text), default) for name, default in DEFAULTS.items())
    return [float(match[1]) if match else default for match, default in found]


def event(size: int) -> bytes:
    text = b"x" * max(1, size - 140)
    return (
        b'data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"sent:%d %b"},'
        b'"finish_reason":null}],"usage":null}\n\n' % (time.monotonic_ns(), text)
    )


class Exchange(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.received = b""
        self.writable = asyncio.Event()
        self.writable.set()
        self.task = None

    def pause_writing(self):
        self.writable.clear()

    def resume_writing(self):
        self.writable.set()

    def connection_lost(self, exc):
        self.writable.set()
        if self.task:
            self.task.cancel()

    def data_received(self, data):
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = self.received[: end + 2]
            length = int(re.search(rb"\r\ncontent-length: (\d+)\r\n", head, re.IGNORECASE)[1])
            if len(self.received) < end + 4 + length:
                return
            body = self.received[end + 4 : end + 4 + length]
            self.received = self.received[end + 4 + length :]
            if any(each in body for each in STREAMED):
                self.task = asyncio.ensure_future(self.stream(*wanted(head, body)))
            else:
                self.transport.write(SIGNED if b"/converse " in head else PLAIN)

    async def stream(self, count: float, pace: float, size: float) -> None:
        self.transport.write(EVENTS)
        for _ in range(int(count)):
            data = event(int(size))
            self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
            await self.writable.wait()
            await asyncio.sleep(pace)
        for data in LAST:
            self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.transport.write(b"0\r\n\r\n")


async def main(folder: Path) -> None:
    server_file, root = prepare_certificate(folder)
    (folder / "ca.pem").write_bytes(root.read_bytes())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(server_file)
    server = await asyncio.get_running_loop().create_server(Exchange, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
