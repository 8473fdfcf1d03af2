"""The search for the name of a member leaves out long strings, and finds the same."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirekey.core.metering.long_strings import RUN, without_long_strings

NAME = b'"usage"'
IMAGE = base64.b64encode(bytes(range(256)) * 64)

PIECES = st.sampled_from([NAME, NAME[:3], b'"', b"x" * RUN, b"x" * (2 * RUN), b"x" * 7, b"\n\n", b"\r", b'\\"', IMAGE])


@given(st.lists(PIECES, max_size=20))
def test_a_name_is_found_as_often_as_in_the_data(pieces):
    data = b"".join(pieces)
    assert without_long_strings(data).count(NAME) == data.count(NAME)


@given(st.lists(PIECES, max_size=20))
def test_lines_stay_apart(pieces):
    data = b"".join(pieces)
    outline = without_long_strings(data)
    assert [line[:1] for line in outline.split(b"\n")] == [line[:1] for line in data.split(b"\n")]
    assert outline.count(b"\r") == data.count(b"\r")


@pytest.mark.parametrize("after", [b":null}", b":{}}\n\n", b" : 1," + b"y" * 5000])
def test_what_follows_a_name_follows_it_still(after):
    data = b'{"b64_json":"' + IMAGE + b'","usage"' + after
    outline = without_long_strings(data)
    assert len(outline) < len(data) - len(IMAGE) + 4 * RUN
    assert NAME + after[:RUN] in outline


def test_data_without_long_strings_is_returned_as_it_is():
    data = b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n' * 500
    assert without_long_strings(data) is data
    assert without_long_strings(b"x" * RUN) == b"x" * RUN
