import json
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wirekey.core.metering import json_array
from wirekey.core.metering.json_array import JsonArrayReader


class Collector(JsonArrayReader):
    """A reader that collects every element with the word `want`."""

    def __init__(self):
        super().__init__()
        self.elements = []
        self.ends = []

    def interested(self, data):
        return b"want" in data

    def read_event(self, data):
        self.elements.append(data)

    def read_fragment(self, head, tail):
        self.ends.append((head, tail))


def cut(data, places):
    places = sorted(place % (len(data) + 1) for place in places)
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def collect(chunks):
    reader = Collector()
    for chunk in chunks:
        reader.feed(chunk)
    reader.end()
    return reader


ARRAYS = {
    "nothing": b"",
    "empty": b"[]",
    "one element": b'[{"want":1}]',
    "pretty printed": b'[{\n  "want": 1\n}\n,\r\n{\n  "no": 2\n}\n,\r\n{\n  "want": {"deep": [1, {"a": []}]}\n}\n]\n',
    "brackets in strings": b'[{"want":"}]{["},{"no":"]"},{"want":"\\"}]"}]',
    "escapes": rb'[{"want":"\\"},{"no":"\\\""},{"want":"\\\\\"}"},{"no":"\u007d"}]',
    "unicode": '[{"want":"日本 ü"},{"no":"😀"}]'.encode(),
    "scalars between": b'[1,"want",null,{"want":2}]',
    "unfinished": b'[{"want":1},{"want":',
    "an object": b'{"want":{"want":1}}',
    "rubbish": b'][{"want"}][\\{{"want',
}


@pytest.mark.parametrize("data", ARRAYS.values(), ids=ARRAYS)
def test_any_single_cut_reads_the_same(data):
    whole = collect([data]).elements
    for place in range(len(data) + 1):
        assert collect([data[:place], data[place:]]).elements == whole
    assert collect(bytes([byte]) for byte in data).elements == whole


def test_elements_are_what_a_json_parser_finds():
    for name in ("pretty printed", "brackets in strings", "escapes", "unicode", "scalars between"):
        data = ARRAYS[name]
        wanted = [each for each in json.loads(data) if isinstance(each, dict) and "want" in each]
        assert [json.loads(each) for each in collect([data]).elements] == wanted


JSON = st.recursive(
    st.none() | st.integers() | st.text() | st.sampled_from(["want", '"', "\\", "}"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.just("want"), inner, max_size=3)
    ),
    max_leaves=10,
)


@settings(max_examples=150)
@given(
    st.lists(st.dictionaries(st.sampled_from(["want", "no"]), JSON, min_size=1)),
    st.booleans(),
    st.lists(st.integers(0, 10**6)),
)
def test_the_elements_of_any_array_are_read_in_any_chunking(array, pretty, places):
    data = json.dumps(array, indent=2 if pretty else None, ensure_ascii=pretty).encode()
    wanted = [each for each in array if "want" in json.dumps(each, ensure_ascii=pretty)]
    assert [json.loads(each) for each in collect(cut(data, places)).elements] == wanted


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from([b"[", b"]", b"{", b"}", b'"', b"\\", b"want", b",", b"x"])),
    st.lists(st.integers(0, 10**6)),
)
def test_rubbish_in_an_array_never_raises_and_reads_the_same_in_any_chunking(pieces, places):
    data = b"".join(pieces)
    assert collect(cut(data, places)).elements == collect([data]).elements


def test_an_element_too_long_to_hold_is_read_at_its_ends(monkeypatch):
    monkeypatch.setattr(json_array, "ELEMENT_LIMIT", 1000)
    long = b'{"head":1,"text":"' + b"x" * 500_000 + b'","want":1}'
    data = b"[" + long + b',{"want":2}]'
    rng = random.Random(1)
    for places in ([], [1], [17, 900, 300_000], [rng.randrange(len(data)) for _ in range(40)]):
        reader = collect(cut(data, places))
        [(head, tail)] = reader.ends
        assert head.startswith(b'{"head":1')
        assert tail.endswith(b'"want":1}')
        assert reader.elements == [b'{"want":2}']


def test_memory_stays_bounded_while_a_long_element_passes():
    reader = Collector()
    reader.feed(b'[{"text":"')
    for _ in range(200):
        reader.feed(b"x" * 100_000)
        held = len(reader._held) + (len(reader._ends.tail) if reader._ends else 0)
        assert held <= json_array.ELEMENT_LIMIT + 100_000


def test_no_regular_expression_is_quadratic():
    """Long runs of backslashes and quotes could make an expression backtrack."""
    reader = Collector()
    for run in (b"\\" * 300_000, b'"' * 200_000, b'\\"' * 100_000):
        reader.feed(b'[{"want":"' + run)
    assert re.search(b"want", bytes(reader._held))
