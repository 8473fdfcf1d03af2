"""RequestBuffer: what it holds of a request body, where, and how it sends it."""

from __future__ import annotations

import os

import pytest
from mitmproxy.connection import Server
from mitmproxy.proxy.layers.http import RequestData, RequestEndOfMessage, SendHttp

from tests.test_body import open_files
from wirekey.core.body import PIECE, SPOOL_ABOVE, Spool, SpooledBody
from wirekey.core.errors import Refusal
from wirekey.core.wire.connection_handler import WakeWhenWritten
from wirekey.core.wire.delegate import WireLimits
from wirekey.core.wire.request_buffer import RESERVE_AHEAD, SEND_AHEAD, RequestBuffer

FLOW = object()
STREAM_ID = 7
LARGE = os.urandom(1024) * (3 * SEND_AHEAD // 1024) + b"the end"


class Delegate:
    """What the buffer asks of the rest of Wirekey."""

    def __init__(self, folder, limits=None) -> None:
        self.folder = folder
        self.limits = limits or WireLimits()
        self.reservations: list[int] = []
        self.reservable = 1 << 30

    def reserve_memory(self, flow, size):
        assert flow is FLOW
        if size > self.reservable:
            raise Refusal(503, "busy", "No memory is left.")
        self.reservations.append(size)
        return size

    def open_spool(self, flow):
        assert flow is FLOW
        return Spool(self.folder)


@pytest.fixture
def delegate(tmp_path):
    return Delegate(tmp_path)


@pytest.fixture
def buffer(delegate):
    return RequestBuffer(STREAM_ID, delegate)


@pytest.fixture
def server():
    return Server(address=("provider.example", 443))


def spooled(data: bytes, folder) -> SpooledBody:
    spool = Spool(folder)
    spool.write(data)
    return spool.finish()


def sent_bytes(commands) -> bytes:
    assert all(isinstance(command, SendHttp) and command.event.stream_id == STREAM_ID for command in commands)
    return b"".join(command.event.data for command in commands if isinstance(command.event, RequestData))


def has_ended(commands) -> bool:
    return bool(commands) and isinstance(commands[-1].event, RequestEndOfMessage)


def test_no_parts_are_an_empty_body(buffer):
    assert buffer.finish() == b""


def test_a_single_part_is_returned_without_a_copy(buffer):
    part = b"x" * (2 * SPOOL_ABOVE)
    buffer.append(FLOW, part)
    assert buffer.finish() is part
    assert buffer.finish() == b"", "the buffer keeps no body that it has returned"


@pytest.mark.parametrize(("size", "kind"), [(SPOOL_ABOVE, bytes), (SPOOL_ABOVE + 1, SpooledBody)])
def test_a_body_in_parts_is_spooled_above_the_threshold(buffer, tmp_path, size, kind):
    data = os.urandom(size)
    for start in range(0, size, 65536):
        buffer.append(FLOW, data[start : start + 65536])
    body = buffer.finish()
    assert type(body) is kind
    assert bytes(memoryview(body)) == data
    assert len(open_files(tmp_path)) == (kind is SpooledBody)


def test_memory_is_reserved_before_a_part_is_kept_and_ahead_from_the_second_part_on(buffer, delegate):
    for _ in range(3):
        buffer.append(FLOW, b"x" * 1000)
    assert delegate.reservations == [1000, 2000 + RESERVE_AHEAD]
    buffer.append(FLOW, b"x" * RESERVE_AHEAD)
    assert delegate.reservations[2:] == [3000 + 2 * RESERVE_AHEAD]


def test_without_memory_to_reserve_the_body_is_refused(buffer, delegate):
    delegate.reservable = 1500
    buffer.append(FLOW, b"x" * 1000)
    with pytest.raises(Refusal, match="No memory is left"):
        buffer.append(FLOW, b"x" * 1000)


def test_a_body_over_the_limit_is_refused(tmp_path):
    buffer = RequestBuffer(STREAM_ID, Delegate(tmp_path, WireLimits(body_bytes=1000)))
    buffer.append(FLOW, b"x" * 1000)
    with pytest.raises(Refusal, match=r"limits\.body_bytes") as refused:
        buffer.append(FLOW, b"x")
    assert refused.value.status == 413


def test_discard_closes_the_spool_file(buffer, tmp_path):
    for _ in range(3):
        buffer.append(FLOW, b"x" * SPOOL_ABOVE)
    assert len(open_files(tmp_path)) == 1
    buffer.discard()
    assert open_files(tmp_path) == []
    assert buffer.finish() == b""


@pytest.mark.parametrize("size", [0, 1, PIECE, 2 * PIECE + 1])
def test_a_body_in_memory_is_sent_at_once_in_pieces(buffer, server, size):
    data = os.urandom(size)
    commands = list(buffer.send_all(data, server))
    assert sent_bytes(commands) == data
    assert has_ended(commands)
    assert not buffer.is_sending
    assert max((len(command.event.data) for command in commands[:-1]), default=0) <= PIECE


def test_a_spooled_body_is_sent_as_the_connection_writes_it(buffer, server, tmp_path):
    buffer.start_sending(spooled(LARGE, tmp_path))
    received = b""
    for _ in range(3):
        assert buffer.can_send_more
        *sent, wakeup = buffer.send_more(server)
        received += sent_bytes(sent)
        assert len(received) % SEND_AHEAD == 0
        assert isinstance(wakeup, WakeWhenWritten)
        assert wakeup.connection is server
        assert (buffer.is_sending, buffer.can_send_more) == (True, False)
        assert buffer.is_woken_by(wakeup)
    last = list(buffer.send_more(server))
    assert received + sent_bytes(last) == LARGE
    assert has_ended(last)
    assert not buffer.is_sending
    assert list(buffer.send_more(server)) == []
    assert open_files(tmp_path) == []


def test_the_wakeup_of_a_cancelled_attempt_does_not_wake_the_next(buffer, server, tmp_path):
    body = spooled(LARGE, tmp_path)
    buffer.start_sending(body)
    *_, cancelled = buffer.send_more(server)
    buffer.discard()
    assert not buffer.is_sending
    buffer.start_sending(body)
    *_, wakeup = buffer.send_more(server)
    assert not buffer.is_woken_by(cancelled)
    assert not buffer.can_send_more
    assert buffer.is_woken_by(wakeup)
