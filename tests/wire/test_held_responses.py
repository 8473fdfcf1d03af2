"""A large response whose head waits for its body: its end waits for a hook, and other calls go on meanwhile."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.wire.bare_proxy import bare_proxy, read_head, read_response, request

pytestmark = pytest.mark.usefixtures("with_and_without_speed")

PARTS = [b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 10\r\n\r\n01", b"234", b"5678", b"9"]


@contextlib.asynccontextmanager
async def holding_proxy():
    """Yield (delegate, port, upstream, begun, go_on): each response is held, and its hook waits for `go_on`."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def held_response(flow):
        begun.set()
        await go_on.wait()

    def hold(flow):
        held = bytearray()

        def tap(data):
            held.extend(data)
            if data:
                return []
            flow.response.headers["content-length"] = str(len(held))
            return [bytes(reversed(held))]

        flow.response.stream = tap

    async with bare_proxy() as (delegate, port, upstream):
        delegate.holds_response = lambda flow: True
        delegate.holds_large_response = lambda flow: "large" in flow.request.path
        delegate.held_response = held_response
        delegate.responseheaders = hold
        yield delegate, port, upstream, begun, go_on


async def asked(port, upstream, path, parts=PARTS):
    """Send a request and deliver the response in parts. Return the client's reader and writer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(upstream.port).replace(b"/v1/x", path))
    up_reader, up_writer = await upstream.accept()
    await read_head(up_reader)
    for part in parts:
        up_writer.write(part)
        await up_writer.drain()
        await asyncio.sleep(0)
    return reader, writer


async def test_other_calls_go_on_while_the_end_of_a_large_response_waits():
    async with holding_proxy() as (_, port, upstream, begun, go_on):
        reader, writer = await asked(port, upstream, b"/large")
        await asyncio.wait_for(begun.wait(), 60)
        for delivery in (PARTS, [b"".join(PARTS)]):
            other, other_writer = await asked(port, upstream, b"/small", delivery)
            assert (await read_response(other))[1] == b"9876543210"
            other_writer.close()
        assert not go_on.is_set()
        go_on.set()
        assert (await read_response(reader))[1] == b"9876543210"
        writer.close()


async def test_a_client_that_leaves_meanwhile_ends_its_call():
    async with holding_proxy() as (delegate, port, upstream, begun, go_on):
        ended = asyncio.Event()
        delegate.error = lambda flow: ended.set()
        _, writer = await asked(port, upstream, b"/large")
        await asyncio.wait_for(begun.wait(), 60)
        writer.close()
        await asyncio.sleep(0.1)
        assert not ended.is_set()
        go_on.set()
        await asyncio.wait_for(ended.wait(), 60)
        other, other_writer = await asked(port, upstream, b"/small")
        assert (await read_response(other))[1] == b"9876543210"
        other_writer.close()
