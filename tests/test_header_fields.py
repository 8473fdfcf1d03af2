"""Tests of headers as a dictionary: it has the values that a walk over all fields finds."""

from hypothesis import given
from hypothesis import strategies as st

from wirekey.core.header_fields import by_name

NAMES = st.sampled_from([b"Host", b"host", b"HOST", b"Hosts", b"x-a", b"X-A", b"\xc3\xa4", b"\xff", b""])
FIELDS = st.lists(st.tuples(NAMES, st.binary(max_size=8)))


@given(FIELDS, st.none() | st.frozensets(NAMES.map(bytes.lower)))
def test_the_headers_by_name_are_those_of_a_walk(fields, names):
    expected = {}
    for name, value in fields:
        if names is None or name.lower() in names:
            expected.setdefault(name.lower().decode("latin-1"), []).append(value.decode("latin-1"))
    assert by_name(fields, names) == {name: ", ".join(values) for name, values in expected.items()}
