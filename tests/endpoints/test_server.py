"""The listener with real clients, many clients, slow clients, and clients that send too much or rubbish."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import json
import logging
import os
import resource
import socket
import threading
from pathlib import Path

import h11
import pytest

from tests.support.local_endpoints import PATIENCE, client, serving
from wirekey.config import HostPort
from wirekey.core.endpoints.handler import DRAINED_BYTES
from wirekey.core.endpoints.local_request import BODY_BYTES, HEAD_BYTES
from wirekey.core.endpoints.server import ServerLimits
from wirekey.core.local_response import LocalResponse, local_json

TOKEN = "/api/v1/auth/token"
SECURITY = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
}


def host_port(server):
    host, _, port = server.address.rpartition(":")
    return host, int(port)


async def raw(server, *pieces, pause=0.0):
    """Send pieces and return all data until the connection ends."""
    reader, writer = await asyncio.open_connection(*host_port(server))
    try:
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionError):
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(pause)
            received = b""
            with contextlib.suppress(ConnectionError):
                while piece := await reader.read(65536):
                    received += piece
            return received
    finally:
        writer.close()


def responses(data, *methods):
    """Parse responses as strictly as h11 does; return (status, headers, body) for each."""
    found = []
    for method in methods:
        reading = h11.Connection(h11.CLIENT)
        reading.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
        reading.send(h11.EndOfMessage())
        reading.receive_data(data)
        head, body = reading.next_event(), b""
        while isinstance(event := reading.next_event(), h11.Data):
            body += event.data
        assert isinstance(event, h11.EndOfMessage)
        found.append((head.status_code, {k.decode(): v.decode() for k, v in head.headers}, body))
        data = reading.trailing_data[0]
    assert data == b""
    return found


# Properties of every response.


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("HEAD", "/health", 200),
        ("GET", "/ready", 200),
        ("POST", "/health", 405),
        ("DELETE", "/ready", 405),
        ("PROPFIND", "/ready", 405),
        ("GET", TOKEN, 405),
        ("POST", "/.well-known/jwks.json", 405),
        ("GET", "/", 404),
        ("GET", "/metrics", 404),
        ("POST", TOKEN, 415),
    ],
)
async def test_each_response_is_json_with_security_headers(token_server, method, path, status):
    async with serving(token_server.routes()) as server, client(server) as http:
        response = await http.request(method, path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    assert SECURITY.items() <= dict(response.headers).items()
    assert "date" in response.headers
    assert "server" not in response.headers
    assert "access-control-allow-origin" not in response.headers
    assert bool(response.content) == (method != "HEAD")


async def test_the_public_keys_are_cacheable_and_accept_head(token_server):
    async with serving(token_server.routes()) as server, client(server) as http:
        whole, head = await http.get("/.well-known/jwks.json"), await http.head("/.well-known/jwks.json")
    assert whole.headers["cache-control"] == head.headers["cache-control"] == "public, max-age=300"
    assert head.headers["content-length"] == str(len(whole.content))
    assert [key["alg"] for key in whole.json()["keys"]] == ["EdDSA"]
    assert all("d" not in key for key in whole.json()["keys"])


async def test_responses_on_one_connection_are_in_the_order_of_the_requests(token_server):
    head = b" HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    async with serving(token_server.routes()) as server:
        data = await raw(server, b"GET /health" + head + b"HEAD /ready" + head + b"GET /ready" + head + last)
    assert [status for status, _, _ in responses(data, "GET", "HEAD", "GET", "GET")] == [200, 200, 200, 404]


# Too much.


def posted(size, *more):
    head = [f"POST {TOKEN} HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {size}", *more]
    return "\r\n".join([*head, "", ""]).encode()


LARGE = {
    "just over the limit": BODY_BYTES + 1,
    "much more": DRAINED_BYTES - BODY_BYTES,
}


@pytest.mark.parametrize("size", LARGE.values(), ids=LARGE)
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
async def test_a_body_that_is_too_large_is_refused_and_the_client_gets_the_reason(token_server, size, declared):
    async def chunks():
        for _ in range(0, size, 16384):
            yield b"x" * 16384

    body = b"x" * size if declared else chunks()
    async with serving(token_server.routes()) as server, client(server) as http:
        response = await http.post(TOKEN, content=body, headers={"content-type": "application/json"})
        assert (response.status_code, response.json()["error"]) == (413, "invalid_request")
        assert str(BODY_BYTES) in response.json()["error_description"]
        assert (await http.get("/health")).status_code == 200


@pytest.mark.parametrize("size", [10**9, 10**18, 10**400])
async def test_a_body_announced_as_too_large_is_refused_immediately(token_server, size):
    async with serving(token_server.routes(), bounds=ServerLimits(body=PATIENCE)) as server:
        data = await raw(server, posted(size, "Expect: 100-continue"))
        [(status, headers, _)] = responses(data, "POST")
    assert (status, headers["connection"]) == (413, "close")


async def test_expect_100_continue_gets_a_continue_and_the_body_is_read(token_server):
    body = json.dumps(token_server.whole).encode()
    async with serving(token_server.routes()) as server:
        data = await raw(server, posted(len(body), "Expect: 100-continue", "Connection: close"), body, pause=0.05)
    first, _, final = data.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 100")
    assert responses(final, "POST")[0][0] == 200


async def test_data_beyond_the_drain_limit_is_not_read(token_server):
    taken = 0

    def send(place):
        nonlocal taken
        with socket.create_connection(place, PATIENCE) as connection:
            connection.sendall(posted(10**9))
            with contextlib.suppress(OSError):
                while taken < 10**9:
                    taken += connection.send(b"x" * 65536)

    async with serving(token_server.routes(), bounds=ServerLimits(body=PATIENCE)) as server:
        await asyncio.to_thread(send, host_port(server))
    assert DRAINED_BYTES < taken < 4 * DRAINED_BYTES  # the rest of it is the system's buffers


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"x" * HEAD_BYTES, 431),
        (b"GET /" + b"x" * HEAD_BYTES + b" HTTP/1.1\r\nHost: x", 431),
        (b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"\r\n".join(b"X%d: y" % number for number in range(100)), 431),
        (b"GET /health HTTP/1.1", 400),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nHost: y", 400),
        (b"GET /health HTTP/1.1\r\nHost: x y", 400),
        (b"GET /health HTTP/1.1\r\nHost: x:" + b"1" * 5000, 400),
        (b"GET /health?" + b"&" * 101 + b" HTTP/1.1\r\nHost: x", 400),
        (b"GET http://x/health HTTP/1.1\r\nHost: x", 400),
        (b"CONNECT api.openai.com:443 HTTP/1.1\r\nHost: api.openai.com:443", 400),
    ],
)
async def test_a_head_that_is_too_large_or_ambiguous_is_refused_with_a_reason(token_server, head, status):
    async with serving(token_server.routes()) as server:
        [(found, headers, body)] = responses(await raw(server, head + b"\r\n\r\n"), "GET")
    assert (found, headers["connection"]) == (status, "close")
    assert json.loads(body)["error_description"].endswith(".")


RUBBISH = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(500),
    b"GET /health\r\n\r\n",
    b"GET /health HTTP/2.0\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost x\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: x\r\nAuthorization: Basic c2VjcmV0\x00\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"POST /api/v1/auth/token HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
    b"POST /api/v1/auth/token HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    b"POST /api/v1/auth/token HTTP/1.1\r\nHost: x\r\nContent-Length: -3\r\n\r\nabc",
    b"POST /api/v1/auth/token HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    b"POST /api/v1/auth/token HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nabc",
    b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 16 * HEAD_BYTES,
]


@pytest.mark.parametrize("rubbish", RUBBISH)
async def test_rubbish_closes_only_its_own_connection(token_server, rubbish, caplog):
    caplog.set_level(logging.WARNING)
    async with serving(token_server.routes(), bounds=ServerLimits(head=1.0)) as server, client(server) as http:
        data = await raw(server, rubbish)
        assert data == b"" or data.startswith(b"HTTP/1.1 400")
        assert (await http.get("/health")).status_code == 200
    assert "Traceback" not in caplog.text
    assert "c2VjcmV0" not in caplog.text


# Too slow, too many.

HASTY = ServerLimits(head=0.2, body=0.2, response=0.2)

SLOW = {
    "nothing": (),
    "half a head": (b"GET /health HT",),
    "a head in drops": tuple(b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 4)[:60],
    "half a body": (posted(100), b"half"),
    "half a chunk": (b"POST /api/v1/auth/token HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",),
    "a body that is too large, and stays away": (posted(BODY_BYTES + 1),),
    "a kept connection": (b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n",),
}


@pytest.mark.parametrize("pieces", SLOW.values(), ids=SLOW)
async def test_a_slow_client_is_disconnected(token_server, pieces):
    pieces = [bytes([piece]) if isinstance(piece, int) else piece for piece in pieces]
    async with serving(token_server.routes(), HASTY) as server:
        # Ends, or `raw` runs out of patience.
        await raw(server, *pieces, pause=0.01 if len(pieces) > 2 else 0)
        assert not server._connections
        assert len(server._admission) == 0


async def test_a_client_that_does_not_read_responses_is_disconnected():
    big = local_json(200, {"text": "x" * 40_000})

    def flood(place, over):
        """Send many requests and read nothing."""
        with socket.create_connection(place, PATIENCE) as connection:
            connection.settimeout(0.5)
            request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 1000
            with contextlib.suppress(OSError):
                for _ in range(100_000):
                    connection.sendall(request)
            assert over.wait(PATIENCE)

    async with serving({"/": lambda _: big}, bounds=HASTY) as server:
        over = threading.Event()
        flooding = asyncio.create_task(asyncio.to_thread(flood, host_port(server), over))
        async with asyncio.timeout(PATIENCE):
            while len(server._admission) == 0:
                await asyncio.sleep(0.01)
            while len(server._admission):
                await asyncio.sleep(0.01)
        over.set()
        await flooding


async def test_R48_too_many_connections_close_the_oldest_that_has_sent_no_request(token_server, caplog):
    async def idle(server, address):
        return await asyncio.open_connection(*host_port(server), local_addr=(address, 0))

    async def is_served(server, address):
        reader, writer = await idle(server, address)
        try:
            writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return bool(await asyncio.wait_for(reader.read(), PATIENCE))
        except ConnectionError:
            return False
        finally:
            writer.close()

    async def half_head(server):
        reader, writer = await idle(server, "127.0.0.1")
        writer.write(b"GET /health HTT")
        return reader, writer

    bounds = ServerLimits(head=PATIENCE, connections=5, of_one_address=4)
    async with serving(token_server.routes(), bounds=bounds) as server:
        held = [await opened(server) for opened in (half_head, half_head, lambda each: idle(each, "127.0.0.2"))]
        kept = await idle(server, "127.0.0.1")
        kept[1].write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await asyncio.wait_for(kept[0].readuntil(b"\r\n\r\n"), PATIENCE)
        for place in ("127.0.0.1", "127.0.0.2", "127.0.0.1"):
            assert await is_served(server, place)
        # The oldest was closed for the first of them, which has left a place for the next ones.
        assert not await asyncio.wait_for(held[0][0].read(), PATIENCE)
        for reader, _ in held[1:]:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(), 0.01)
        for _, writer in [*held, kept]:
            writer.close()
        async with asyncio.timeout(PATIENCE):
            while len(server._admission):
                await asyncio.sleep(0.01)
        assert await is_served(server, "127.0.0.1")
    assert "too many connections" in caplog.text


async def test_a_hundred_concurrent_clients_get_their_tokens(token_server):
    async def one(server):
        async with client(server) as http:
            return await http.post(TOKEN, data=token_server.whole)

    async with serving(token_server.routes()) as server:
        found = await asyncio.gather(*(one(server) for _ in range(100)))
    assert {response.status_code for response in found} == {200}
    assert len({response.json()["access_token"] for response in found}) == 100


async def test_a_process_out_of_descriptors_accepts_connections_again_later(token_server, caplog):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with serving(token_server.routes(), bounds=ServerLimits(head=PATIENCE)) as server:
        reader_socket = socket.socket()
        reader_socket.setblocking(False)
        highest = max(int(file.name) for file in Path("/proc/self/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
        fillers = []
        try:
            with contextlib.suppress(OSError):
                while True:
                    fillers.append(os.open("/dev/null", os.O_RDONLY))
            await asyncio.get_running_loop().sock_connect(reader_socket, host_port(server))
            async with asyncio.timeout(PATIENCE):
                while "accepts no connections" not in caplog.text:
                    await asyncio.sleep(0.01)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for filler in fillers:
                os.close(filler)
        async with asyncio.timeout(PATIENCE):
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(reader_socket, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await loop.sock_recv(reader_socket, 100)).startswith(b"HTTP/1.1 200")
        reader_socket.close()


# Failures of our own.


@pytest.mark.parametrize(
    "broken",
    [
        lambda _: 1 / 0,
        lambda _: LocalResponse(200, (("content-length", "5"),), b"longer than five"),
        lambda _: LocalResponse(200, (), b"of no length"),
        lambda _: None,
    ],
)
async def test_an_internal_error_is_a_500_without_details(broken, caplog):
    async with serving({"/": broken}) as server, client(server) as http:
        for _ in range(2):
            response = await http.post("/", content=b"secret-content")
            assert (response.status_code, response.json()["error"]) == (500, "server_error")
    assert "secret-content" not in caplog.text + response.text


# Beginning and ending.


async def test_it_can_start_and_stop_repeatedly_on_one_port_without_leaks(token_server):
    def descriptors():
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    async with serving(token_server.routes()) as first:
        place = HostPort(*host_port(first))
    before, tasks = descriptors(), len(asyncio.all_tasks())
    for _ in range(20):
        async with serving(token_server.routes(), place=place) as server, client(server) as http:
            assert (await http.get("/health")).status_code == 200
            # One that idles, one in the midst of a head.
            _, idle = await asyncio.open_connection(*host_port(server))
            _, slow = await asyncio.open_connection(*host_port(server))
            slow.write(b"GET /hea")
            await slow.drain()
            assert (await http.get("/health")).status_code == 200
        assert not server.is_open
        assert len(server._admission) == 0
        idle.close()
        slow.close()
    async with asyncio.timeout(PATIENCE):
        while descriptors() > before or len(asyncio.all_tasks()) > tasks:
            await asyncio.sleep(0.01)


async def test_a_connected_client_sees_the_shutdown(token_server):
    async with serving(token_server.routes()) as server:
        reader, writer = await asyncio.open_connection(*host_port(server))
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"}")
    assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*host_port_of(writer))
    writer.close()


def host_port_of(writer):
    return writer.get_extra_info("peername")[:2]


async def test_a_port_in_use_is_reported(token_server):
    async with serving(token_server.routes()) as server:
        with pytest.raises(OSError) as raised:
            async with serving(token_server.routes(), place=HostPort(*host_port(server))):
                pass
        assert raised.value.errno == errno.EADDRINUSE
        async with client(server) as http:
            assert (await http.get("/health")).status_code == 200
