"""A body too long for memory: written to a file, sent as fast as the provider reads, and deleted afterwards."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os

import pytest

from tests.support.running import PATIENCE
from tests.test_body import FullDisk, open_files
from tests.wire.bare_proxy import bare_proxy, read_head, read_response, request
from wirekey.core import body as body_module
from wirekey.core.body import SPOOL_ABOVE
from wirekey.core.errors import Refusal
from wirekey.core.wire.connection_handler import connection_handlers
from wirekey.core.wire.delegate import WireLimits
from wirekey.core.wire.request_buffer import SEND_AHEAD

pytestmark = pytest.mark.usefixtures("with_and_without_speed")

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LARGE = os.urandom(1024) * (6 * SPOOL_ABOVE // 1024) + b"the end"
NO_MORE = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno"


async def eventually(condition, what: str):
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
async def proxy(tmp_path):
    # Collected by counting alone: a file must not stay until the collector comes by.
    gc.disable()
    try:
        async with bare_proxy() as (delegate, port, upstream):
            delegate.spool_folder = tmp_path
            yield delegate, port, upstream
    finally:
        gc.enable()


async def send(port: int, upstream_port: int, body: bytes = LARGE):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(upstream_port, body))
    return reader, writer


def held_for_upstream() -> int:
    """Bytes that wait in memory until an upstream takes them."""
    return sum(
        io.writer.transport.get_write_buffer_size()
        for handler in connection_handlers.values()
        for connection, io in handler.transports.items()
        if io.writer and connection is not handler.client
    )


async def test_a_large_body_arrives_unchanged_and_leaves_no_file(proxy, tmp_path):
    _, port, upstream = proxy
    reader, writer = await send(port, upstream.port)
    up_reader, up_writer = await upstream.accept()
    for _ in range(2):
        assert b"Content-Length: %d\r\n" % len(LARGE) in await read_head(up_reader)
        received = await asyncio.wait_for(up_reader.readexactly(len(LARGE)), PATIENCE)
        assert hashlib.sha256(received).digest() == hashlib.sha256(LARGE).digest()
        up_writer.write(OK)
        assert (await read_response(reader))[1] == b"ok"
        assert open_files(tmp_path) == []
        writer.write(request(upstream.port, LARGE))


async def test_what_a_slow_provider_has_not_read_stays_in_the_file(proxy, tmp_path):
    _, port, upstream = proxy
    _client = await send(port, upstream.port)
    up_reader, _writer = await upstream.accept()
    await eventually(held_for_upstream, "something to be sent")
    most = 0
    for _ in range(50):
        await asyncio.sleep(0.01)
        most = max(most, held_for_upstream())
    assert 0 < most <= SEND_AHEAD + 64 * 1024
    assert len(open_files(tmp_path)) == 1
    await read_head(up_reader)
    await asyncio.wait_for(up_reader.readexactly(len(LARGE)), PATIENCE)
    await eventually(lambda: open_files(tmp_path) == [], "the file to be gone")


async def test_a_client_that_disconnects_while_it_sends_leaves_no_file(proxy, tmp_path):
    _, port, upstream = proxy
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(upstream.port, LARGE)[:-1000])
    await eventually(lambda: open_files(tmp_path), "the file to be begun")
    writer.transport.abort()
    await eventually(lambda: open_files(tmp_path) == [], "the file to be gone")
    assert upstream.connections.empty()


async def test_a_client_that_disconnects_while_we_send_leaves_no_file_and_no_complete_request(proxy, tmp_path):
    delegate, port, upstream = proxy
    _, writer = await send(port, upstream.port)
    up_reader, _up_writer = await upstream.accept()
    await eventually(held_for_upstream, "something to be sent")
    writer.transport.abort()
    await eventually(lambda: open_files(tmp_path) == [], "the file to be gone")
    assert delegate.ends == ["client_cancelled"]
    await read_head(up_reader)
    assert len(await asyncio.wait_for(up_reader.read(), PATIENCE)) < len(LARGE)


async def test_a_provider_that_closes_the_connection_while_we_send_is_502_and_leaves_no_file(proxy, tmp_path):
    delegate, port, upstream = proxy
    reader, _writer = await send(port, upstream.port)
    _, up_writer = await upstream.accept()
    await eventually(held_for_upstream, "something to be sent")
    up_writer.transport.abort()
    head, body = await read_response(reader)
    assert (head.split()[1], b"upstream_reset" in body) == (b"502", True)
    await eventually(lambda: open_files(tmp_path) == [], "the file to be gone")
    assert delegate.ends == ["upstream_reset"]


async def test_a_provider_that_responds_early_gets_no_more_on_that_connection(proxy, tmp_path):
    _, port, upstream = proxy
    reader, writer = await send(port, upstream.port)
    up_reader, up_writer = await upstream.accept()
    await eventually(held_for_upstream, "something to be sent")
    up_writer.write(NO_MORE)
    assert (await read_response(reader))[1] == b"no"
    await eventually(lambda: open_files(tmp_path) == [], "the file to be gone")
    await read_head(up_reader)
    assert len(await asyncio.wait_for(up_reader.read(), PATIENCE)) < len(LARGE)
    writer.write(request(upstream.port, b"next"))
    up_reader, up_writer = await upstream.accept()
    await read_head(up_reader)
    assert await up_reader.readexactly(4) == b"next"
    up_writer.write(OK)
    assert (await read_response(reader))[1] == b"ok"


async def test_a_provider_that_stops_reading_is_504(tmp_path):
    async with bare_proxy(WireLimits(first_byte=0.4)) as (delegate, port, upstream):
        delegate.spool_folder = tmp_path
        reader, _writer = await send(port, upstream.port)
        _connection = await upstream.accept()
        assert (await read_response(reader))[0].startswith(b"HTTP/1.1 504")
        await eventually(lambda: open_files(tmp_path) == [], "the file to be gone")


async def test_a_refusal_on_the_wire_leaves_no_file(proxy, tmp_path):
    delegate, port, upstream = proxy
    delegate.refuse_on_wire = Refusal(503, "no_key", "No key.")
    reader, _writer = await send(port, upstream.port)
    assert (await read_response(reader))[0].startswith(b"HTTP/1.1 503")
    delegate.bodies.clear()
    assert open_files(tmp_path) == []


async def test_a_body_over_the_limit_is_413_and_leaves_no_file(tmp_path):
    async with bare_proxy(WireLimits(body_bytes=len(LARGE) - 1)) as (delegate, port, upstream):
        delegate.spool_folder = tmp_path
        reader, writer = await send(port, upstream.port)
        assert (await read_response(reader))[0].startswith(b"HTTP/1.1 413")
        assert open_files(tmp_path) == []
        assert delegate.ends == ["denied"]
        writer.write(request(upstream.port, b"next"))
        up_reader, _up_writer = await upstream.accept()
        await read_head(up_reader)
        assert await up_reader.readexactly(4) == b"next"


def failing(_):
    raise RuntimeError("quoted: the body")


@pytest.mark.parametrize("room", [0, SPOOL_ABOVE + 1000, len(LARGE) - 1])
async def test_a_disk_that_fills_up_is_503_and_the_connection_goes_on(proxy, tmp_path, monkeypatch, room):
    _, port, upstream = proxy
    made = body_module.tempfile.TemporaryFile
    full = body_module.tempfile
    with monkeypatch.context() as patched:
        patched.setattr(full, "TemporaryFile", lambda **options: FullDisk(made(**options), room))
        reader, writer = await send(port, upstream.port)
        head, body = await read_response(reader)
    assert (head.split()[1], b"No space left on device" in body) == (b"503", True)
    assert open_files(tmp_path) == []
    writer.write(request(upstream.port, LARGE))
    up_reader, up_writer = await upstream.accept()
    await read_head(up_reader)
    assert await asyncio.wait_for(up_reader.readexactly(len(LARGE)), PATIENCE) == LARGE
    up_writer.write(OK)
    assert (await read_response(reader))[1] == b"ok"


async def test_an_exception_while_a_body_is_buffered_is_503_and_its_message_is_not_logged(proxy, monkeypatch, caplog):
    delegate, port, upstream = proxy
    monkeypatch.setattr(delegate, "open_spool", failing)
    reader, _writer = await send(port, upstream.port)
    head, body = await read_response(reader)
    assert (head.split()[1], b"wirekey_error" in body) == (b"503", True)
    assert "a request body could not be kept: RuntimeError" in caplog.text
    assert "quoted" not in caplog.text


@pytest.mark.parametrize("size", [SPOOL_ABOVE - 1, SPOOL_ABOVE])
async def test_a_body_up_to_the_threshold_is_not_written_to_a_file(proxy, monkeypatch, size):
    delegate, port, upstream = proxy
    monkeypatch.setattr(delegate, "open_spool", failing)
    reader, _writer = await send(port, upstream.port, LARGE[:size])
    up_reader, up_writer = await upstream.accept()
    await read_head(up_reader)
    assert await asyncio.wait_for(up_reader.readexactly(size), PATIENCE) == LARGE[:size]
    up_writer.write(OK)
    assert (await read_response(reader))[1] == b"ok"


@pytest.mark.parametrize("failure", ["answers early", "hangs up"])
async def test_another_attempt_sends_the_whole_body_from_the_same_file(proxy, tmp_path, failure):
    delegate, port, upstream = proxy
    delegate.next_upstreams = [("127.0.0.1", upstream.port)]
    reader, _writer = await send(port, upstream.port)
    _, up_writer = await upstream.accept()
    await eventually(held_for_upstream, "something to be sent")
    if failure == "answers early":
        up_writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno")
    else:
        up_writer.transport.abort()
    again, again_writer = await upstream.accept()
    await read_head(again)
    assert await asyncio.wait_for(again.readexactly(len(LARGE)), PATIENCE) == LARGE
    again_writer.write(OK)
    assert (await read_response(reader))[1] == b"ok"
    assert open_files(tmp_path) == []
    assert len(delegate.failed) == 1
