"""The head of a request has exactly one reading, or is refused."""

import string
from contextlib import suppress
from urllib.parse import parse_qsl, quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirekey.core.errors import Refusal
from wirekey.providers.request_head import check_headers, media_type_of, read_query


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("", {}),
        ("alt=sse", {"alt": "sse"}),
        ("%24alt=json", {"$alt": "json"}),
        ("a=1&b=&c", {"a": "1", "b": "", "c": ""}),
        ("include[]=x&include%5B%5D=y", {"include[]": "y"}),
        ("q=%41+b%3B", {"q": "A b;"}),
        ("&&a=1&", {"a": "1"}),
        ("n=caf%C3%A9", {"n": "café"}),
    ],
)
def test_a_query_is_read(raw, expected):
    assert read_query(raw) == expected


@pytest.mark.parametrize(
    "raw",
    [
        "a=1&a=1",
        "a=1&A=1",
        "a=1&$a=1",
        "page_size=1&pageSize=1",
        "a[]=1&a=1",
        "%61=1",
        "a%5F=1",
        "a;b=1",
        "a=%",
        "a=%4",
        "%zz",
        "a=%ff",
        "%00",
    ],
)
def test_an_ambiguous_query_is_refused(raw):
    with pytest.raises(Refusal) as raised:
        read_query(raw)
    assert (raised.value.status, raised.value.code) == (400, "malformed")


NAMES = st.text(alphabet=string.ascii_letters + "$_[]-", min_size=1, max_size=4)


@given(
    st.lists(
        st.tuples(
            NAMES, st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5)
        ),
        max_size=4,
    )
)
def test_a_query_is_read_as_other_libraries_read_it(pairs):
    raw = "&".join(f"{quote(name, safe='-_')}={quote(value, safe='')}" for name, value in pairs)
    try:
        found = read_query(raw)
    except Refusal:
        return
    assert found == dict(parse_qsl(raw, keep_blank_values=True))


@given(st.text(alphabet="ab=&;%$[]+0123456789AF _", max_size=20))
def test_rubbish_is_refused_and_raises_nothing_else(raw):
    with suppress(Refusal):
        read_query(raw)


@pytest.mark.parametrize(
    "fields",
    [
        [(b"Content-Type", b"a"), (b"content-type", b"a")],
        [(b"content_type", b"a")],
        [(b"Content-Length", b"1"), (b"Content_Length", b"2")],
        [(b"transfer_encoding", b"chunked")],
        [(b"content_encoding", b"gzip")],
    ],
)
def test_an_ambiguous_header_is_refused(fields):
    with pytest.raises(Refusal):
        check_headers(fields)


def test_other_headers_may_repeat_and_have_underscores():
    check_headers([(b"session_id", b"1"), (b"accept", b"a"), (b"accept", b"b"), (b"content-type", b"x")])


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("", ("", {})),
        ("Application/JSON", ("application/json", {})),
        ("application/json; Charset=UTF-8 ; a=b", ("application/json", {"charset": "utf-8", "a": "b"})),
        ('application/json;charset="utf-8";', ("application/json", {"charset": "utf-8"})),
    ],
)
def test_a_content_type_is_split(written, expected):
    assert media_type_of(written) == expected


@pytest.mark.parametrize(
    "written",
    [
        "a/b; charset=x; charset=y",
        "a/b; charset*=x; charset=y",
        "a/b; charset",
        "a/b; charset = x",
        "a/b; x=1, c/d",
        'a/b; x="1',
    ],
)
def test_an_ambiguous_content_type_is_refused(written):
    with pytest.raises(Refusal):
        media_type_of(written)
