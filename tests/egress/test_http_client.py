"""Wirekey's own requests, against servers that deliver in parts, close early, send too much or never respond."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading

import pytest
from tests.support.company_proxy import company_proxy

from wirekey.core.egress import http_client
from wirekey.core.egress.http_client import (
    HttpConnection,
    HttpError,
    HttpRequest,
    HttpServer,
    StaleConnectionError,
    checked,
    fetch,
    resolve,
)
from wirekey.core.egress.upstream_proxy import UpstreamProxy

PATIENCE = 60.0
GET = HttpRequest("GET", "/keys", (("host", "h"),), 100)
HELLO = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-a: 1\r\n\r\nhello"


@contextlib.asynccontextmanager
async def serving(*replies):
    """Send one reply to each request: a list of parts with pauses between them; None in it closes the connection."""
    waiting, seen = list(replies), []

    async def serve(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while waiting:
                seen.append(await reader.readuntil(b"\r\n\r\n"))
                for part in waiting.pop(0):
                    if part is None:
                        writer.close()
                        return
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0.01)
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield HttpServer("127.0.0.1", server.sockets[0].getsockname()[1]), seen
    finally:
        server.close()


@pytest.fixture
async def connected():
    made = []

    async def connect(server, silence=None):
        made.append(await HttpConnection.open(server, silence))
        return made[-1]

    yield connect
    for connection in made:
        connection.close()


DELIVERIES = {
    "at once": [HELLO],
    "byte by byte": [HELLO[place : place + 1] for place in range(len(HELLO))],
    "head and body apart": [HELLO[:-5], HELLO[-5:]],
    "chunked": [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-a: 1\r\n\r\n",
        b"2\r\nhe\r\n3\r\nl",
        b"lo\r\n0\r\n\r\n",
    ],
}


@pytest.mark.parametrize("parts", DELIVERIES.values(), ids=DELIVERIES)
async def test_a_response_is_whole_however_it_is_delivered(connected, parts):
    async with serving(parts, parts) as (server, seen):
        connection = await connected(server)
        for _ in range(2):
            response = await connection.exchange(GET)
            assert (response.status, response.body, response.headers["x-a"]) == (200, b"hello", "1")
            assert connection.is_reusable
    assert seen == [b"GET /keys HTTP/1.1\r\nhost: h\r\n\r\n"] * 2


BAD = {
    "too long": ([b"HTTP/1.1 200 OK\r\ncontent-length: 101\r\n\r\n" + b"x" * 101], "longer than 100 bytes"),
    "too long, of no known length": ([b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 101], "longer than 100 bytes"),
    "half a body": ([HELLO[:-1], None], "cannot be read"),
    "half a head": ([HELLO[:10], None], "cannot be read"),
    "a head without end": ([b"HTTP/1.1 200 OK\r\nx: " + b"x" * 100_000], "cannot be read"),
    "no HTTP": ([b"SSH-2.0-OpenSSH_9.0\r\n\r\n"], "cannot be read"),
    "early hints": ([b"HTTP/1.1 103 Early Hints\r\n\r\n"], "status 103"),
}


@pytest.mark.parametrize(("parts", "says"), BAD.values(), ids=BAD)
async def test_a_bad_response_is_an_error(connected, parts, says):
    async with serving(parts) as (server, _):
        connection = await connected(server)
        with pytest.raises(HttpError, match=says) as raised:
            await connection.exchange(GET)
        assert not isinstance(raised.value, StaleConnectionError)
        assert not connection.is_reusable


async def test_a_server_that_closes_without_a_response_is_stale(connected):
    async with serving([HELLO], [None]) as (server, _):
        connection = await connected(server)
        assert (await connection.exchange(GET)).status == 200
        with pytest.raises(StaleConnectionError):
            await connection.exchange(GET)


async def test_a_connection_that_the_server_closes_after_its_response_is_not_reusable(connected):
    closing = HELLO.replace(b"x-a: 1", b"connection: close")
    async with serving([closing, None]) as (server, _):
        connection = await connected(server)
        assert (await connection.exchange(GET)).body == b"hello"
        assert not connection.is_reusable


async def test_a_connection_that_sends_more_than_its_response_is_not_used_again(connected):
    async with serving([HELLO + HELLO], [HELLO]) as (server, seen):
        connection = await connected(server)
        assert (await connection.exchange(GET)).body == b"hello"
        assert not connection.is_reusable
        with pytest.raises(StaleConnectionError, match="sends more than its response"):
            await connection.exchange(GET)
    assert len(seen) == 1


async def test_a_connection_that_the_server_resets_is_not_reusable(connected):
    may_reset = asyncio.Event()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HELLO)
        await writer.drain()
        await may_reset.wait()
        no_wait = struct.pack("ii", 1, 0)  # close with a reset
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_wait)
        writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        connection = await connected(HttpServer("127.0.0.1", server.sockets[0].getsockname()[1]))
        assert (await connection.exchange(GET)).body == b"hello"
        assert connection.is_reusable
        may_reset.set()
        with pytest.raises(ConnectionResetError):
            await connection._reader.read(1)
        await asyncio.sleep(0)
        assert not connection.is_reusable


async def test_a_request_after_a_connection_that_was_closed_gets_a_new_one():
    closing = HELLO.replace(b"x-a: 1", b"connection: close")
    async with serving([closing, None], [HELLO]) as (server, seen):
        responses = await asyncio.to_thread(fetch, server, [GET] * 2)
    assert [response.body for response in responses] == [b"hello"] * 2
    assert len(seen) == 2


async def test_a_server_is_reached_through_a_proxy_whose_name_is_looked_up():
    async with serving([HELLO]) as (server, _):
        with company_proxy(("127.0.0.1", server.port)) as proxy:
            behind = HttpServer("id.example", 80, proxy=UpstreamProxy("localhost", proxy.port))
            [response] = await asyncio.to_thread(fetch, behind, [GET])
    assert response.body == b"hello"
    assert proxy.asked == ["CONNECT id.example:80 HTTP/1.1"]


def test_without_a_request_nothing_is_dialled():
    assert fetch(HttpServer("127.0.0.1", 1), []) == []


def test_fetching_from_a_server_that_cannot_be_reached_is_an_error():
    with pytest.raises(HttpError, match="cannot be reached"):
        fetch(HttpServer("127.0.0.1", 1), [GET])


@pytest.mark.parametrize("parts", [[b""], [HELLO[:-1]]], ids=["no response", "a response that stops"])
async def test_a_silent_server_is_not_waited_for(connected, parts):
    async with serving(parts) as (server, _):
        connection = await connected(server, silence=0.2)
        with pytest.raises(HttpError, match="does not respond in time"):
            await asyncio.wait_for(connection.exchange(GET), PATIENCE)


async def test_a_drip_of_bytes_does_not_exceed_the_whole_time(monkeypatch):
    monkeypatch.setattr(http_client, "WHOLE", 0.3)
    async with serving([b"HTTP/1.1 200 OK\r\n", *[b"x: y\r\n"] * 1000]) as (server, _):
        with pytest.raises(HttpError, match=r"takes longer than 0\.3 s"):
            await asyncio.to_thread(fetch, server, [GET])


async def test_requests_end_with_the_first_that_is_not_successful():
    refused = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"
    async with serving([HELLO], [refused], [HELLO]) as (server, seen):
        responses = await asyncio.to_thread(fetch, server, [GET] * 3)
    assert [response.status for response in responses] == [200, 401]
    assert len(seen) == 2


async def test_a_redirect_is_a_response_and_is_not_followed():
    redirect = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
    async with serving([redirect], [HELLO]) as (server, seen):
        responses = await asyncio.to_thread(fetch, server, [GET])
    assert [response.status for response in responses] == [302]
    assert len(seen) == 1


async def test_the_addresses_are_dialled_in_their_order_and_the_name_is_not_resolved():
    async with serving([HELLO]) as (server, _):
        elsewhere = HttpServer("does-not-exist.invalid", server.port, addresses=("127.0.0.9", "127.0.0.1"))
        [response] = await asyncio.to_thread(fetch, elsewhere, [GET])
    assert response.body == b"hello"


async def test_a_server_that_cannot_be_found_or_reached_is_an_error(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    with pytest.raises(HttpError, match="cannot be reached"):
        await HttpConnection.open(HttpServer("127.0.0.1", 1))
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(HttpError, match="cannot be looked up"):
        resolve("does-not-exist.invalid", 443)


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "169.254.169.254", "127.0.0.1", "::1", "fe80::1%1", "::ffff:192.168.0.1"]
)
def test_D3_one_address_inside_refuses_the_whole_name(address):
    with pytest.raises(HttpError, match=r"^id\.example resolves to "):
        checked("id.example", ("8.8.8.8", address))
    assert checked("id.example", ("8.8.8.8", "2606:4700::1111")) == ("8.8.8.8", "2606:4700::1111")


async def test_fetching_leaves_no_thread_and_no_connection_behind():
    async with serving([HELLO]) as (server, _):
        before = threading.active_count()
        work = threading.Thread(target=fetch, args=(server, [GET]))
        work.start()
        await asyncio.to_thread(work.join, PATIENCE)
        assert not work.is_alive()
        assert threading.active_count() <= before + 1  # asyncio.to_thread keeps its own


def test_no_repr_shows_a_credential():
    request = HttpRequest("GET", "/", (("x-api-key", "secret"),), 1, b"secret")
    assert "secret" not in repr(request)
    assert "secret" not in repr(http_client.HttpResponse(200, {"set-cookie": "secret"}, b"secret"))
