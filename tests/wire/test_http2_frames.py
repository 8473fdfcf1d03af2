"""HTTP/2 frames of a client: how many one turn of the loop handles, and how many may carry nothing."""

from __future__ import annotations

import itertools

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded
from h2.frame_buffer import FrameBuffer
from hyperframe.frame import (
    DataFrame,
    ExtensionFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy.proxy.layers.http import Http2Server

from wirekey.core.wire.http2 import SMALL_DATA, WireH2Connection, joined_small_data
from wirekey.core.wire.http2_frames import (
    ALLOWED_EMPTY,
    ALLOWED_PER_DATA_FRAME,
    ALLOWED_SECONDS,
    HEADERS_COST,
    MOST_ALLOWED,
    TURN_COST,
    EmptyFrameAllowance,
    FramesOfTurn,
    TooManyEmptyFrames,
    is_empty,
)

EMPTY = {
    "PING": PingFrame(0, b"12345678"),
    "SETTINGS": SettingsFrame(0),
    "WINDOW_UPDATE": WindowUpdateFrame(0, window_increment=1),
    "PRIORITY": PriorityFrame(3, depends_on=1),
    "unknown": ExtensionFrame(type=0xEE, stream_id=0, flag_byte=0, body=b""),
    "GOAWAY": GoAwayFrame(0),
    "DATA without data": DataFrame(1, b""),
    "DATA with padding only": DataFrame(1, b"", pad_length=5, flags=["PADDED"]),
}
CARRYING = {
    "DATA": DataFrame(1, b"x"),
    "the end of a request": DataFrame(1, b"", flags=["END_STREAM"]),
    "HEADERS": HeadersFrame(1, b""),
    "RST_STREAM, which is counted apart": RstStreamFrame(1, error_code=8),
}


@pytest.mark.parametrize("name", EMPTY)
def test_a_frame_without_content_counts(name):
    assert is_empty(EMPTY[name])


@pytest.mark.parametrize("name", CARRYING)
def test_a_frame_with_content_does_not_count(name):
    assert not is_empty(CARRYING[name])


def test_a_client_may_send_some_empty_frames_in_each_interval():
    allowance = EmptyFrameAllowance()
    for start in (100.0, 100.0 + ALLOWED_SECONDS):
        assert all(allowance.spend(start) for _ in range(ALLOWED_EMPTY))
        assert not allowance.spend(start + ALLOWED_SECONDS / 2)


def test_a_client_may_send_more_of_them_for_what_it_receives_but_not_without_end():
    allowance = EmptyFrameAllowance()
    allowance.earn(ALLOWED_PER_DATA_FRAME)
    assert all(allowance.spend(100.0) for _ in range(ALLOWED_EMPTY + ALLOWED_PER_DATA_FRAME))
    assert not allowance.spend(100.0)
    allowance.earn(10 * MOST_ALLOWED)
    assert allowance.left == MOST_ALLOWED


def turns(buffer: FramesOfTurn) -> list[list]:
    """The frames of each turn, until nothing is left."""
    found = [list(buffer)]
    while buffer.has_more:
        found.append(list(buffer))
    return found


def buffered(data: bytes) -> FramesOfTurn:
    buffer = FramesOfTurn.adopt(FrameBuffer(server=False))
    buffer.max_frame_size = 1 << 17
    buffer.add_data(data)
    return buffer


@pytest.mark.parametrize(
    ("frame", "of_one_turn"),
    [(EMPTY["PING"], TURN_COST), (CARRYING["DATA"], TURN_COST), (HeadersFrame(1, b"", flags=["END_HEADERS"]), 4)],
    ids=["PING", "DATA", "HEADERS"],
)
def test_a_turn_handles_a_few_frames_and_the_next_one_continues(frame, of_one_turn):
    found = turns(buffered(frame.serialize() * 1000))
    assert [len(turn) for turn in found[:-1]] == [of_one_turn] * (1000 // of_one_turn)
    assert sum(map(len, found)) == 1000


def test_a_large_body_is_handled_in_one_turn():
    assert len(turns(buffered(DataFrame(1, bytes(16384)).serialize() * 16))) == 1


FRAMES = [*EMPTY.values(), *CARRYING.values()]


@given(st.lists(st.sampled_from(FRAMES).filter(lambda frame: type(frame) is not HeadersFrame), max_size=700), st.data())
def test_turns_change_neither_frames_nor_their_order(frames, data):
    sent = b"".join(frame.serialize() for frame in frames)
    cut = data.draw(st.integers(0, len(sent)))
    buffer, found = buffered(sent[:cut]), []
    found += [frame for turn in turns(buffer) for frame in turn]
    buffer.add_data(sent[cut:])
    found += [frame for turn in turns(buffer) for frame in turn]
    assert [frame.serialize() for frame in found] == [frame.serialize() for frame in frames]


@given(st.lists(st.integers(0, 40), max_size=40))
def test_a_reset_is_handled_in_the_turn_of_the_frame_before_it(gaps):
    frames = []
    for stream, gap in enumerate(gaps):
        frames += [EMPTY["PING"]] * gap
        frames += [
            HeadersFrame(2 * stream + 1, b"", flags=["END_HEADERS"]),
            RstStreamFrame(2 * stream + 1, error_code=8),
        ]
    for turn in turns(buffered(b"".join(frame.serialize() for frame in frames))):
        assert not turn or type(turn[0]) is not RstStreamFrame
        assert sum(HEADERS_COST if type(frame) is HeadersFrame else 1 for frame in turn) < TURN_COST + 2 * HEADERS_COST


def received(*pieces: tuple[int, bytes]) -> list[DataReceived]:
    return [DataReceived(stream_id=stream, data=data, flow_controlled_length=len(data)) for stream, data in pieces]


@given(st.lists(st.tuples(st.sampled_from([1, 3]), st.sampled_from([b"", b"x", b"y" * 3000])), max_size=30))
def test_small_data_is_joined_and_nothing_is_lost_or_reordered(pieces):
    joined = joined_small_data(received(*pieces))
    for stream in (1, 3):
        events = [event for event in joined if event.stream_id == stream]
        sent = b"".join(data for one, data in pieces if one == stream)
        assert b"".join(event.data for event in events) == sent
        assert sum(event.flow_controlled_length for event in events) == len(sent)
    for before, after in itertools.pairwise(joined):
        assert before.stream_id != after.stream_id or len(after.data) >= SMALL_DATA


def test_the_end_of_a_stream_stays_after_its_joined_data():
    first, last = received((1, b"a"), (1, b"b"))
    last.stream_ended = end = StreamEnded(stream_id=1)
    (joined, after) = joined_small_data([first, last, end])
    assert (joined.data, joined.stream_ended, after) == (b"ab", end, end)


@pytest.fixture
def server():
    """The state of a client's connection, with the limits of a client, and a client that has connected to it."""
    connection = WireH2Connection(Http2Server.h2_conf)
    connection.empty_frames = EmptyFrameAllowance()
    client = H2Connection(H2Configuration(client_side=True))
    client.initiate_connection()
    connection.initiate_connection()
    connection.receive_data(client.data_to_send())
    client.receive_data(connection.data_to_send())
    return connection, client


@pytest.mark.parametrize("name", EMPTY)
def test_empty_frames_without_end_are_a_protocol_error(server, name):
    connection, client = server
    client.send_headers(1, [(":method", "POST"), (":scheme", "https"), (":authority", "a"), (":path", "/")])
    connection.receive_data(client.data_to_send())
    with pytest.raises(TooManyEmptyFrames):
        connection.receive_data(EMPTY[name].serialize() * 1000)


def test_two_window_updates_and_a_ping_for_each_data_frame_are_allowed(server):
    connection, client = server
    client.increment_flow_control_window(1 << 30)
    client.send_headers(1, [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "/")], True)
    connection.receive_data(client.data_to_send())
    connection.send_headers(1, [(":status", "200")])
    for _ in range(5000):
        connection.send_data(1, b"an event")
        client.receive_data(connection.data_to_send())
        client.increment_flow_control_window(8)
        client.increment_flow_control_window(8, 1)
        client.ping(b"12345678")
        connection.receive_data(client.data_to_send())
