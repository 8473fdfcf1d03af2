"""A provider that responds, or closes the connection, while the request is still being sent."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from tests.wire.bare_proxy import bare_proxy, read_head, read_response, request
from tests.wire.test_stream import OK, client

pytestmark = pytest.mark.usefixtures("with_and_without_speed")

LARGE = b"y" * (3 << 20)
EARLY = b"HTTP/1.1 413 Too Large\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nlarge"
CHUNKED = b"HTTP/1.1 413 Too Large\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nlarge\r\n0\r\n\r\n"
CLOSES = EARLY.replace(b"Content-Length", b"Connection: close\r\nContent-Length")


def reset(writer) -> None:
    """Close with a TCP RST."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.fixture(params=[False, True], ids=["plain", "pooled"])
async def target(request, tmp_path):
    async with bare_proxy(secured_in=tmp_path if request.param else None) as (delegate, port, upstream):
        upstream.server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        yield delegate, port, upstream, b"https" if request.param else b"http"


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("sent", [EARLY, CLOSES], ids=["early", "Connection: close"])
@pytest.mark.parametrize("ends", ["stays", "closes", "resets"])
async def test_an_early_response_is_passed_on_however_the_connection_ends(target, streams, sent, ends):
    delegate, port, upstream, scheme = target
    delegate.stream_request = streams
    reader, writer = await client(port)
    writer.write(request(upstream.port, LARGE, scheme=scheme))
    up_reader, up_writer = await upstream.accept()
    await read_head(up_reader)
    up_writer.write(sent)
    await up_writer.drain()
    if ends != "stays":
        await asyncio.sleep(0.05)  # what is on its way must not be overtaken by the end of the connection
        up_writer.close() if ends == "closes" else reset(up_writer)
    head, body = await read_response(reader)
    assert head.startswith(b"HTTP/1.1 413")
    assert body == b"large"
    assert (delegate.answered, delegate.ends, delegate.attempts) == (413, [], 1)


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_after_an_early_response_the_client_can_send_another_request(target, streams):
    delegate, port, upstream, scheme = target
    delegate.stream_request = streams
    reader, writer = await client(port)
    sending = request(upstream.port, LARGE, scheme=scheme)
    writer.write(sending[:-1000])
    if not streams:
        writer.write(sending[-1000:])
    up_reader, up_writer = await upstream.accept()
    await read_head(up_reader)
    up_writer.write(CHUNKED)
    up_writer.close()
    await read_head(reader)
    assert await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 60) == b"5\r\nlarge\r\n0\r\n\r\n"
    if streams:
        writer.write(sending[-1000:])
    delegate.stream_request = False
    writer.write(request(upstream.port, b"body", scheme=scheme))
    up_reader, up_writer = await upstream.accept()
    await read_head(up_reader)
    up_writer.write(OK)
    assert (await read_response(reader))[1] == b"ok"
    assert delegate.ends == []


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("ends", ["closes", "resets"])
async def test_a_connection_that_ends_without_a_response_is_a_reset(target, streams, ends):
    delegate, port, upstream, scheme = target
    delegate.stream_request = streams
    reader, writer = await client(port)
    writer.write(request(upstream.port, LARGE, scheme=scheme))
    up_reader, up_writer = await upstream.accept()
    await read_head(up_reader)
    up_writer.close() if ends == "closes" else reset(up_writer)
    head, body = await read_response(reader)
    assert head.startswith(b"HTTP/1.1 502")
    assert b"upstream_reset" in body
    assert delegate.ends == ["upstream_reset"]
    assert delegate.attempts == 1


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_only_a_buffered_request_is_sent_again_after_a_reset(target, streams):
    delegate, port, upstream, scheme = target
    delegate.stream_request = streams
    delegate.next_upstreams = [("127.0.0.1", upstream.port)]
    reader, writer = await client(port)
    writer.write(request(upstream.port, LARGE, scheme=scheme))
    up_reader, up_writer = await upstream.accept()
    await read_head(up_reader)
    reset(up_writer)
    if streams:
        assert (await read_response(reader))[0].startswith(b"HTTP/1.1 502")
        assert delegate.failed == []
        return
    up_reader, up_writer = await upstream.accept()
    await read_head(up_reader)
    assert await asyncio.wait_for(up_reader.readexactly(len(LARGE)), 60) == LARGE
    up_writer.write(OK)
    assert (await read_response(reader))[1] == b"ok"
    assert delegate.failed == ["reset"]
