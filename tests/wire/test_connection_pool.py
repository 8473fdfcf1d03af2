"""The connection pool: the next client reuses a connection, and only one on which nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time

import pytest

from tests.wire.bare_proxy import bare_proxy, read_head, read_response, request
from tests.wire.test_stream import EVENTS, OK, client
from wirekey.core.wire.connection_pool import ConnectionPool, PoolLimits
from wirekey.core.wire.delegate import WireLimits
from wirekey.core.wire.happy_eyeballs import connect
from wirekey.core.wire.pooled_connection import Origin, open_connection, pooled_connections, tls_context
from wirekey_simulator.certificate import prepare_certificate

pytestmark = pytest.mark.usefixtures("with_and_without_speed")

BODY = b'{"content":"x"}'
SECOND = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond"


def secured(port: int, body: bytes = BODY, *lines: bytes) -> bytes:
    return request(port, body, *lines, scheme=b"https")


async def read_request(reader) -> bytes:
    head = await read_head(reader)
    assert await asyncio.wait_for(reader.readexactly(len(BODY)), 60) == BODY
    return head


async def until(condition) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def one_call_made(tmp_path, response: bytes = OK, limits: WireLimits | None = None):
    """Yield delegate, port, upstream and the upstream connection, after a client has made a call and disconnected."""
    async with bare_proxy(limits, secured_in=tmp_path) as (delegate, port, upstream):
        reader, writer = await client(port)
        writer.write(secured(upstream.port))
        up_reader, up_writer = await upstream.accept()
        await read_request(up_reader)
        up_writer.write(response)
        await read_response(reader)
        writer.close()
        await until(lambda: delegate.connection_pool.counts.closed or len(delegate.connection_pool))
        yield delegate, port, upstream, up_reader, up_writer


async def test_the_next_client_reuses_the_connection_of_a_client_that_disconnected(tmp_path):
    async with one_call_made(tmp_path) as (delegate, port, upstream, up_reader, up_writer):
        reader, writer = await client(port)
        writer.write(secured(upstream.port))
        await read_request(up_reader)
        up_writer.write(SECOND)
        assert (await read_response(reader))[1] == b"second"
        counts = delegate.connection_pool.counts
        assert (counts.opened, counts.reused, counts.closed) == (1, 1, 0)
        assert upstream.connections.empty()


async def test_a_flow_shows_the_same_attributes_of_a_reused_connection_as_of_a_new_one(tmp_path):
    async with one_call_made(tmp_path) as (delegate, port, upstream, up_reader, up_writer):
        reader, writer = await client(port)
        writer.write(secured(upstream.port))
        await read_request(up_reader)
        up_writer.write(OK)
        await read_response(reader)
        new, reused = (flow.server_conn for flow in delegate.flows)
        assert new is not reused
        assert reused.tls_established
        assert (reused.sni, reused.alpn_offers, reused.tls) == ("127.0.0.1", [b"http/1.1"], True)
        assert reused.tls_version == "TLSv1.3"
        assert reused.certificate_list[0].cn == new.certificate_list[0].cn
        for name in ("address", "peername", "sockname", "cipher", "alpn", "timestamp_start", "timestamp_tls_setup"):
            assert getattr(reused, name) == getattr(new, name), name


async def test_two_clients_at_once_never_share_a_connection(tmp_path):
    async with bare_proxy(secured_in=tmp_path) as (delegate, port, upstream):
        clients = [await client(port) for _ in range(2)]
        for _, writer in clients:
            writer.write(secured(upstream.port))
        for _ in clients:
            up_reader, up_writer = await upstream.accept()
            await read_request(up_reader)
            up_writer.write(OK)
        for reader, _ in clients:
            assert (await read_response(reader))[1] == b"ok"
        assert delegate.connection_pool.counts.opened == 2


async def test_responses_that_arrive_at_once_over_one_read_buffer_stay_apart(tmp_path, with_and_without_speed):
    size = 300_000  # more than the buffer
    async with bare_proxy(secured_in=tmp_path) as (delegate, port, upstream):
        clients, upstreams = [await client(port) for _ in range(3)], []
        for _, writer in clients:
            writer.write(secured(upstream.port))
            upstreams.append(await upstream.accept())
            await read_request(upstreams[-1][0])
        for _, up_writer in upstreams:
            up_writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for start in range(0, size, 10_000):
            for letter, (_, up_writer) in zip(b"abc", upstreams, strict=True):
                up_writer.write(bytes([letter]) * 10_000)
            if start % 50_000 == 0:
                await asyncio.sleep(0.001)
        bodies = await asyncio.gather(*(read_response(reader) for reader, _ in clients))
        assert [set(body) for _, body in bodies] == [set(b"a"), set(b"b"), set(b"c")]
        assert [len(body) for _, body in bodies] == [size] * 3
        assert delegate.connection_pool.counts.opened == 3
        found = [each for each in pooled_connections.values() if not each.is_closed]
        if with_and_without_speed:
            assert len({id(each.transport._ssl_protocol._ssl_buffer) for each in found}) == 1
        assert [each.get_extra_info("peercert") for each in found] == [None] * 3, "6 KiB each, which nothing reads"


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", "the provider wants it closed"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.0 closes it"),
        (OK + b"HTTP/1.1 200 OK\r\n", "more than one response was received"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_connection_is_not_reused_when(tmp_path, response, why):
    async with bare_proxy(secured_in=tmp_path) as (delegate, port, upstream):
        reader, writer = await client(port)
        writer.write(secured(upstream.port))
        up_reader, up_writer = await upstream.accept()
        await read_request(up_reader)
        up_writer.write(response)
        await read_response(reader)
        assert await asyncio.wait_for(up_reader.read(), 60) == b"", why
        writer.close()
        assert len(delegate.connection_pool) == 0


async def test_a_connection_is_not_reused_when_its_client_disconnected_during_a_response(tmp_path):
    async with bare_proxy(secured_in=tmp_path) as (delegate, port, upstream):
        reader, writer = await client(port)
        writer.write(secured(upstream.port))
        up_reader, up_writer = await upstream.accept()
        await read_request(up_reader)
        up_writer.write(EVENTS + b"9\r\ndata: 0\n\n\r\n")
        await asyncio.wait_for(reader.readuntil(b"data: 0"), 60)
        writer.close()
        assert await asyncio.wait_for(up_reader.read(), 60) == b""
        assert len(delegate.connection_pool) == 0


async def test_a_byte_on_an_idle_connection_closes_it(tmp_path):
    async with one_call_made(tmp_path) as (delegate, port, upstream, up_reader, up_writer):
        up_writer.write(SECOND)  # for nobody
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(up_reader.read(), 60) == b""
        await until(lambda: len(delegate.connection_pool) == 0)
        reader, writer = await client(port)
        writer.write(secured(upstream.port))
        fresh_reader, fresh_writer = await upstream.accept()
        await read_request(fresh_reader)
        fresh_writer.write(OK)
        assert (await read_response(reader))[1] == b"ok"


async def test_an_idle_connection_that_the_provider_closes_leaves_the_pool(tmp_path):
    async with one_call_made(tmp_path) as (delegate, _, __, ___, up_writer):
        up_writer.close()
        await until(lambda: len(delegate.connection_pool) == 0)
        assert delegate.connection_pool.counts.closed == 1


# A provider that closes the connection before the request arrives.


async def test_a_request_is_sent_again_on_a_new_connection_if_the_reused_one_was_closed(tmp_path):
    async with one_call_made(tmp_path) as (delegate, port, upstream, up_reader, up_writer):
        reader, writer = await client(port)
        writer.write(secured(upstream.port))
        first = await read_request(up_reader)
        up_writer.close()
        fresh_reader, fresh_writer = await upstream.accept()
        assert await read_request(fresh_reader) == first
        fresh_writer.write(SECOND)
        assert (await read_response(reader))[1] == b"second"
        assert delegate.ends == delegate.failed == []
        assert delegate.attempts == 3


async def test_it_is_sent_again_only_once_and_only_after_a_reused_connection(tmp_path):
    async with one_call_made(tmp_path) as (delegate, port, upstream, up_reader, up_writer):
        reader, writer = await client(port)
        writer.write(secured(upstream.port))
        await read_request(up_reader)
        up_writer.close()
        fresh_reader, fresh_writer = await upstream.accept()
        await read_request(fresh_reader)
        fresh_writer.close()
        head, _ = await read_response(reader)
        assert head.startswith(b"HTTP/1.1 502")
        assert upstream.connections.empty()
        assert delegate.ends == ["upstream_reset"]


@pytest.mark.parametrize("sent", [b"HTTP/1.1 2", b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"])
async def test_it_is_not_sent_again_after_a_byte_of_a_response(tmp_path, sent):
    async with one_call_made(tmp_path) as (_, port, upstream, up_reader, up_writer):
        reader, writer = await client(port)
        writer.write(secured(upstream.port))
        await read_request(up_reader)
        up_writer.write(sent)
        up_writer.close()
        head, _ = await read_response(reader)
        assert head.startswith(b"HTTP/1.1 502")
        assert upstream.connections.empty()


@pytest.mark.parametrize(
    ("setting", "value"), [("resends", False), ("stream_request", True)], ids=["processed once only", "streamed"]
)
async def test_it_is_not_sent_again_if_it_must_not_or_cannot_be(tmp_path, setting, value):
    async with one_call_made(tmp_path) as (delegate, port, upstream, up_reader, up_writer):
        setattr(delegate, setting, value)
        reader, writer = await client(port)
        writer.write(secured(upstream.port))
        await read_request(up_reader)
        up_writer.close()
        head, _ = await read_response(reader)
        assert head.startswith(b"HTTP/1.1 502")
        assert upstream.connections.empty()


async def test_an_interim_response_is_not_taken_for_the_final_one(tmp_path):
    async with bare_proxy(secured_in=tmp_path) as (delegate, port, upstream):
        reader, writer = await client(port)
        writer.write(secured(upstream.port))
        up_reader, up_writer = await upstream.accept()
        await read_request(up_reader)
        up_writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLi")
        up_writer.write(b"nk: <x>\r\n\r\n")
        await up_writer.drain()
        up_writer.write(OK)
        head, body = await read_response(reader)
        assert head.startswith(b"HTTP/1.1 200")
        assert body == b"ok"
        assert delegate.answered == 200


# TLS.


async def test_nothing_is_sent_to_an_upstream_with_a_certificate_of_an_unknown_ca(tmp_path):
    async with bare_proxy(secured_in=tmp_path) as (delegate, port, upstream):
        _, stranger = prepare_certificate(tmp_path / "other")
        from mitmproxy import ctx

        ctx.options.update(ssl_verify_upstream_trusted_ca=str(stranger))
        reader, writer = await client(port)
        writer.write(secured(upstream.port))
        head, body = await read_response(reader)
        assert head.startswith(b"HTTP/1.1 502")
        assert b"upstream_not_trusted" in body
        assert upstream.connections.empty()
        assert (delegate.connection_pool.counts.opened, len(delegate.connection_pool)) == (0, 0)


async def test_a_certificate_of_another_name_is_refused(tmp_path):
    async with upstream_with_tls(tmp_path) as (port, root):
        with pytest.raises(ssl.SSLCertVerificationError, match="certificate is not valid for"):
            await open_connection(
                connect([("127.0.0.1", port)]), Origin("other.example", port), tls_context(str(root), "TLS1_2")
            )


async def test_tls_1_1_is_refused(tmp_path):
    async with upstream_with_tls(tmp_path, maximum=ssl.TLSVersion.TLSv1_1) as (port, root):
        with pytest.raises(OSError):  # an alert or a reset, as the server pleases
            await open_connection(
                connect([("127.0.0.1", port)]), Origin("localhost", port), tls_context(str(root), "TLS1_2")
            )


async def test_a_tls_handshake_that_stalls_is_ended_at_the_limit(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with bare_proxy(WireLimits(connect=0.3), secured_in=tmp_path) as (_, port, __):
            reader, writer = await client(port)
            writer.write(secured(silent.getsockname()[1]))
            head, _ = await read_response(reader)
            assert head.startswith(b"HTTP/1.1 504")


async def test_reading_from_the_provider_pauses_while_the_client_does_not_read(tmp_path):
    async with bare_proxy(secured_in=tmp_path) as (_, port, upstream):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(secured(upstream.port))
        up_reader, up_writer = await upstream.accept()
        await read_request(up_reader)
        size = 32 * 1024 * 1024
        up_writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        await read_head(reader)
        await until(lambda: any(connection.is_reading_paused for connection in pooled_connections.values()))
        assert len(await asyncio.wait_for(reader.readexactly(size), 60)) == size
        assert not any(connection.is_reading_paused for connection in pooled_connections.values())


async def test_a_call_that_waits_for_a_connection_gets_that_of_another_client_as_soon_as_it_is_idle(tmp_path):
    async with bare_proxy(secured_in=tmp_path) as (delegate, port, upstream):
        (reader, writer), (waiting_reader, waiting_writer) = await client(port), await client(port)
        writer.write(secured(upstream.port))
        up_reader, up_writer = await upstream.accept()
        await read_request(up_reader)
        connection_pool, origin = delegate.connection_pool, Origin("127.0.0.1", upstream.port)
        for _ in range(connection_pool.limits.opening):
            connection_pool.begin_opening(origin)
        waiting_writer.write(secured(upstream.port))
        await until(lambda: connection_pool.is_wanted(origin))
        up_writer.write(OK)
        assert (await read_response(reader))[1] == b"ok"
        await read_request(up_reader)
        up_writer.write(SECOND)
        assert (await read_response(waiting_reader))[1] == b"second"
        assert not connection_pool.is_wanted(origin)
        connection_pool.end_opening(origin)
        writer.write(secured(upstream.port))  # the first client is still connected
        up_reader, up_writer = await upstream.accept()
        await read_request(up_reader)
        up_writer.write(OK)
        assert (await read_response(reader))[1] == b"ok"
        assert (connection_pool.counts.opened, connection_pool.counts.reused) == (2, 1)


async def test_a_call_that_waits_for_a_connection_has_the_time_limit_of_connecting(tmp_path):
    async with bare_proxy(WireLimits(connect=0.3), secured_in=tmp_path) as (delegate, port, upstream):
        connection_pool, origin = delegate.connection_pool, Origin("127.0.0.1", upstream.port)
        for _ in range(connection_pool.limits.opening):
            connection_pool.begin_opening(origin)
        reader, writer = await client(port)
        writer.write(secured(upstream.port))
        assert (await read_response(reader))[0].startswith(b"HTTP/1.1 504")
        connection_pool.end_opening(origin)
        assert not connection_pool.is_wanted(origin)


# Idle connections.


@contextlib.asynccontextmanager
async def upstream_with_tls(folder, maximum: ssl.TLSVersion | None = None):
    server_file, root = prepare_certificate(folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(server_file)
    if maximum:
        context.minimum_version = context.maximum_version = maximum
        context.set_ciphers("ALL:@SECLEVEL=0")
    opened = []

    async def keep(reader, writer):
        opened.append(writer)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(keep, "127.0.0.1", 0, ssl=context)
    yield server.sockets[0].getsockname()[1], root
    server.close()


@contextlib.asynccontextmanager
async def pool_with(folder, limits: PoolLimits):
    """Yield a pool, and a function that opens connections to a host for it."""
    # With TLS 1.3, the upstream would send tickets of the session after the handshake.
    async with upstream_with_tls(folder, ssl.TLSVersion.TLSv1_2) as (port, root):
        connection_pool = ConnectionPool(limits)

        async def opened(host: str = "localhost"):
            connection = await open_connection(
                connect([("127.0.0.1", port)]), Origin(host, port), tls_context(str(root), "TLS1_2")
            )
            connection_pool.register(connection)
            return connection

        yield connection_pool, opened
        await connection_pool.close()


async def test_the_connection_used_last_is_acquired_first_and_only_for_its_own_origin(tmp_path):
    async with pool_with(tmp_path, PoolLimits()) as (connection_pool, opened):
        first, second, elsewhere = await opened(), await opened(), await opened("127.0.0.1")
        for connection in (first, second, elsewhere):
            connection_pool.release(connection)
        assert [connection_pool.acquire(first.origin) for _ in range(3)] == [second, first, None]
        assert len(connection_pool) == 1
        connection_pool.release(first)
        connection_pool.release(second)


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        (PoolLimits(per_origin=2), [2, 3]),
        (PoolLimits(total=1), [3]),
        (PoolLimits(max_age=-1), []),
        (PoolLimits(idle_seconds=0), []),
    ],
    ids=["per origin", "total", "age", "idle time"],
)
async def test_idle_connections_are_limited(tmp_path, limits, left):
    async with pool_with(tmp_path, limits) as (connection_pool, opened):
        connections = [await opened() for _ in range(4)]
        for connection in connections:
            connection_pool.release(connection)
        await until(lambda: len(connection_pool) == len(left))
        await until(lambda: sum(not connection.is_closed for connection in connections) == len(left))
        assert [number for number, connection in enumerate(connections) if not connection.is_closed] == left
        assert connection_pool.counts.closed == 4 - len(left)


async def test_no_connection_opened_before_drain_is_reused(tmp_path):
    async with pool_with(tmp_path, PoolLimits()) as (connection_pool, opened):
        idle, held = await opened(), await opened()
        connection_pool.release(idle)
        connection_pool.drain()
        connection_pool.release(held)
        await until(lambda: idle.is_closed and held.is_closed)
        assert connection_pool.acquire(idle.origin) is None
        later = await opened()
        connection_pool.release(later)
        assert connection_pool.acquire(later.origin) is later
        connection_pool.release(later)


async def test_close_closes_all_connections(tmp_path):
    async with pool_with(tmp_path, PoolLimits()) as (connection_pool, opened):
        kept, late = await opened(), await opened()
        connection_pool.release(kept)
        began = time.monotonic()
        await connection_pool.close()
        assert kept.is_closed
        assert len(connection_pool) == 0
        connection_pool.release(late)
        await until(lambda: late.is_closed)
        assert kept.transport.is_closing()
        assert late.transport.is_closing()
        assert time.monotonic() - began < 60


# Connections that are being opened.


async def test_as_many_as_allowed_are_opened_at_once_and_the_others_wait_in_order(tmp_path):
    async with pool_with(tmp_path, PoolLimits(opening=1)) as (connection_pool, opened):
        connection = await opened()
        origin = connection.origin
        assert await connection_pool.acquire_or_wait(origin) is None
        assert await connection_pool.acquire_or_wait(Origin("elsewhere", 443)) is None
        first, second, third = (asyncio.create_task(connection_pool.acquire_or_wait(origin)) for _ in range(3))
        await asyncio.sleep(0)
        connection_pool.release(connection)
        assert await first is connection
        connection_pool.end_opening(origin)
        assert await second is None, "it opens one itself"
        assert not third.done()
        connection_pool.release(connection)
        assert await third is connection
        connection_pool.release(connection)


async def test_an_origin_is_forgotten_when_no_connection_to_it_is_being_opened(tmp_path):
    async with pool_with(tmp_path, PoolLimits()) as (connection_pool, _):
        for number in range(3):
            origin = Origin(f"chosen-by-a-client-{number}", 443)
            assert await connection_pool.acquire_or_wait(origin) is None
            connection_pool.end_opening(origin)
        assert not connection_pool._opening


@pytest.mark.parametrize("gets", ["nothing", "its turn", "a connection"])
async def test_what_a_cancelled_call_waits_for_goes_to_the_next(tmp_path, gets):
    async with pool_with(tmp_path, PoolLimits(opening=1)) as (connection_pool, opened):
        connection = await opened()
        origin = connection.origin
        assert await connection_pool.acquire_or_wait(origin) is None
        first, second = (asyncio.create_task(connection_pool.acquire_or_wait(origin)) for _ in range(2))
        await asyncio.sleep(0)
        if gets == "its turn":
            connection_pool.end_opening(origin)
        elif gets == "a connection":
            connection_pool.release(connection)
        first.cancel()  # in the same turn of the event loop
        with pytest.raises(asyncio.CancelledError):
            await first
        if gets == "nothing":
            connection_pool.end_opening(origin)
        assert await second is (connection if gets == "a connection" else None)
        assert not connection_pool.is_wanted(origin)
        connection_pool.release(connection)


async def test_a_connection_that_was_closed_before_a_waiting_call_took_it_is_not_used(tmp_path):
    async with pool_with(tmp_path, PoolLimits(opening=1)) as (connection_pool, opened):
        connection = await opened()
        assert await connection_pool.acquire_or_wait(connection.origin) is None
        waiting = asyncio.create_task(connection_pool.acquire_or_wait(connection.origin))
        await asyncio.sleep(0)
        connection_pool.release(connection)
        connection.abort()
        connection_pool.end_opening(connection.origin)
        assert await waiting is None
