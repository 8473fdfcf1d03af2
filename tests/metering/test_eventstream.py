import random
import struct
import zlib

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given, settings
from hypothesis import strategies as st

from wirekey.core.metering import eventstream
from wirekey.core.metering.eventstream import FRAME_LIMIT, EventStreamReader, read_headers, write_frame

EVENT = {":event-type": "metadata", ":content-type": "application/json", ":message-type": "event"}


class Collector(EventStreamReader):
    def __init__(self):
        super().__init__()
        self.frames = []

    def read_event(self, headers, payload):
        self.frames.append((read_headers(headers), payload))


def collect(chunks):
    reader = Collector()
    for chunk in chunks:
        reader.feed(chunk)
    reader.end()
    return reader.frames


def botocore_frames(data):
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return [(event.headers, event.payload) for event in buffer]


def cut(data, places):
    places = sorted(place % (len(data) + 1) for place in places)
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def frame_of(headers: bytes, payload: bytes) -> bytes:
    lengths = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    frame = lengths + struct.pack(">I", zlib.crc32(lengths)) + headers + payload
    return frame + struct.pack(">I", zlib.crc32(frame))


NAMES = st.text(min_size=1, max_size=20).filter(lambda name: len(name.encode()) < 256)
FRAMES = st.lists(
    st.tuples(st.dictionaries(NAMES, st.text(max_size=50), max_size=4), st.binary(max_size=200)), max_size=5
)


@settings(max_examples=150)
@given(FRAMES, st.lists(st.integers(0, 10**6), max_size=8))
def test_written_frames_are_read_in_any_chunking_and_by_botocore(frames, places):
    data = b"".join(write_frame(headers, payload) for headers, payload in frames)
    assert botocore_frames(data) == frames
    assert collect(cut(data, places)) == frames


def test_frames_are_read_byte_by_byte():
    frames = [(EVENT, b'{"usage":{}}'), ({}, b""), (EVENT, "日本".encode())]
    data = b"".join(write_frame(headers, payload) for headers, payload in frames)
    assert collect(bytes([byte]) for byte in data) == frames


def test_an_unfinished_frame_is_dropped():
    data = write_frame(EVENT, b"one") + write_frame(EVENT, b"two")
    for place in range(len(write_frame(EVENT, b"one")), len(data)):
        assert collect([data[:place]]) == [(EVENT, b"one")]


HEADER_TYPES = {
    "true": b"\x01a\x00",
    "false": b"\x01a\x01",
    "byte": b"\x01a\x02\x7f",
    "short": b"\x01a\x03\x00\x01",
    "integer": b"\x01a\x04\x00\x00\x00\x01",
    "long": b"\x01a\x05" + bytes(8),
    "bytes": b"\x01a\x06\x00\x03xyz",
    "timestamp": b"\x01a\x08" + bytes(8),
    "uuid": b"\x01a\x09" + bytes(16),
}


@pytest.mark.parametrize("header", HEADER_TYPES.values(), ids=HEADER_TYPES)
def test_headers_of_other_types_are_skipped(header):
    data = frame_of(header + b"\x01b\x07\x00\x02hi", b"")
    assert botocore_frames(data)[0][0]["b"] == "hi"
    assert collect([data]) == [({"b": "hi"}, b"")]


@pytest.mark.parametrize(
    "headers",
    [
        b"\x05a",
        b"\x01a",
        b"\x01a\x07",
        b"\x01a\x07\x00",
        b"\x01a\x07\x00\x09hi",
        b"\x01a\x0a\x00",
        b"\x01a\x07\x00\x01\xff",
    ],
)
def test_malformed_headers_are_not_read(headers):
    assert read_headers(headers) == {}


GOOD = write_frame(EVENT, b"payload")


@pytest.mark.parametrize("place", range(len(GOOD)))
def test_nothing_is_read_from_a_frame_with_a_wrong_bit_or_after_it(place):
    bad = bytearray(GOOD)
    bad[place] ^= 0x10
    data = GOOD + bytes(bad) + GOOD
    assert collect([data]) == [(EVENT, b"payload")]
    assert collect(data[start : start + 7] for start in range(0, len(data), 7)) == [(EVENT, b"payload")]


@pytest.mark.parametrize("lengths", [(0, 0), (15, 0), (16, 1), (100, 85), (2**32 - 1, 2**32 - 1)])
def test_invalid_lengths_end_the_reading(lengths):
    prelude = struct.pack(">II", *lengths)
    assert collect([GOOD + prelude + struct.pack(">I", zlib.crc32(prelude)) + GOOD]) == [(EVENT, b"payload")]


def test_a_frame_too_long_to_hold_is_skipped():
    data = GOOD + write_frame(EVENT, b"x" * FRAME_LIMIT) + GOOD
    rng = random.Random(1)
    for places in ([], [len(GOOD) + 5], [len(GOOD) + 12, 500_000], [rng.randrange(len(data)) for _ in range(50)]):
        assert collect(cut(data, places)) == [(EVENT, b"payload")] * 2


def test_the_held_data_is_bounded():
    prelude = struct.pack(">II", FRAME_LIMIT, 0)
    for total in (FRAME_LIMIT, 2**32 - 1):
        prelude = struct.pack(">II", total, 0)
        reader = Collector()
        reader.feed(prelude + struct.pack(">I", zlib.crc32(prelude)))
        for _ in range(40):
            reader.feed(bytes(100_000))
            assert len(reader._held) <= FRAME_LIMIT


def test_a_long_frame_is_not_copied_at_each_small_piece(monkeypatch):
    taken = []
    read_frames = eventstream.EventStreamReader._read_frames
    monkeypatch.setattr(
        eventstream.EventStreamReader,
        "_read_frames",
        lambda self, data: taken.append(len(data)) or read_frames(self, data),
    )
    data = write_frame(EVENT, b"x" * 500_000)
    assert len(collect(data[start : start + 100] for start in range(0, len(data), 100))) == 1
    assert sum(taken) < 2 * len(data)


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=60) | st.just(GOOD), max_size=6))
def test_rubbish_never_raises_and_reads_the_same_in_any_chunking(chunks):
    assert collect(chunks) == collect([b"".join(chunks)])


@pytest.mark.parametrize("cut", [1, 11, 12, 30, -1])
def test_a_reader_reports_whether_it_was_fed_whole_frames(cut):
    reader, frame = EventStreamReader(), write_frame({":event-type": "chunk"}, b"x" * 100)
    reader.read_event = lambda *_: None
    assert reader.is_between_frames
    reader.feed(frame + frame[:cut])
    assert not reader.is_between_frames
    reader.feed(frame[cut:])
    assert reader.is_between_frames


def test_a_broken_frame_leaves_the_end_unknown():
    reader = EventStreamReader()
    reader.feed(b"x" * 100)
    assert not reader.is_between_frames
