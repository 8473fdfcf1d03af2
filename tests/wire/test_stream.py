"""The wire layer over real sockets: what the upstream gets, what the client gets, and what the flow never shows."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.running import PATIENCE
from tests.wire.bare_proxy import KEY, bare_proxy, read_head, read_response, request
from wirekey.core.errors import Refusal
from wirekey.core.wire import http1
from wirekey.core.wire.delegate import WireLimits

pytestmark = pytest.mark.usefixtures("with_and_without_speed")

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


async def client(port):
    return await asyncio.open_connection("127.0.0.1", port)


async def test_the_body_and_the_key_reach_the_upstream_and_never_the_flow():
    async with bare_proxy() as (delegate, port, upstream):
        reader, writer = await client(port)
        writer.write(request(upstream.port, b'{"content":"canary"}'))
        up_reader, up_writer = await upstream.accept()
        head = await read_head(up_reader)
        assert KEY.encode() in head
        assert await up_reader.readexactly(20) == b'{"content":"canary"}'
        assert "canary" not in str(delegate.flows[0].get_state())
        assert KEY not in str(delegate.flows[0].get_state())
        up_writer.write(OK)
        assert (await read_response(reader))[1] == b"ok"


async def test_connections_are_reused_on_both_sides():
    async with bare_proxy() as (_, port, upstream):
        reader, writer = await client(port)
        writer.write(request(upstream.port, b"one"))
        up_reader, up_writer = await upstream.accept()
        for body in (b"one", b"two"):
            await read_head(up_reader)
            await up_reader.readexactly(3)
            up_writer.write(OK)
            assert (await read_response(reader))[1] == b"ok"
            if body == b"one":
                writer.write(request(upstream.port, b"two"))


async def test_each_event_is_passed_on_before_the_next_arrives():
    async with bare_proxy() as (_, port, upstream):
        reader, writer = await client(port)
        writer.write(request(upstream.port))
        up_reader, up_writer = await upstream.accept()
        await read_head(up_reader)
        up_writer.write(EVENTS)
        await read_head(reader)
        for number in range(5):
            event = b"9\r\ndata: %d\n\n\r\n" % number
            up_writer.write(event)
            assert await asyncio.wait_for(reader.readexactly(len(event)), 10) == event


async def test_a_refusal_at_the_head_is_sent_before_the_body_arrives_and_the_connection_stays_open():
    async with bare_proxy() as (delegate, port, upstream):
        delegate.refuse_at_head = Refusal(403, "no", "No.")
        reader, writer = await client(port)
        whole = request(upstream.port, b"x" * 1000)
        writer.write(whole[:-900])
        head, body = await read_response(reader)
        assert head.startswith(b"HTTP/1.1 403")
        assert b"No." in body
        delegate.refuse_at_head = None
        writer.write(whole[-900:] + request(upstream.port, b"next"))
        up_reader, up_writer = await upstream.accept()
        await read_head(up_reader)
        assert await up_reader.readexactly(4) == b"next"
        up_writer.write(OK)
        assert (await read_response(reader))[1] == b"ok"


async def test_a_refusal_on_the_wire_sends_nothing():
    async with bare_proxy() as (delegate, port, upstream):
        delegate.refuse_on_wire = Refusal(503, "no_key", "No key.")
        reader, writer = await client(port)
        writer.write(request(upstream.port, b"x"))
        head, _body = await read_response(reader)
        assert head.startswith(b"HTTP/1.1 503")
        up_reader, _ = await upstream.accept()
        writer.close()
        assert await asyncio.wait_for(up_reader.read(), 10) == b""


async def test_an_unreachable_upstream_is_502_in_json():
    async with bare_proxy() as (_, port, upstream):
        await upstream.stop()
        reader, writer = await client(port)
        writer.write(request(upstream.port, b"x"))
        head, body = await read_response(reader)
        assert head.startswith(b"HTTP/1.1 502")
        assert b"upstream_unreachable" in body


@pytest.mark.parametrize(
    ("response", "code", "outcome"),
    [
        (b"", b"upstream_reset", "upstream_reset"),
        (b"HTTP/1.1 200 OK\r\nContent-", b"upstream_reset", "upstream_reset"),
        (b"rubbish\r\n\r\n", b"upstream_unreadable", "upstream_error"),
    ],
)
async def test_an_upstream_that_closes_the_connection_or_sends_invalid_http_is_502_in_json(response, code, outcome):
    async with bare_proxy() as (delegate, port, upstream):
        reader, writer = await client(port)
        writer.write(request(upstream.port, b"x"))
        up_reader, up_writer = await upstream.accept()
        await read_head(up_reader)
        up_writer.write(response)
        up_writer.close()
        head, body = await read_response(reader)
        assert head.startswith(b"HTTP/1.1 502")
        assert code in body
        assert delegate.ends == [outcome]


async def test_a_stream_that_ends_early_ends_early_for_the_client_too():
    async with bare_proxy() as (delegate, port, upstream):
        reader, writer = await client(port)
        writer.write(request(upstream.port, b"x"))
        up_reader, up_writer = await upstream.accept()
        await read_head(up_reader)
        up_writer.write(EVENTS + b"9\r\ndata: 1\n\n\r\n")
        await read_head(reader)
        up_writer.close()
        rest = await asyncio.wait_for(reader.read(), 10)
        assert rest == b"9\r\ndata: 1\n\n\r\n"
        assert delegate.ends == ["upstream_reset"]


async def test_a_client_that_disconnects_ends_the_upstream_request():
    async with bare_proxy() as (delegate, port, upstream):
        _, writer = await client(port)
        writer.write(request(upstream.port, b"x"))
        up_reader, up_writer = await upstream.accept()
        await read_head(up_reader)
        up_writer.write(EVENTS + b"9\r\ndata: 1\n\n\r\n")
        writer.close()
        assert await asyncio.wait_for(up_reader.read(), 10) == b"x"
        assert delegate.ends == ["client_cancelled"]


async def test_no_first_byte_in_time_is_504():
    async with bare_proxy(WireLimits(first_byte=0.2)) as (delegate, port, upstream):
        reader, writer = await client(port)
        writer.write(request(upstream.port, b"x"))
        head, body = await read_response(reader)
        assert head.startswith(b"HTTP/1.1 504")
        assert b"timeouts.first_byte" in body
        assert delegate.ends == ["timeout"]


async def test_an_idle_event_stream_ends_with_an_error_event():
    async with bare_proxy(WireLimits(idle=0.2)) as (delegate, port, upstream):
        reader, writer = await client(port)
        writer.write(request(upstream.port, b"x"))
        up_reader, up_writer = await upstream.accept()
        await read_head(up_reader)
        up_writer.write(EVENTS + b"9\r\ndata: 1\n\n\r\n")
        await read_head(reader)
        rest = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 10)
        assert b"upstream_timeout" in rest
        assert delegate.ends == ["timeout"]
        assert await asyncio.wait_for(up_reader.read(), 10) == b"x"


async def test_a_head_that_is_too_long_is_431_and_one_that_is_too_slow_is_408():
    async with bare_proxy(WireLimits(head=0.3, header_bytes=8192)) as (_, port, _upstream):
        reader, writer = await client(port)
        writer.write(b"GET http://h/ HTTP/1.1\r\nX: " + b"x" * 9000)
        assert (await read_response(reader))[0].startswith(b"HTTP/1.1 431")
        reader, writer = await client(port)
        writer.write(b"GET http://h/ HTTP/1.1\r\nX: ")
        assert (await read_response(reader))[0].startswith(b"HTTP/1.1 408")


async def test_a_client_that_still_sends_a_refused_head_gets_the_response():
    async with bare_proxy(WireLimits(header_bytes=8192)) as (_, port, _upstream):
        reader, writer = await client(port)
        writer.write(b"GET http://h/ HTTP/1.1\r\nX: " + b"x" * 9000)
        await asyncio.sleep(0.05)  # it is refused now
        for _ in range(40):
            writer.write(b"x" * 50_000)
            await writer.drain()
        head, body = await read_response(reader)
        assert head.startswith(b"HTTP/1.1 431")
        assert b"limits.header_bytes" in body
        assert await reader.read() == b""


async def send_on(writer):
    while True:
        writer.write(b"x" * 1000)
        await writer.drain()
        await asyncio.sleep(0.001)


@pytest.mark.parametrize(("seconds", "size"), [(0.2, 1 << 40), (1000, 100_000)], ids=["time", "bytes"])
async def test_a_client_that_never_ends_a_refused_head_is_disconnected(seconds, size, monkeypatch):
    monkeypatch.setattr(http1, "LINGER_SECONDS", seconds)
    monkeypatch.setattr(http1, "MAX_LINGER_BYTES", size)
    async with bare_proxy(WireLimits(header_bytes=8192)) as (_, port, _upstream):
        _, writer = await client(port)
        writer.write(b"GET http://h/ HTTP/1.1\r\nX: " + b"x" * 9000)
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(send_on(writer), PATIENCE)


async def test_a_body_over_the_limit_is_413():
    async with bare_proxy(WireLimits(body_bytes=1000)) as (_, port, upstream):
        reader, writer = await client(port)
        writer.write(request(upstream.port, b"x" * 2000))
        assert (await read_response(reader))[0].startswith(b"HTTP/1.1 413")


async def test_an_upload_streams_through_piece_by_piece():
    async with bare_proxy() as (delegate, port, upstream):
        delegate.stream_request = True
        _, writer = await client(port)
        whole = request(upstream.port, b"abcdef")
        writer.write(whole[:-3])
        up_reader, _ = await upstream.accept()
        await read_head(up_reader)
        assert await up_reader.readexactly(3) == b"abc"
        writer.write(whole[-3:])
        assert await up_reader.readexactly(3) == b"def"
