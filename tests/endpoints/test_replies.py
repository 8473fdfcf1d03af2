"""Delayed responses and streams, with slow clients, disconnecting clients and a closing listener."""

from __future__ import annotations

import asyncio

import httpx

from tests.endpoints.test_server import raw, responses
from tests.support.local_endpoints import PATIENCE, client, serving
from wirekey.core.endpoints.reply import Streamed
from wirekey.core.local_response import LocalResponse, local_json

HEAD = LocalResponse(200, (("content-type", "text/event-stream"),), b"")


def routes(**handlers):
    return {f"/{name}": handler for name, handler in handlers.items()}


async def until(condition):
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_response_may_be_delayed_and_the_connection_stays_usable():
    async def later():
        await asyncio.sleep(0)
        return local_json(200, {"came": "later"})

    async with serving(routes(later=lambda _: later())) as server:
        head = b"GET /later HTTP/1.1\r\nHost: x\r\n"
        received = await raw(server, head + b"\r\n" + head + b"Connection: close\r\n\r\n")
    assert [body for _, _, body in responses(received, "GET", "GET")] == [b'{"came": "later"}'] * 2


async def test_a_delayed_response_that_fails_is_a_500_without_the_reason():
    async def later():
        raise RuntimeError("secret")

    async with serving(routes(later=lambda _: later())) as server, client(server) as http:
        response = await http.get("/later")
    assert response.status_code == 500
    assert "secret" not in response.text


async def test_a_disconnect_cancels_the_work_on_the_response():
    began, ended = asyncio.Event(), asyncio.Event()

    async def later():
        began.set()
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            ended.set()

    async with serving(routes(later=lambda _: later())) as server:
        host, port = server.address.rsplit(":", 1)
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /later HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(began.wait(), PATIENCE)
        writer.close()
        await asyncio.wait_for(ended.wait(), PATIENCE)


async def test_a_body_that_is_too_long_does_not_reach_the_handler():
    asked = []
    async with serving(routes(later=asked.append)) as server, client(server) as http:
        response = await http.post("/later", content=b"x" * 100_000)
    assert (response.status_code, asked) == (413, [])


async def test_a_stream_is_sent_piece_by_piece_until_it_is_closed():
    outlets = []
    async with serving(routes(stream=lambda _: Streamed(HEAD, outlets.append))) as server, client(server) as http:
        async with http.stream("GET", "/stream") as response:
            assert response.headers["content-type"] == "text/event-stream"
            assert response.headers["cache-control"] == "no-store"
            pieces = response.aiter_raw()
            for piece in (b"data: 1\n\n", b"data: 2\n\n"):
                outlets[0].send(piece)
                assert await anext(pieces) == piece
            outlets[0].close()
            assert [piece async for piece in pieces] == []
        assert not outlets[0].is_open


async def test_a_stream_to_a_blocked_client_is_busy_and_can_be_closed():
    outlets = []
    async with serving(routes(stream=lambda _: Streamed(HEAD, outlets.append))) as server:
        host, port = server.address.rsplit(":", 1)
        _, writer = await asyncio.open_connection(host, int(port), limit=1024)
        writer.write(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: outlets and not outlets[0].is_busy)
        for _ in range(1000):
            if outlets[0].is_busy:
                await asyncio.sleep(0.01)
                if outlets[0].is_busy:
                    break
            outlets[0].send(b"x" * 100_000)
        assert outlets[0].is_busy
        outlets[0].close()
        assert not outlets[0].is_open
        writer.close()


async def test_a_stream_ends_with_its_client_or_its_listener():
    outlets = []
    async with serving(routes(stream=lambda _: Streamed(HEAD, outlets.append))) as server:
        async with client(server) as http, http.stream("GET", "/stream"):
            assert outlets[0].is_open
        await until(lambda: not outlets[0].is_open)
        outlets[0].send(b"not delivered")

        waiting = asyncio.create_task(read(server))
        await until(lambda: len(outlets) == 2)
    assert not outlets[1].is_open
    assert await asyncio.wait_for(waiting, PATIENCE) == b""


async def read(server) -> bytes:
    received = b""
    try:
        async with client(server) as http, http.stream("GET", "/stream") as response:
            async for piece in response.aiter_raw():
                received += piece
    except httpx.TransportError:
        pass
    return received
