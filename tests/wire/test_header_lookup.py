"""The faster lookup of headers returns what mitmproxy's returns."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st
from mitmproxy.coretypes.multidict import MultiDict
from mitmproxy.http import Headers

from wirekey.wire import header_lookup

NAMES = st.sampled_from([b"Host", b"host", b"HOST", b"Hosts", b"x-a", b"X-A", b"\xc3\xa4", b"\xff", b""])


@given(st.lists(st.tuples(NAMES, st.binary(max_size=8))), NAMES, st.booleans())
def test_lookup_returns_the_same_values_as_mitmproxy(fields, name, as_text):
    headers = Headers(fields)
    asked = name.decode("utf-8", "surrogateescape") if as_text else name
    found = [value.decode("utf-8", "surrogateescape") for value in MultiDict.get_all(headers, name)]
    assert header_lookup.get_all(headers, asked) == found
    assert header_lookup.contains(headers, asked) is bool(found)


def test_install_replaces_the_lookup():
    code = (
        "from mitmproxy.http import Headers; from wirekey.wire import header_lookup, install; install.install(); "
        "assert Headers.get_all is header_lookup.get_all; h = Headers(Host='a'); "
        "assert 'host' in h and h['HOST'] == 'a' and h.get('x') is None"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
