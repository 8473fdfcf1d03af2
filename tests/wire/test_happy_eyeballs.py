"""Several addresses of one name: the first that answers is used, and of the others nothing is left."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from tests.endurance.faulty_upstream import blackhole
from tests.wire.bare_proxy import bare_proxy, read_answer, read_head, request
from tests.wire.test_stream import OK, client
from wirekey.wire.delegate import WireLimits
from wirekey.wire.happy_eyeballs import MAX_ADDRESSES, connect, first_successful, interleave_families

UNREACHABLE = "2001:db8::1"
"""An address of documentation: there is no way to it, or nobody answers."""


def test_the_families_take_turns_beginning_with_the_first():
    assert interleave_families(["2::1", "2::2", "1.0.0.1", "2::1"]) == ("2::1", "1.0.0.1", "2::2")
    assert interleave_families(["1.0.0.1", "1.0.0.2", "1.0.0.3", "2::1"]) == ("1.0.0.1", "2::1", "1.0.0.2", "1.0.0.3")
    assert len(interleave_families([f"1.0.0.{number}" for number in range(100)])) == MAX_ADDRESSES


@pytest.fixture
async def place():
    """A port of 127.0.0.1 that counts who connects; nobody listens there at 127.0.0.2."""
    came = []

    async def serve(reader, writer):
        came.append(await reader.read())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    server.came = came
    server.port = server.sockets[0].getsockname()[1]
    yield server
    server.close()


async def test_after_a_refusal_the_next_address_is_tried_at_once(place):
    began = time.monotonic()
    made, address = await connect([("127.0.0.2", place.port), ("127.0.0.1", place.port)], delay=60)
    assert address == ("127.0.0.1", place.port)
    assert made.getpeername() == address
    assert time.monotonic() - began < 30
    made.close()


async def test_an_address_that_does_not_answer_does_not_hold_up_the_next(place):
    with blackhole() as url:
        silent = ("127.0.0.1", int(url.rpartition(":")[2]))
        made, address = await connect([silent, ("127.0.0.1", place.port)], delay=0.05)
    assert address == ("127.0.0.1", place.port)
    made.close()


async def test_where_none_answers_the_first_reason_counts(place):
    with pytest.raises(ConnectionRefusedError, match=r"127\.0\.0\.2"):
        await connect([("127.0.0.2", place.port), ("127.0.0.3", place.port)])
    with pytest.raises(OSError, match="no address"):
        await connect([])


async def test_who_comes_second_is_closed():
    """The first succeeds as the second does: one of them is given, and the other is not left open."""
    made = [socket.socket(), socket.socket()]
    ready = asyncio.Event()

    async def give(number):
        await ready.wait()
        return made[number]

    racing = asyncio.create_task(first_successful([lambda: give(0), lambda: give(1)], delay=0))
    await asyncio.sleep(0.05)
    ready.set()
    won, place = await racing
    assert won is made[place]
    assert [one.fileno() >= 0 for one in made] == [number == place for number in range(2)]
    won.close()


async def test_a_race_that_is_given_up_leaves_nothing_behind(place):
    before = asyncio.all_tasks()
    with blackhole() as url:
        silent = ("127.0.0.1", int(url.rpartition(":")[2]))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connect([silent, silent], delay=0.01), 0.1)
    assert asyncio.all_tasks() <= before


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "lent"])
@pytest.mark.parametrize("first", ["127.0.0.2", UNREACHABLE])
async def test_a_call_goes_to_the_address_that_answers(tmp_path, secured, first):
    async with bare_proxy(secured_in=tmp_path if secured else None) as (delegate, port, upstream):
        delegate.addresses = (first, "127.0.0.1")
        reader, writer = await client(port)
        writer.write(request(upstream.port, b"body", scheme=b"https" if secured else b"http"))
        up_reader, up_writer = await upstream.accept()
        await read_head(up_reader)
        up_writer.write(OK)
        assert (await read_answer(reader))[1] == b"ok"
        server = delegate.flows[0].server_conn
        assert server.peername[:2] == server.address[:2] == ("127.0.0.1", upstream.port)
        assert upstream.connections.empty()
        if secured:
            assert delegate.connection_pool.counts.opened == 1


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "lent"])
async def test_all_addresses_together_have_the_time_limit_of_one_connection(tmp_path, secured):
    with blackhole() as url:
        silent = int(url.rpartition(":")[2])
        async with bare_proxy(WireLimits(connect=0.5), secured_in=tmp_path if secured else None) as (delegate, port, _):
            delegate.addresses = ("127.0.0.1", "127.0.0.1", "127.0.0.1")
            reader, writer = await client(port)
            began = time.monotonic()
            writer.write(request(silent, b"body", scheme=b"https" if secured else b"http"))
            head, body = await read_answer(reader)
            assert head.startswith(b"HTTP/1.1 504"), body
            assert time.monotonic() - began < 10
