"""Headers with quick look-ups say the same as mitmproxy's own, and keep nothing of removed fields."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import http

from wirekey.core.wire.speed.headers import QuickHeaders, with_quick_headers

NAMES = (b"Host", b"host", b"HOST", b"Content-Type", b"x-\xff", "x-é".encode())
FIELDS = st.lists(st.tuples(st.sampled_from(NAMES), st.binary(max_size=8)), max_size=6)
ASKED = ("host", "Host", b"hOsT", "content-type", b"x-\xff", b"X-\xff", "x-\udcff", "x-é", "missing")


def message(fields) -> http.Request:
    request = http.Request.make("GET", "https://example.org/", headers=http.Headers(fields))
    request.data.headers.fields = tuple(fields)
    return request


@given(FIELDS)
def test_each_look_up_says_what_mitmproxys_own_headers_say(fields):
    own, quick = message(fields), message(fields)
    with_quick_headers(quick)
    assert type(quick.headers) is QuickHeaders
    assert quick.headers == own.headers
    for name in ASKED:
        assert quick.headers.get_all(name) == own.headers.get_all(name)
        assert quick.headers.get(name, "none") == own.headers.get(name, "none")
        assert (name in quick.headers) == (name in own.headers)
        if name in own.headers:
            assert quick.headers[name] == own.headers[name]
        else:
            with pytest.raises(KeyError):
                quick.headers[name]


@given(FIELDS, st.sampled_from(ASKED))
def test_changes_and_copies_are_those_of_mitmproxys_own_headers(fields, name):
    own, quick = message(fields), message(fields)
    with_quick_headers(quick)
    for headers in (own.headers, quick.headers):
        headers[name] = "new"
        headers.pop("host", None)
    assert quick.headers.fields == own.headers.fields
    assert quick.copy().headers == own.copy().headers
    assert quick.get_state()["headers"] == own.get_state()["headers"]


def test_a_removed_field_leaves_nothing_behind():
    request = message([(b"authorization", b"Bearer canary"), (b"host", b"example.org")])
    with_quick_headers(request)
    assert request.headers["authorization"] == "Bearer canary"
    request.headers.fields = tuple(field for field in request.headers.fields if field[0] != b"authorization")
    assert "canary" not in repr(vars(request.headers))


def test_a_head_that_was_read_has_quick_look_ups_from_the_beginning():
    code = (
        "from wirekey.core.wire import install; install.install();"
        "from wirekey.core.wire.speed.headers import QuickHeaders, with_quick_headers;"
        "from mitmproxy.net.http import http1;"
        "lines = [b'GET / HTTP/1.1', b'Host: example.org', b'X-A:  1 ', b' 2'];"
        "request = http1.read_request_head(lines);"
        "read = request.headers; with_quick_headers(request);"
        "assert type(read) is QuickHeaders and request.headers is read;"
        "assert read.fields == ((b'Host', b'example.org'), (b'X-A', b'1\\r\\n 2'));"
        "response = http1.read_response_head([b'HTTP/1.1 200 OK', b'Content-Length: 2']);"
        "assert type(response.headers) is QuickHeaders and response.headers['content-length'] == '2'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
