"""Several addresses of one host: the first that can be reached is used, and nothing is left of the others."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from tests.endurance.faulty_upstream import blackhole
from tests.wire.bare_proxy import bare_proxy, read_head, read_response, request
from tests.wire.test_stream import OK, client
from wirekey.core.wire.delegate import WireLimits
from wirekey.core.wire.happy_eyeballs import MAX_ADDRESSES, connect, first_successful, interleave_families

UNREACHABLE = "2001:db8::1"
"""An address for documentation (RFC 5737), which cannot be reached."""


def test_ipv6_and_ipv4_addresses_alternate_starting_with_the_first_family():
    assert interleave_families(["2::1", "2::2", "1.0.0.1", "2::1"]) == ("2::1", "1.0.0.1", "2::2")
    assert interleave_families(["1.0.0.1", "1.0.0.2", "1.0.0.3", "2::1"]) == ("1.0.0.1", "2::1", "1.0.0.2", "1.0.0.3")
    assert len(interleave_families([f"1.0.0.{number}" for number in range(100)])) == MAX_ADDRESSES


@pytest.fixture
async def target():
    """A server at 127.0.0.1 that counts connections. Its port is closed at 127.0.0.2."""
    came = []

    async def serve(reader, writer):
        came.append(await reader.read())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    server.came = came
    server.port = server.sockets[0].getsockname()[1]
    yield server
    server.close()


async def test_after_a_refused_connection_the_next_address_is_tried_at_once(target):
    began = time.monotonic()
    opened, address = await connect([("127.0.0.2", target.port), ("127.0.0.1", target.port)], delay=60)
    assert address == ("127.0.0.1", target.port)
    assert opened.getpeername() == address
    assert time.monotonic() - began < 30
    opened.close()


async def test_the_next_address_is_tried_after_a_delay(target):
    with blackhole() as url:
        silent = ("127.0.0.1", int(url.rpartition(":")[2]))
        opened, address = await connect([silent, ("127.0.0.1", target.port)], delay=0.05)
    assert address == ("127.0.0.1", target.port)
    opened.close()


async def test_the_error_of_the_first_address_is_raised_if_none_can_be_reached(target):
    with pytest.raises(ConnectionRefusedError, match=r"127\.0\.0\.2"):
        await connect([("127.0.0.2", target.port), ("127.0.0.3", target.port)])
    with pytest.raises(OSError, match="no address"):
        await connect([])


async def test_the_second_connection_is_closed():
    """Two attempts succeed at the same time. One socket is returned, and the other is closed."""
    opened = [socket.socket(), socket.socket()]
    ready = asyncio.Event()

    async def give(number):
        await ready.wait()
        return opened[number]

    connecting = asyncio.create_task(first_successful([lambda: give(0), lambda: give(1)], delay=0))
    await asyncio.sleep(0.05)
    ready.set()
    winner, index = await connecting
    assert winner is opened[index]
    assert [one.fileno() >= 0 for one in opened] == [number == index for number in range(2)]
    winner.close()


async def test_a_cancelled_connect_leaves_no_task(target):
    before = asyncio.all_tasks()
    with blackhole() as url:
        silent = ("127.0.0.1", int(url.rpartition(":")[2]))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connect([silent, silent], delay=0.01), 0.1)
    assert asyncio.all_tasks() <= before


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "pooled"])
@pytest.mark.parametrize("first", ["127.0.0.2", UNREACHABLE])
async def test_a_request_is_sent_to_the_address_that_can_be_reached(tmp_path, secured, first):
    async with bare_proxy(secured_in=tmp_path if secured else None) as (delegate, port, upstream):
        delegate.addresses = (first, "127.0.0.1")
        reader, writer = await client(port)
        writer.write(request(upstream.port, b"body", scheme=b"https" if secured else b"http"))
        up_reader, up_writer = await upstream.accept()
        await read_head(up_reader)
        up_writer.write(OK)
        assert (await read_response(reader))[1] == b"ok"
        server = delegate.flows[0].server_conn
        assert server.peername[:2] == server.address[:2] == ("127.0.0.1", upstream.port)
        assert upstream.connections.empty()
        if secured:
            assert delegate.connection_pool.counts.opened == 1


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "pooled"])
async def test_the_time_limit_applies_to_all_addresses_together(tmp_path, secured):
    with blackhole() as url:
        silent = int(url.rpartition(":")[2])
        async with bare_proxy(WireLimits(connect=0.5), secured_in=tmp_path if secured else None) as (delegate, port, _):
            delegate.addresses = ("127.0.0.1", "127.0.0.1", "127.0.0.1")
            reader, writer = await client(port)
            began = time.monotonic()
            writer.write(request(silent, b"body", scheme=b"https" if secured else b"http"))
            head, body = await read_response(reader)
            assert head.startswith(b"HTTP/1.1 504"), body
            assert time.monotonic() - began < 10
