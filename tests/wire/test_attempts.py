"""Retries: the same request is sent again, and nothing of a failed attempt reaches the client."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from tests.wire.bare_proxy import bare_proxy, read_head, read_response, request
from tests.wire.test_stream import EVENTS, OK, client
from wirekey.core.wire.delegate import WireLimits

pytestmark = pytest.mark.usefixtures("with_and_without_speed")

BODY = b'{"content":"' + b"x" * 300_000 + b'"}'
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 6\r\n\r\nfailed"
SECOND = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond"


async def read_request(reader) -> None:
    await read_head(reader)
    assert await asyncio.wait_for(reader.readexactly(len(BODY)), 60) == BODY


async def until(condition) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_failed_request_is_sent_again_on_the_same_connection():
    async with bare_proxy() as (delegate, port, upstream):
        delegate.next_upstreams = [("127.0.0.1", upstream.port)]
        reader, writer = await client(port)
        writer.write(request(upstream.port, BODY))
        up_reader, up_writer = await upstream.accept()
        await read_request(up_reader)
        up_writer.write(BUSY)
        await read_request(up_reader)
        up_writer.write(SECOND)
        head, body = await read_response(reader)
        assert head.startswith(b"HTTP/1.1 200")
        assert body == b"second"
        assert (delegate.failed, delegate.answered, delegate.attempts) == (["status"], 200, 2)
        assert delegate.ends == []


async def test_the_stream_of_a_second_attempt_is_passed_on_event_by_event():
    async with bare_proxy() as (delegate, port, upstream):
        delegate.next_upstreams = [("127.0.0.1", upstream.port)]
        reader, writer = await client(port)
        writer.write(request(upstream.port, BODY))
        up_reader, up_writer = await upstream.accept()
        await read_request(up_reader)
        up_writer.write(BUSY)
        await read_request(up_reader)
        up_writer.write(EVENTS)
        await read_head(reader)
        for number in range(3):
            event = b"9\r\ndata: %d\n\n\r\n" % number
            up_writer.write(event)
            assert await asyncio.wait_for(reader.readexactly(len(event)), 10) == event


BUSY_HEAD, BUSY_BODY = BUSY[:-6], BUSY[-6:]


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "pooled"])
@pytest.mark.parametrize("used", [False, True], ids=["fresh", "used"])
async def test_the_body_of_a_failed_response_is_read_before_the_next_attempt(tmp_path, secured, used):
    scheme = b"https" if secured else b"http"
    async with bare_proxy(secured_in=tmp_path if secured else None) as (delegate, port, upstream):
        reader, writer = await client(port)
        connection = None
        if used:
            writer.write(request(upstream.port, BODY, scheme=scheme))
            connection = await upstream.accept()
            await read_request(connection[0])
            connection[1].write(OK)
            await read_response(reader)
        delegate.next_upstreams = [("127.0.0.1", upstream.port)]
        writer.write(request(upstream.port, BODY, scheme=scheme))
        up_reader, up_writer = connection or await upstream.accept()
        await read_request(up_reader)
        up_writer.write(BUSY_HEAD)
        await until(lambda: delegate.failed)
        for byte in BUSY_BODY:
            assert upstream.connections.empty()
            up_writer.write(bytes([byte]))
            await asyncio.sleep(0.01)
        await read_request(up_reader)
        up_writer.write(SECOND)
        assert (await read_response(reader))[1] == b"second"
        assert delegate.ends == []


async def test_a_slow_failed_response_does_not_delay_the_next_attempt():
    async with bare_proxy(WireLimits(connect=1)) as (delegate, port, upstream):
        delegate.next_upstreams = [("127.0.0.1", upstream.port)]
        reader, writer = await client(port)
        writer.write(request(upstream.port, BODY))
        up_reader, up_writer = await upstream.accept()
        await read_request(up_reader)
        up_writer.write(ENDLESS)

        async def trickle():
            with contextlib.suppress(ConnectionError):
                while True:
                    up_writer.write(b"1\r\nx\r\n")
                    await up_writer.drain()
                    await asyncio.sleep(0.2)

        trickling = asyncio.create_task(trickle())
        second_reader, second_writer = await upstream.accept()
        await read_request(second_reader)
        second_writer.write(SECOND)
        assert (await read_response(reader))[1] == b"second"
        trickling.cancel()


async def test_a_connection_that_is_still_sending_the_failed_request_is_not_reused():
    large = b"y" * (4 << 20)
    async with bare_proxy() as (delegate, port, upstream):
        upstream.server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        delegate.next_upstreams = [("127.0.0.1", upstream.port)]
        reader, writer = await client(port)
        writer.write(request(upstream.port, large))
        up_reader, up_writer = await upstream.accept()
        await read_head(up_reader)
        up_writer.write(BUSY)  # and reads no more
        second_reader, second_writer = await upstream.accept()
        await read_head(second_reader)
        assert await asyncio.wait_for(second_reader.readexactly(len(large)), 60) == large
        second_writer.write(SECOND)
        assert (await read_response(reader))[1] == b"second"


ENDLESS = b"HTTP/1.1 429 Slow down\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("chunk", [b"11170\r\n" + b"x" * 70_000 + b"\r\n", b"1\r\nx\r\n"], ids=["too long", "endless"])
async def test_an_endless_error_response_is_abandoned_and_its_late_bytes_are_dropped(chunk):
    async with bare_proxy(WireLimits(connect=1)) as (delegate, port, upstream):
        delegate.next_upstreams = [("127.0.0.1", upstream.port)]
        reader, writer = await client(port)
        writer.write(request(upstream.port, BODY))
        up_reader, up_writer = await upstream.accept()
        await read_request(up_reader)
        up_writer.write(ENDLESS + chunk)
        second_reader, second_writer = await upstream.accept()
        await read_request(second_reader)
        up_writer.write(b"0\r\n\r\n")
        up_writer.close()
        second_writer.write(SECOND)
        assert (await read_response(reader))[1] == b"second"
        writer.write(request(upstream.port, BODY))
        await read_request(second_reader)
        second_writer.write(OK)
        assert (await read_response(reader))[1] == b"ok"


async def test_a_connection_that_ends_before_a_response_is_a_failure():
    async with bare_proxy() as (delegate, port, upstream):
        delegate.next_upstreams = [("127.0.0.1", upstream.port)]
        reader, writer = await client(port)
        writer.write(request(upstream.port, BODY))
        up_reader, up_writer = await upstream.accept()
        await read_request(up_reader)
        up_writer.close()
        second_reader, second_writer = await upstream.accept()
        await read_request(second_reader)
        second_writer.write(SECOND)
        assert (await read_response(reader))[1] == b"second"
        assert (delegate.failed, delegate.ends) == (["reset"], [])


async def test_no_first_byte_in_time_is_a_failure():
    async with bare_proxy(WireLimits(first_byte=0.3)) as (delegate, port, upstream):
        delegate.next_upstreams = [("127.0.0.1", upstream.port)]
        reader, writer = await client(port)
        writer.write(request(upstream.port, BODY))
        up_reader, up_writer = await upstream.accept()
        await read_request(up_reader)
        second_reader, second_writer = await upstream.accept()
        up_writer.write(OK)  # too late
        await read_request(second_reader)
        second_writer.write(SECOND)
        assert (await read_response(reader))[1] == b"second"
        assert (delegate.failed, delegate.ends) == (["first_byte"], [])


async def test_a_refused_connection_is_a_failure():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dead = closed.getsockname()[1]
        async with bare_proxy() as (delegate, port, upstream):
            delegate.next_upstreams = [("127.0.0.1", upstream.port)]
            reader, writer = await client(port)
            writer.write(request(dead, BODY))
            up_reader, up_writer = await upstream.accept()
            await read_request(up_reader)
            up_writer.write(SECOND)
            assert (await read_response(reader))[1] == b"second"
            assert (delegate.failed, delegate.attempts, delegate.ends) == (["connect"], 2, [])


async def test_the_client_gets_the_response_of_the_last_attempt_unchanged():
    async with bare_proxy() as (delegate, port, upstream):
        delegate.next_upstreams = [("127.0.0.1", upstream.port)]
        reader, writer = await client(port)
        writer.write(request(upstream.port, BODY))
        up_reader, up_writer = await upstream.accept()
        for _ in range(2):
            await read_request(up_reader)
            up_writer.write(BUSY)
        head, body = await read_response(reader)
        assert head.startswith(b"HTTP/1.1 503")
        assert body == b"failed"
        assert (delegate.failed, delegate.answered, delegate.attempts) == (["status"], 503, 2)


async def test_a_call_is_not_retried_after_its_client_disconnected():
    async with bare_proxy() as (delegate, port, upstream):
        delegate.next_upstreams = [("127.0.0.1", upstream.port)]
        tried = asyncio.Event()
        go_on = asyncio.Event()

        async def wait(attempt):
            tried.set()
            await go_on.wait()
            attempt.retry = True

        delegate.attempt_failed = wait
        _, writer = await client(port)
        writer.write(request(upstream.port, BODY))
        up_reader, up_writer = await upstream.accept()
        await read_request(up_reader)
        up_writer.write(BUSY)
        await asyncio.wait_for(tried.wait(), 60)
        writer.close()
        # The proxy has seen it when it closes the upstream connection.
        assert await asyncio.wait_for(up_reader.read(), 60) == b""
        go_on.set()
        await asyncio.sleep(0.1)
        assert upstream.connections.empty()
        assert delegate.attempts == 1


async def test_a_streamed_request_is_not_retried():
    async with bare_proxy() as (delegate, port, upstream):
        delegate.next_upstreams = [("127.0.0.1", upstream.port)]
        delegate.stream_request = True
        reader, writer = await client(port)
        writer.write(request(upstream.port, BODY))
        up_reader, up_writer = await upstream.accept()
        await read_request(up_reader)
        up_writer.write(BUSY)
        assert (await read_response(reader))[0].startswith(b"HTTP/1.1 503")
        assert delegate.failed == []


async def test_an_attempt_over_the_total_time_limit_is_a_failure_and_the_next_has_the_full_time():
    async with bare_proxy(WireLimits(first_byte=60, total=1)) as (delegate, port, upstream):
        delegate.next_upstreams = [("127.0.0.1", upstream.port)]
        reader, writer = await client(port)
        writer.write(request(upstream.port, BODY))
        up_reader, _ = await upstream.accept()
        await read_request(up_reader)
        second_reader, second_writer = await upstream.accept()
        await read_request(second_reader)
        second_writer.write(SECOND)
        assert (await read_response(reader))[1] == b"second"
        assert (delegate.failed, delegate.ends) == (["first_byte"], [])


async def test_an_upload_over_the_total_time_limit_gets_a_response_before_it_ends():
    async with bare_proxy(WireLimits(total=0.5)) as (delegate, port, upstream):
        delegate.stream_request = True
        reader, writer = await client(port)
        writer.write(request(upstream.port, BODY)[:-1000])
        up_reader, _ = await upstream.accept()
        await read_head(up_reader)
        assert (await read_response(reader))[0].startswith(b"HTTP/1.1 504")
        assert delegate.ends == ["timeout"]


async def test_the_retry_hook_learns_that_the_client_has_disconnected():
    async with bare_proxy() as (delegate, port, upstream):
        delegate.next_upstreams = [("127.0.0.1", upstream.port)]
        learned = asyncio.Event()

        async def wait(attempt):
            await attempt.client_left.wait()
            learned.set()

        delegate.attempt_failed = wait
        _, writer = await client(port)
        writer.write(request(upstream.port, BODY))
        up_reader, up_writer = await upstream.accept()
        await read_request(up_reader)
        up_writer.write(BUSY)
        await asyncio.sleep(0.1)
        assert not learned.is_set()
        writer.close()
        await asyncio.wait_for(learned.wait(), 60)
        assert delegate.attempts == 1


# Failures of the first attempt. Each returns the connection that the second attempt uses, or None if it is a new one.


async def hangs_up(reader, writer):
    writer.close()


async def is_busy(reader, writer):
    writer.write(BUSY)
    return reader, writer


async def says_nothing(reader, writer):
    pass


async def breaks_off(reader, writer):
    writer.write(SECOND[:-3])
    writer.close()


@pytest.mark.parametrize("leaves", [False, True], ids=["the client waits", "the client leaves"])
@pytest.mark.parametrize("fails", [hangs_up, is_busy, says_nothing, breaks_off])
async def test_no_task_is_left_after_a_failure(fails, leaves):
    async with bare_proxy(WireLimits(first_byte=0.5)) as (delegate, port, upstream):
        before = asyncio.all_tasks()
        delegate.next_upstreams = [("127.0.0.1", upstream.port)]
        reader, writer = await client(port)
        writer.write(request(upstream.port, BODY))
        first = await upstream.accept()
        await read_request(first[0])
        if leaves:
            writer.close()
        second = await fails(*first)
        if fails is breaks_off:
            await reader.read()
        elif not leaves:
            second_reader, second_writer = second or await upstream.accept()
            await read_request(second_reader)
            second_writer.write(SECOND)
            assert (await read_response(reader))[1] == b"second"
        writer.close()
        async with asyncio.timeout(60):
            while left := asyncio.all_tasks() - before:
                await asyncio.wait(left)
