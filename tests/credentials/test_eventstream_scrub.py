"""A key is masked in frames of an AWS event stream, and each frame has the checksum of what it has then."""

from __future__ import annotations

import itertools
import struct
import zlib

from hypothesis import given
from hypothesis import strategies as st
from tests.support.event_stream import frame

from wirekey.core.credentials.eventstream_scrub import EventStreamScrubber

KEY = b"bedrock-key-5512cd"
PAYLOADS = st.lists(
    st.lists(st.sampled_from([KEY, b"text", KEY[:9], b"\0" * 5, b'{"a":1}']), max_size=4).map(b"".join), max_size=4
)


def checked(stream: bytes) -> list[bytes]:
    """Return the payloads of a stream whose checksums are right."""
    payloads = []
    while stream:
        total, headers = struct.unpack_from(">II", stream)
        whole, stream = stream[:total], stream[total:]
        assert zlib.crc32(whole[:8]) == int.from_bytes(whole[8:12])
        assert zlib.crc32(whole[:-4]) == int.from_bytes(whole[-4:])
        payloads.append(whole[12 + headers : -4])
    return payloads


def scrubbed(data: bytes, cuts: list[int]) -> bytes:
    """Return what passes of data that arrives in pieces."""
    scrubber = EventStreamScrubber(KEY)
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:stop] for start, stop in itertools.pairwise(places)]
    return b"".join([out for piece in pieces for out in scrubber.feed(piece)] + scrubber.end())


@given(PAYLOADS, st.lists(st.integers(0, 400), max_size=12))
def test_each_frame_is_masked_and_has_its_checksum(payloads, cuts):
    stream = b"".join(frame(b"\x01a\x00", payload) for payload in payloads)
    assert checked(scrubbed(stream, cuts)) == [payload.replace(KEY, b"*" * len(KEY)) for payload in payloads]


def test_a_stream_of_single_bytes_is_masked():
    stream = frame(b"", b"a" + KEY + b"b") + frame(b"", KEY) + frame(b"", b"")
    assert checked(scrubbed(stream, list(range(len(stream))))) == [b"a" + b"*" * len(KEY) + b"b", b"*" * len(KEY), b""]


def test_bytes_that_are_no_event_stream_are_masked_too():
    assert scrubbed(b"\0\0\0\1 no frame " + KEY + b" end", [7, 20]) == b"\0\0\0\1 no frame " + b"*" * len(KEY) + b" end"
