"""Clients of the benchmark: keep-alive connections through CONNECT and TLS, on bare asyncio streams."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import ssl
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import uuid4

from tests.support import signed_requests as signing

BEDROCK_PATH = "/model/us.amazon.nova-pro-v1%3A0/converse"
LENGTH = re.compile(rb"Content-Length: \d+")
SENT = b"sent:"
"""In front of the time at which an event was sent. It is in the text of the model, which every proxy passes on."""
MESSAGE = {"role": "user", "content": "Please tell me about canaries in mines. " * 20}


@dataclass
class Target:
    """A proxy, and the host that is reached through it. Without `ca`: a gateway, which is called in plain HTTP."""

    proxy_port: int
    host: str
    port: int
    ca: str
    token: str | None = None
    pair: tuple[str, str] | None = None
    """The AWS key pair of the agent, which signs instead of a token."""
    tunnel: bool = True
    """Whether the host is reached with CONNECT. Without: TLS is with the proxy, which is a gateway."""

    @property
    def is_gateway(self) -> bool:
        """Whether the token of the agent is in the place of a provider's key."""
        return not self.ca or not self.tunnel

    def context(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=self.ca) if self.ca else None


def streamed(settings: Mapping[str, float]) -> dict[str, object]:
    """Return the members of a request for a stream. `settings` tell the upstream which events it sends."""
    told = " ".join(f"{name}={value}" for name, value in settings.items())
    return {"user": told, "stream": True} if told else {"stream": True}


def body(*, stream: bool, **settings: float) -> bytes:
    content = {"model": "gpt-4o-mini", "messages": [MESSAGE], "max_tokens": 100}
    return json.dumps(content | (streamed(settings) if stream else {}), separators=(",", ":")).encode()


def request(target: Target, *, stream: bool = False, **settings: float) -> bytes:
    content = body(stream=stream, **settings)
    lines = [
        "POST /v1/chat/completions HTTP/1.1",
        f"Host: {target.host}" if target.port == 443 else f"Host: {target.host}:{target.port}",
        "Accept: application/json",
        "Accept-Encoding: identity",
        f"Authorization: Bearer {target.token if target.is_gateway and target.token else 'placeholder'}",
        "Content-Type: application/json",
        "User-Agent: OpenAI/Python 2.0.0",
        "X-Stainless-Lang: python",
        "X-Stainless-Retry-Count: 0",
        f"Content-Length: {len(content)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


async def connect(target: Target, context: ssl.SSLContext | None):
    reader, writer = await asyncio.open_connection("127.0.0.1", target.proxy_port, limit=1 << 22)
    if context is None:
        return reader, writer
    if not target.tunnel:
        await writer.start_tls(context, server_hostname=target.host)
        return reader, writer
    lines = [f"CONNECT {target.host}:{target.port} HTTP/1.1", f"Host: {target.host}:{target.port}"]
    if target.token:
        lines.append("Proxy-Authorization: Basic " + base64.b64encode(f"bench:{target.token}".encode()).decode())
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise RuntimeError(head.decode())
    await writer.start_tls(context, server_hostname=target.host)
    return reader, writer


async def read_answer(reader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise RuntimeError(head.decode())
    lower = head.lower()
    if b"transfer-encoding: chunked" in lower:
        return await read_chunks(reader)
    length = int(lower.split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0])
    return await reader.readexactly(length)


async def read_chunks(reader) -> bytes:
    parts = []
    while size := int(await reader.readline(), 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readexactly(2)
    return b"".join(parts)


async def short_lived(target: Target, clients: int, requests: int) -> float:
    """Send plain requests, a connection for each, from so many clients at once. Seconds."""
    context, data = target.context(), request(target)
    left = iter(range(requests))

    async def client() -> None:
        for _ in left:
            reader, writer = await connect(target, context)
            writer.write(data)
            await read_answer(reader)
            writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return time.perf_counter() - began


async def plain(target: Target, connections: int, requests: int) -> float:
    """Send plain requests over keep-alive connections. Seconds."""
    context, data = target.context(), request(target)
    opened = [await connect(target, context) for _ in range(connections)]

    async def one(reader, writer):
        for _ in range(requests // connections):
            writer.write(data)
            await read_answer(reader)

    start = time.perf_counter()
    await asyncio.gather(*(one(*streams) for streams in opened))
    seconds = time.perf_counter() - start
    for _, writer in opened:
        writer.close()
    return seconds


async def large_requests(target: Target, connections: int, requests: int, size: int = 1_000_000) -> None:
    """Send requests of `size` bytes over keep-alive connections."""
    words = "Please tell me about canaries in mines. " * (size // 40)
    content = json.dumps(
        {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": words}], "max_tokens": 100},
        separators=(",", ":"),
    ).encode()
    head = LENGTH.sub(b"Content-Length: %d" % len(content), request(target).partition(b"\r\n\r\n")[0])
    await each_once(target, connections, [head + b"\r\n\r\n" + content] * requests)


async def each_once(target: Target, connections: int, requests: list[bytes]) -> None:
    """Send each of the requests once, over keep-alive connections."""
    context, left = target.context(), iter(requests)

    async def one() -> None:
        reader, writer = await connect(target, context)
        for data in left:
            writer.write(data)
            await writer.drain()
            await read_answer(reader)
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))


def bedrock_request(target: Target) -> bytes:
    """A Converse request, signed now with the target's pair. Each is another one: a copy would be a replay."""
    body = signing.BODY
    if target.pair is None:
        authority, head = f"{target.host}:{target.port}", signing.signed(BEDROCK_PATH, body=body)
    else:
        headers = signing.HEADERS | {"amz-sdk-invocation-id": str(uuid4())}
        authority = target.host
        head = signing.signed(BEDROCK_PATH, at=time.time(), pair=target.pair, headers=headers, body=body)
    lines = [
        name + b": " + (authority.encode() if name.lower() == b"host" else value)
        for name, value in head.headers
        if name.lower() != b"content-length"
    ]
    lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([b"POST " + head.target + b" HTTP/1.1", *lines]) + b"\r\n\r\n" + body


async def event_streams(target: Target, connections: int, streams: int, events: int) -> None:
    """Read streams of `events` events to their ends, one after the other on each of the connections."""
    context, data = target.context(), request(target, stream=True, events=events, pace=0)
    opened = [await connect(target, context) for _ in range(connections)]

    async def one(reader, writer) -> None:
        for _ in range(streams // connections):
            writer.write(data)
            await rest_of_stream(reader)
        writer.close()

    await asyncio.gather(*(one(*each) for each in opened))


async def transit(target: Target, streams: int, events: int, pace: float) -> list[float]:
    """Return the times from the sending of each event to its arrival, over many streams at once. Seconds."""
    context, data = target.context(), request(target, stream=True, events=events, pace=pace)
    delays: list[float] = []

    async def one() -> None:
        reader, writer = await connect(target, context)
        writer.write(data)
        for _ in range(events):
            await reader.readuntil(SENT)
            sent = int((await reader.readexactly(40)).split(b" ", 1)[0])
            delays.append((time.monotonic_ns() - sent) / 1e9)
        await rest_of_stream(reader)
        writer.close()

    await asyncio.gather(*(one() for _ in range(streams)))
    return delays


async def first_bytes(target: Target, requests: int) -> float:
    """Median time to the first event of a stream, one request at a time. Seconds."""
    reader, writer = await connect(target, target.context())
    data = request(target, stream=True, events=3)
    times = []
    for _ in range(requests):
        start = time.perf_counter()
        writer.write(data)
        await reader.readuntil(SENT)
        times.append(time.perf_counter() - start)
        await rest_of_stream(reader)
    writer.close()
    return statistics.median(times)


async def rest_of_stream(reader) -> None:
    await reader.readuntil(b"\r\n0\r\n\r\n")


async def chunk_delay(target: Target, events: int, pace: float) -> float:
    """Median time from an event's sending to its arrival. Seconds."""
    reader, writer = await connect(target, target.context())
    writer.write(request(target, stream=True, events=events, pace=pace))
    delays = []
    for _ in range(events):
        await reader.readuntil(SENT)
        sent = int((await reader.readexactly(40)).split(b" ", 1)[0])
        delays.append((time.monotonic_ns() - sent) / 1e9)
    await rest_of_stream(reader)
    writer.close()
    return statistics.median(delays)


async def many_chunks(target: Target, connections: int, events: int) -> None:
    """Read `connections` streams of `events` small events at once."""
    context = target.context()
    opened = [await connect(target, context) for _ in range(connections)]

    async def one(reader, writer):
        writer.write(request(target, stream=True, events=events, pace=0))
        left = events
        while left:
            data = await reader.read(65536)
            if not data:
                raise RuntimeError("the stream broke off")
            left -= data.count(SENT)
        writer.close()

    await asyncio.gather(*(one(*streams) for streams in opened))


async def hold_streams(target: Target, count: int):
    """Open streams that stay open; gives their writers."""
    context = target.context()
    writers = []
    for _ in range(count):
        reader, writer = await connect(target, context)
        writer.write(request(target, stream=True, events=1000, pace=10))
        await reader.readuntil(SENT)
        writers.append(writer)
    return writers


async def large_stream(target: Target, size: int) -> int:
    """Read one stream of `size` bytes. Return the number of bytes read."""
    reader, writer = await connect(target, target.context())
    piece = 64 * 1024
    writer.write(request(target, stream=True, events=size // piece, pace=0, size=piece))
    received = 0
    while received < size:
        data = await reader.read(1 << 20)
        if not data:
            break
        received += len(data)
    writer.close()
    return received
