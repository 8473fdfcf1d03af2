"""Server-sent events are parsed as the standard requires, in any chunking, and held only up to a bound."""

import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wirekey.core.metering import sse
from wirekey.core.metering.oversize import HEAD, TAIL, Ends, last_object, last_text
from wirekey.core.metering.sse import SseReader, data_of

LIMIT = 64


class Collector(SseReader):
    """A reader that collects data with an exclamation mark."""

    def __init__(self):
        super().__init__()
        self.learned = []
        self.gleaned = []

    def interested(self, data):
        return b"!" in data

    def read_event(self, data):
        self.learned.append(data)

    def read_fragment(self, head, tail):
        self.gleaned.append((head[:4], tail[-4:]))


def collect(chunks):
    reader = Collector()
    for chunk in chunks:
        reader.feed(chunk)
    reader.end()
    return reader.learned, reader.gleaned


def cut(data, size):
    return [data[i : i + size] for i in range(0, len(data), size)]


STREAMS = [
    (b"data: a!\n\n", [b"a!"]),
    (b"data:a!\n\n", [b"a!"]),
    (b"data:  a!\n\n", [b" a!"]),
    (b"data: a!\r\n\r\n", [b"a!"]),
    (b"data: a!\r\r", [b"a!"]),
    (b"data: a!\r\n\n", [b"a!"]),
    (b"data: a!\n\r\n", [b"a!"]),
    (b"data: a!\n\r", [b"a!"]),
    (b"data: a!\n\ndata: b!\n\n", [b"a!", b"b!"]),
    (b"data: a!\n\n\n\n\ndata: b!\n\n", [b"a!", b"b!"]),
    (b"data: a\n\ndata: b!\n\n", [b"b!"]),
    (b"data: a!\ndata: b\n\n", [b"a!\nb"]),
    (b"data: a!\r\ndata: b\r\rdata: c!\n\n", [b"a!\nb", b"c!"]),
    (b": comment\n\ndata: a!\n\n", [b"a!"]),
    (b": comment\ndata: a!\n: comment\n\n", [b"a!"]),
    (b"event: x\nid: 1\nretry: 5\ndata: a!\n\n", [b"a!"]),
    (b"data: a!", [b"a!"]),
    (b"data: a!\n", [b"a!"]),
    (b"data: a!\r", [b"a!"]),
    (b"data: a!\n\ndata: b", [b"a!"]),
    (b"\xef\xbb\xbfdata: a!\n\n", [b"a!"]),
    (b"\n\ndata: a!\n\n", [b"a!"]),
    ("data: é!\n\n".encode(), ["é!".encode()]),
    (b"data: \xff!\n\n", [b"\xff!"]),
    (b"event: !\n\n", [b""]),
    (b"", []),
    (b"\r", []),
]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize(("data", "learned"), STREAMS)
def test_events_are_found_with_any_line_ends_and_in_any_pieces(data, learned, size):
    assert collect(cut(data, size)) == (learned, [])


PIECES = st.sampled_from(
    [
        b"data: ",
        b"data:",
        b"a",
        b"!",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\r\n\r\n",
        b": c",
        b"event: x",
        b"x" * 70,
        b"\xc3",
    ],
)


@pytest.fixture
def _short_limit(monkeypatch):
    monkeypatch.setattr(sse, "EVENT_LIMIT", LIMIT)


@pytest.mark.usefixtures("_short_limit")
def test_a_long_event_is_read_at_its_ends_in_any_pieces():
    long = b"data: !" + b"x" * 200 + b"end"
    for before in (b"", b"data: a!\n\n"):
        for after in (b"", b"\n", b"\n\n", b"\n\ndata: b!\n\n", b"\r\n\r\ndata: b!\r\n\r\n"):
            data = before + long + after
            found = {str(collect(cut(data, size))) for size in (1, 2, 3, 50, 67, 1000)}
            assert len(found) == 1
            learned, gleaned = collect([data])
            assert learned == [b"a!"] * bool(before) + [b"b!"] * (b"b!" in after)
            assert [head for head, _ in gleaned] == [b"data"]


@pytest.mark.usefixtures("_short_limit")
def test_a_long_event_of_no_interest_is_skipped():
    assert collect(cut(b"data: " + b"x" * 500 + b"\n\ndata: a!\n\n", 10)) == ([b"a!"], [])


@given(st.lists(PIECES, max_size=25), st.lists(st.integers(0, 300), max_size=10))
@example([b"\n", b"\r\n\r\n", b"x" * 70, b"!"], [4])
def test_any_chunking_reads_the_same(pieces, cuts):
    data = b"".join(pieces)
    before, sse.EVENT_LIMIT = sse.EVENT_LIMIT, LIMIT
    try:
        whole = collect([data])
        assert collect([data[a:b] for a, b in pairwise([0, *sorted(cuts), len(data)])]) == whole
        assert collect(cut(data, 1)) == whole
        assert collect(pieces) == whole
    finally:
        sse.EVENT_LIMIT = before


@pytest.mark.parametrize("piece", [b"x" * 65536, b"data: !\n" * 8192, b"\r" * 3 + b"x" * 65533])
def test_an_event_without_end_is_held_only_up_to_the_limit(piece):
    reader = Collector()
    tracemalloc.start()
    for _ in range(160):
        reader.feed(piece)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * sse.EVENT_LIMIT


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: a", b"a"),
        (b"data:a", b"a"),
        (b"event: x\ndata: a\ndata:\ndata: b", b"a\n\nb"),
        (b"datas: a", b""),
        (b"data", b""),
    ],
)
def test_the_data_of_an_event_is_the_content_of_its_data_lines(event, data):
    assert data_of(event) == data


@pytest.mark.parametrize("size", [1, 999, 8191, 70_000, 1 << 20])
def test_both_ends_of_a_long_event_are_the_same_in_any_chunking(size):
    data = bytes(i % 251 for i in range(200_000))
    ends = Ends()
    for piece in cut(data, size) if size > 1 else [*cut(data[:3000], 1), data[3000:]]:
        ends.add(piece)
    assert ends.length == len(data)
    assert ends.close() == (data[:HEAD], data[-TAIL:])


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b'..."usage":{"a":1}}', b'{"a":1}'),
        (b'..."usage" : {"a":{"b":"}"}} , "x":1}', b'{"a":{"b":"}"}}'),
        (b'"usage":{"a":1},"usage":{"a":2}', b'{"a":2}'),
        (b'"text":"\\"usage\\":{\\"a\\":1}"', None),
        (b'"usage":null', None),
        (b'"usage":{"a":', None),
        (b'"usage":' + b'{"a":' * 5000, None),
        (b'"usage":{"a":"\xc3\xa9"}', b'{"a":"\xc3\xa9"}'),
        (b"", None),
    ],
)
def test_the_last_object_under_a_key_is_found_in_a_json_fragment(data, found):
    assert last_object(data, "usage") == found


def test_a_string_under_a_key_is_found_only_if_it_is_a_word():
    assert last_text(b'"model":"a","model" : "gpt-4o"', "model") == "gpt-4o"
    assert last_text(b'"model":"a b"', "model") is None
    assert last_text(b'"model":"%b"' % (b"x" * 200), "model") is None
