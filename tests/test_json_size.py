"""Values are counted before a body is decoded, and strings are left out where it matters."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirekey.core import json_size
from wirekey.core.errors import Refusal
from wirekey.core.json_size import SAMPLE, check_size, check_utf8, estimated_values, has_more_members


def values(data):
    """Count values. An empty container counts twice, as its opening stands before no value."""
    inside = data.values() if isinstance(data, dict) else data if isinstance(data, list) else None
    if inside is None:
        return 1
    return 1 + (sum(map(values, inside)) or 1)


TEXT = st.text(alphabet='a,{[\\"é\n', max_size=5)
JSON = st.recursive(
    st.none() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(JSON, st.integers(1, 9), st.booleans())
def test_the_exact_count_is_that_of_the_values_wherever_the_body_is_cut(data, piece, ascii_only):
    body = json.dumps(data, ensure_ascii=ascii_only).encode()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(json_size, "EXACT_PIECE", piece)
        assert json_size._check_exactly(body, 10_000) == values(data)


@pytest.mark.parametrize(
    ("body", "limit", "fine"),
    [
        (b"[" + b"0," * 99 + b"0]", 101, True),
        (b"[" + b"0," * 99 + b"0]", 100, False),
        (b"[" + b"{}," * 99 + b"{}]", 150, False),
        (b'{"a":"' + b"," * 1000 + b'"}', 10, True),
        (b'{"a":"' + b'\\",{' * 1000 + b'"}', 10, True),
        (b'{"a":"\\\\","b":[' + b"0," * 50 + b"0]}", 10, False),
        (b'{"a":"' + b"," * 1000, 10, True),
        (b'["",' * 50, 20, False),
    ],
)
@pytest.mark.parametrize("piece", [1, 2, 7, 1 << 16])
def test_too_many_values_are_413(body, limit, fine, piece, monkeypatch):
    monkeypatch.setattr(json_size, "PIECE", piece)
    monkeypatch.setattr(json_size, "EXACT_PIECE", piece)
    if fine:
        check_size(body, limit)
    else:
        with pytest.raises(Refusal, match=r"limits\.json_values") as raised:
            check_size(body, limit)
        assert (raised.value.status, raised.value.code) == (413, "too_many_values")


def test_a_short_body_is_not_looked_at():
    assert check_size(b"{}," * 10, 100) == 16


@pytest.mark.parametrize("text", [b'\\"', b"\\\\", b'\\\\\\"', b"'"])
def test_a_long_text_of_escapes_is_one_value_in_any_place(text, monkeypatch):
    monkeypatch.setattr(json_size, "PIECE", 64)
    monkeypatch.setattr(json_size, "EXACT_PIECE", 64)
    for before in range(4):
        body = b" " * before + b'{"a":"' + text * 1000 + b',,,,","b":[1,2]}'
        assert check_size(body, 6) >= 5


@given(st.dictionaries(TEXT, JSON, max_size=6), st.integers(0, 6), st.integers(1, 9), st.booleans())
def test_the_members_of_an_object_are_counted_wherever_it_is_cut(data, limit, piece, ascii_only):
    body = json.dumps(data, ensure_ascii=ascii_only).encode()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(json_size, "EXACT_PIECE", piece)
        assert has_more_members(body, limit) == (len(data) > limit)


@pytest.mark.parametrize(
    ("body", "least", "most"),
    [
        (b"{}," * 100_000, 150_000, 250_000),
        (b"0," * 10, 10, 10),
        (b"x" * 1_000_000, 0, 0),
        (b"Ordinary text, with a few commas, as people write it. " * 20_000, 20_000, 60_000),
        (b"{}," * SAMPLE + b"x" * 100 * SAMPLE, 0, 30 * SAMPLE),
    ],
)
def test_the_values_of_a_body_are_estimated(body, least, most):
    assert least <= estimated_values(body) <= most


@pytest.mark.parametrize("data", [b"\xff", b"a\xc3", b"\xc0\xa2", b"\xed\xa0\x80"])
def test_what_is_not_utf8_is_found(data):
    with pytest.raises(UnicodeDecodeError):
        check_utf8(data)
