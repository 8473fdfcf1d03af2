"""Frames keep their bytes however they are cut, messages are read as the peers wrote them, and bombs are refused."""

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame
from websockets.frames import Opcode as Op

from wirekey.features.realtime.frames import (
    MOST_FRAMES,
    Control,
    Opcode,
    ProtocolError,
    WebSocketMessage,
    WebSocketReader,
    close_code,
    close_frame,
    text_frame,
    unmasked,
)
from wirekey.features.realtime.handshake import Compression

LIMIT = 100_000
OPCODES = {True: Op.TEXT, False: Op.BINARY}


def frames_of(payload, *, is_text, cuts, masked, pings):
    """The frames of one message, cut at these places, with a ping after each of the first `pings` frames."""
    places = sorted({min(cut, len(payload)) for cut in cuts})
    parts = [payload[a:b] for a, b in zip([0, *places], [*places, len(payload)], strict=True)]
    written = b""
    for number, part in enumerate(parts):
        opcode = OPCODES[is_text] if number == 0 else Op.CONT
        written += Frame(opcode, part, number == len(parts) - 1).serialize(mask=masked)
        if number < pings:
            written += Frame(Op.PING, b"beat").serialize(mask=masked)
    return written


messages = st.lists(
    st.tuples(
        st.binary(max_size=400) | st.integers(65_530, 65_540).map(bytes),
        st.booleans(),
        st.lists(st.integers(0, 400), max_size=3),
        st.integers(0, 3),
    ),
    max_size=4,
)

SIZES = st.lists(st.integers(1, 9) | st.integers(1000, 70_000), min_size=1, max_size=4)


@settings(max_examples=60)
@given(found=messages, masked=st.booleans(), holds=st.booleans(), sizes=SIZES)
def test_a_reader_returns_the_bytes_and_the_messages_that_it_was_fed(found, masked, holds, sizes):
    stream = b"".join(
        frames_of(payload, is_text=is_text, cuts=cuts, masked=masked, pings=pings)
        for payload, is_text, cuts, pings in found
    )
    reader = WebSocketReader(from_client=masked, limit=LIMIT, holds=holds)
    pieces, position, turn = [], 0, 0
    while position < len(stream):
        size = sizes[turn % len(sizes)]
        pieces += reader.feed(stream[position : position + size])
        position, turn = position + size, turn + 1
    read = [piece.content for piece in pieces if isinstance(piece.content, WebSocketMessage)]
    assert [(each.payload, each.is_text) for each in read] == [(payload, is_text) for payload, is_text, _, _ in found]
    passed = b"".join(piece.data for piece in pieces)
    assert len(passed) == len(stream)
    if not holds:
        assert passed == stream
    assert reader.is_between_messages


def test_a_held_message_comes_with_all_its_frames_after_the_control_frames_within_it():
    stream = frames_of(b"hello world", is_text=True, cuts=[5], masked=True, pings=1)
    reader = WebSocketReader(from_client=True, limit=LIMIT, holds=True)
    ping, message = list(reader.feed(stream))
    assert ping.content == Control(Opcode.PING, b"beat")
    assert message.content.payload == b"hello world"
    assert sorted(ping.data + message.data) == sorted(stream)


def test_a_long_frame_that_is_not_held_passes_as_it_arrives():
    stream = Frame(Op.BINARY, bytes(90_000)).serialize(mask=False)
    reader = WebSocketReader(from_client=False, limit=LIMIT, holds=False)
    (first,) = reader.feed(stream[:1000])
    assert (first.data, first.ends_frame, first.ends_message) == (stream[:1000], False, False)
    (last,) = reader.feed(stream[1000:])
    assert first.data + last.data == stream
    assert last.content.payload == bytes(90_000)


MASK = b"\x01\x02\x03\x04"


@pytest.mark.parametrize(
    ("head", "code", "reason"),
    [
        (b"\x81\x01a", 1002, "not masked"),
        (b"\x83\x80" + MASK, 1002, "unknown opcode"),
        (b"\x91\x80" + MASK, 1002, "reserved bit"),
        (b"\xc1\x80" + MASK, 1002, "reserved bit"),
        (b"\x09\x80" + MASK, 1002, "fragmented"),
        (b"\x89\xfe\x00\x7e" + MASK, 1002, "too long"),
        (b"\x80\x80" + MASK, 1002, "no message"),
        (b"\x01\x80" + MASK + b"\x81\x80" + MASK, 1002, "before the previous"),
        (b"\x81\xfe\x00\x05" + MASK, 1002, "shortest form"),
        (b"\x81\xff\x80" + bytes(7) + MASK, 1002, "shortest form"),
        (b"\x88\x81" + MASK + b"a", 1002, "half a code"),
        (b"\x81\xff" + (LIMIT + 1).to_bytes(8) + MASK, 1009, "more than"),
        (b"\x01\xff" + LIMIT.to_bytes(8) + MASK + bytes(LIMIT) + b"\x80\x81" + MASK + b"a", 1009, "more than"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_breaks_the_protocol_is_refused_with_its_close_code(head, code, reason):
    reader = WebSocketReader(from_client=True, limit=LIMIT, holds=True)
    with pytest.raises(ProtocolError, match=reason) as refused:
        list(reader.feed(head))
    assert refused.value.code == code


def test_a_masked_frame_of_a_server_is_refused():
    with pytest.raises(ProtocolError, match="is masked"):
        list(WebSocketReader(from_client=False, limit=LIMIT, holds=False).feed(text_frame(b"{}", to_server=True)))


def compressed(payloads, *, fresh):
    state = zlib.compressobj(wbits=-15)
    written = b""
    for payload in payloads:
        if fresh:
            state = zlib.compressobj(wbits=-15)
        data = (state.compress(payload) + state.flush(zlib.Z_SYNC_FLUSH))[:-4]
        written += marked_as_compressed(Frame(Op.TEXT, data).serialize(mask=True))
    return written


def marked_as_compressed(frame):
    return bytes([frame[0] | 0x40]) + frame[1:]


@pytest.mark.parametrize("fresh", [False, True], ids=["one window", "a window for each message"])
def test_compressed_messages_are_read_and_keep_their_bytes(fresh):
    payloads = [b'{"type":"a"}' * 10] * 3
    stream = compressed(payloads, fresh=fresh)
    reader = WebSocketReader(from_client=True, limit=LIMIT, holds=True, deflate=Compression(client_fresh=fresh))
    pieces = list(reader.feed(stream))
    assert [piece.content.payload for piece in pieces] == payloads
    assert all(piece.content.is_compressed for piece in pieces)
    assert b"".join(piece.data for piece in pieces) == stream


def test_a_bomb_is_refused_before_it_is_decompressed():
    stream = compressed([bytes(50 * LIMIT)], fresh=True)
    assert len(stream) < LIMIT
    with pytest.raises(ProtocolError) as refused:
        list(WebSocketReader(from_client=True, limit=LIMIT, holds=True, deflate=Compression()).feed(stream))
    assert refused.value.code == 1009


def test_what_is_not_compressed_as_it_says_is_refused():
    stream = marked_as_compressed(Frame(Op.TEXT, b"\xff\xff\xff\xff").serialize(mask=True))
    with pytest.raises(ProtocolError) as refused:
        list(WebSocketReader(from_client=True, limit=LIMIT, holds=True, deflate=Compression()).feed(stream))
    assert refused.value.code == 1007


@pytest.mark.parametrize("after", [b"", b"\x00"], ids=["nothing", "an empty block"])
def test_a_message_may_end_with_a_final_block(after):
    payload = b'{"type":"a"}'
    final = zlib.compress(payload, wbits=-15)
    stream = marked_as_compressed(Frame(Op.TEXT, final + after).serialize(mask=True))
    reader = WebSocketReader(from_client=True, limit=LIMIT, holds=True, deflate=Compression())
    read = [piece.content.payload for _ in range(2) for piece in reader.feed(stream)]
    assert read == [payload, payload]


def test_a_message_that_goes_on_after_its_final_block_is_refused():
    judged, hidden = zlib.compress(b'{"type":"a"}', wbits=-15), zlib.compress(b'{"type":"response.create"}', wbits=-15)
    stream = marked_as_compressed(Frame(Op.TEXT, judged + hidden).serialize(mask=True))
    with pytest.raises(ProtocolError, match="after its final block") as refused:
        list(WebSocketReader(from_client=True, limit=LIMIT, holds=True, deflate=Compression()).feed(stream))
    assert refused.value.code == 1007


@pytest.mark.parametrize("holds", [False, True], ids=["passes", "holds"])
def test_a_message_of_endless_empty_frames_is_refused(holds):
    reader = WebSocketReader(from_client=True, limit=LIMIT, holds=holds)
    list(reader.feed(b"\x01\x80" + MASK))
    with pytest.raises(ProtocolError, match="too many frames") as refused:
        list(reader.feed((b"\x00\x80" + MASK) * MOST_FRAMES))
    assert refused.value.code == 1008


@given(data=st.binary(max_size=50), mask=st.binary(min_size=4, max_size=4))
def test_a_mask_is_removed_by_applying_it_again(data, mask):
    assert unmasked(unmasked(data, mask), mask) == data


def test_frames_of_our_own_are_read_by_the_other_side():
    reader = WebSocketReader(from_client=True, limit=LIMIT, holds=True)
    text, close = reader.feed(text_frame(b"hello", to_server=True) + close_frame(1008, "x" * 500, to_server=True))
    assert text.content.payload == b"hello"
    assert close_code(close.content.payload) == 1008
    assert len(close.content.payload) <= 125
    assert close_code(b"") == 1005
