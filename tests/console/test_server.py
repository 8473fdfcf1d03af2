"""The listener under clients of all kinds: real ones, many, slow ones, and those that send too much or rubbish."""

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

from tests.console.conftest import PATIENCE, client, serving
from wirekey.config import HostPort
from wirekey.console.exchange import DRAINED_BYTES
from wirekey.console.local_request import BODY_BYTES, HEAD_BYTES
from wirekey.console.server import ServerLimits
from wirekey.local_response import LocalResponse, local_json

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
    """Send pieces and give all that comes until the connection ends."""
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


def answers(data, *methods):
    """Read answers as strictly as h11 does: (status, headers, body) each."""
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


# What each answer has.


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("HEAD", "/health", 200),
        ("GET", "/ready", 200),
        ("POST", "/health", 405),
        ("DELETE", "/ready", 405),
        ("GET", TOKEN, 405),
        ("POST", "/.well-known/jwks.json", 405),
        ("GET", "/", 404),
        ("GET", "/metrics", 404),
        ("POST", TOKEN, 415),
    ],
)
async def test_each_answer_is_json_and_says_what_browsers_may_do_with_it(office, method, path, status):
    async with serving(office.router()) as server, client(server) as http:
        answer = await http.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert SECURITY.items() <= dict(answer.headers).items()
    assert "date" in answer.headers
    assert "server" not in answer.headers
    assert "access-control-allow-origin" not in answer.headers
    assert bool(answer.content) == (method != "HEAD")


async def test_the_public_keys_may_be_kept_for_a_while_and_are_read_with_head_too(office):
    async with serving(office.router()) as server, client(server) as http:
        whole, head = await http.get("/.well-known/jwks.json"), await http.head("/.well-known/jwks.json")
    assert whole.headers["cache-control"] == head.headers["cache-control"] == "public, max-age=300"
    assert head.headers["content-length"] == str(len(whole.content))
    assert [key["alg"] for key in whole.json()["keys"]] == ["EdDSA"]
    assert all("d" not in key for key in whole.json()["keys"])


async def test_requests_on_one_connection_are_answered_in_their_order(office):
    head = b" HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    async with serving(office.router()) as server:
        data = await raw(server, b"GET /health" + head + b"HEAD /ready" + head + b"GET /ready" + head + last)
    assert [status for status, _, _ in answers(data, "GET", "HEAD", "GET", "GET")] == [200, 200, 200, 404]


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
async def test_a_body_that_is_too_large_is_refused_with_a_reason_that_arrives(office, size, declared):
    async def chunks():
        for _ in range(0, size, 16384):
            yield b"x" * 16384

    body = b"x" * size if declared else chunks()
    async with serving(office.router()) as server, client(server) as http:
        answer = await http.post(TOKEN, content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["error"]) == (413, "invalid_request")
        assert str(BODY_BYTES) in answer.json()["error_description"]
        assert (await http.get("/health")).status_code == 200


@pytest.mark.parametrize("size", [10**9, 10**18, 10**400])
async def test_a_body_that_is_only_announced_as_huge_is_refused_at_once_and_not_waited_for(office, size):
    async with serving(office.router(), bounds=ServerLimits(body=PATIENCE)) as server:
        data = await raw(server, posted(size, "Expect: 100-continue"))
        [(status, headers, _)] = answers(data, "POST")
    assert (status, headers["connection"]) == (413, "close")


async def test_a_body_that_is_announced_is_asked_for_and_read(office):
    body = json.dumps(office.whole).encode()
    async with serving(office.router()) as server:
        data = await raw(server, posted(len(body), "Expect: 100-continue", "Connection: close"), body, pause=0.05)
    first, _, cool_down = data.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 100")
    assert answers(cool_down, "POST")[0][0] == 200


async def test_what_is_sent_beyond_the_drained_is_not_taken(office):
    taken = 0

    def send(place):
        nonlocal taken
        with socket.create_connection(place, PATIENCE) as connection:
            connection.sendall(posted(10**9))
            with contextlib.suppress(OSError):
                while taken < 10**9:
                    taken += connection.send(b"x" * 65536)

    async with serving(office.router(), bounds=ServerLimits(body=PATIENCE)) as server:
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
        (b"GET http://x/health HTTP/1.1\r\nHost: x", 400),
        (b"CONNECT api.openai.com:443 HTTP/1.1\r\nHost: api.openai.com:443", 400),
    ],
)
async def test_a_head_that_is_too_large_or_ambiguous_is_refused_with_a_reason(office, head, status):
    async with serving(office.router()) as server:
        [(found, headers, body)] = answers(await raw(server, head + b"\r\n\r\n"), "GET")
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
async def test_rubbish_ends_its_connection_and_nothing_else(office, rubbish, caplog):
    caplog.set_level(logging.WARNING)
    async with serving(office.router(), bounds=ServerLimits(head=1.0)) as server, client(server) as http:
        data = await raw(server, rubbish)
        assert data == b"" or data.startswith(b"HTTP/1.1 400")
        assert (await http.get("/health")).status_code == 200
    assert "Traceback" not in caplog.text
    assert "c2VjcmV0" not in caplog.text


# Too slow, too many.

HASTY = ServerLimits(head=0.2, body=0.2, answer=0.2)

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
async def test_who_is_slow_is_left(office, pieces):
    pieces = [bytes([piece]) if isinstance(piece, int) else piece for piece in pieces]
    async with serving(office.router(), HASTY) as server:
        # Ends, or `raw` runs out of patience.
        await raw(server, *pieces, pause=0.01 if len(pieces) > 2 else 0)
        assert not server._connections
        assert not server._present


async def test_who_does_not_take_his_answers_is_left():
    big = local_json(200, {"text": "x" * 40_000})

    def flood(place, over):
        """Ask and ask, and read nothing."""
        with socket.create_connection(place, PATIENCE) as connection:
            connection.settimeout(0.5)
            request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 1000
            with contextlib.suppress(OSError):
                for _ in range(100_000):
                    connection.sendall(request)
            assert over.wait(PATIENCE)

    async with serving(lambda _: big, bounds=HASTY) as server:
        over = threading.Event()
        flooding = asyncio.create_task(asyncio.to_thread(flood, host_port(server), over))
        async with asyncio.timeout(PATIENCE):
            while not server._present:
                await asyncio.sleep(0.01)
            while server._present:
                await asyncio.sleep(0.01)
        over.set()
        await flooding


async def test_connections_are_bounded_in_all_and_of_one_address(office, caplog):
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

    bounds = ServerLimits(head=PATIENCE, connections=5, of_one_address=3)
    async with serving(office.router(), bounds=bounds) as server:
        held = [await idle(server, "127.0.0.1") for _ in range(3)]
        assert not await is_served(server, "127.0.0.1")
        assert await is_served(server, "127.0.0.2")
        held += [await idle(server, "127.0.0.2") for _ in range(2)]
        assert not await is_served(server, "127.0.0.3")
        for _, writer in held:
            writer.close()
        async with asyncio.timeout(PATIENCE):
            while server._present:
                await asyncio.sleep(0.01)
        assert await is_served(server, "127.0.0.1")
    assert "too many connections" in caplog.text


async def test_a_hundred_clients_at_once_get_their_tokens(office):
    async def one(server):
        async with client(server) as http:
            return await http.post(TOKEN, data=office.whole)

    async with serving(office.router()) as server:
        found = await asyncio.gather(*(one(server) for _ in range(100)))
    assert {answer.status_code for answer in found} == {200}
    assert len({answer.json()["access_token"] for answer in found}) == 100


async def test_a_process_without_descriptors_takes_connections_again_when_there_are_some(office, caplog):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with serving(office.router(), bounds=ServerLimits(head=PATIENCE)) as server:
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
async def test_a_failure_of_ours_is_a_500_without_a_word_about_it(broken, caplog):
    async with serving(broken) as server, client(server) as http:
        for _ in range(2):
            answer = await http.post("/", content=b"secret-content")
            assert (answer.status_code, answer.json()["error"]) == (500, "server_error")
    assert "secret-content" not in caplog.text + answer.text


# Beginning and ending.


async def test_it_begins_and_ends_again_and_again_on_one_port_and_leaves_nothing(office):
    def descriptors():
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    async with serving(office.router()) as first:
        place = HostPort(*host_port(first))
    before, tasks = descriptors(), len(asyncio.all_tasks())
    for _ in range(20):
        async with serving(office.router(), place=place) as server, client(server) as http:
            assert (await http.get("/health")).status_code == 200
            # One that idles, one in the midst of a head.
            _, idle = await asyncio.open_connection(*host_port(server))
            _, slow = await asyncio.open_connection(*host_port(server))
            slow.write(b"GET /hea")
            await slow.drain()
            assert (await http.get("/health")).status_code == 200
        assert not server.is_open
        assert not server._present
        idle.close()
        slow.close()
    async with asyncio.timeout(PATIENCE):
        while descriptors() > before or len(asyncio.all_tasks()) > tasks:
            await asyncio.sleep(0.01)


async def test_a_client_that_is_connected_sees_the_end(office):
    async with serving(office.router()) as server:
        reader, writer = await asyncio.open_connection(*host_port(server))
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"}")
    assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*host_port_of(writer))
    writer.close()


def host_port_of(writer):
    return writer.get_extra_info("peername")[:2]


async def test_a_busy_port_is_an_error_that_says_so(office):
    async with serving(office.router()) as server:
        with pytest.raises(OSError) as raised:
            async with serving(office.router(), place=HostPort(*host_port(server))):
                pass
        assert raised.value.errno == errno.EADDRINUSE
        async with client(server) as http:
            assert (await http.get("/health")).status_code == 200
