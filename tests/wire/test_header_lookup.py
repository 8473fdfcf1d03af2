"""The faster headers have the results of a walk over all fields, also after every change of the fields."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy.http import Headers, Response

from wirekey.wire import header_lookup

NAMES = st.sampled_from([b"Host", b"host", b"HOST", b"Hosts", b"x-a", b"X-A", b"\xc3\xa4", b"\xff", b""])
FIELDS = st.lists(st.tuples(NAMES, st.binary(max_size=8)))
CHANGES = st.lists(
    st.tuples(st.sampled_from(["set", "delete", "add", "replace", "value"]), NAMES, st.binary(max_size=4))
)


@pytest.fixture(scope="module", autouse=True)
def installed():
    header_lookup.install()


def text(raw):
    return raw.decode("utf-8", "surrogateescape")


def change(headers, expected, kind, name, value):
    """Change headers, and return the fields that they must have then."""
    alike = [at for at, field in enumerate(expected) if field[0].lower() == name.lower()]
    others = [field for at, field in enumerate(expected) if at not in alike]
    if kind == "set":
        headers[name] = text(value)
        if not alike:
            return [*expected, (name, value)]
        return [
            (field[0], value) if at == alike[0] else field for at, field in enumerate(expected) if at not in alike[1:]
        ]
    if kind == "delete":
        headers.pop(name, None)
        return others
    if kind == "add":
        headers.add(name, value)
        return [*expected, (name, value)]
    if kind == "value":
        header_lookup.set_value(headers, name.lower(), value)
        return [(field[0], value) if at in alike else field for at, field in enumerate(expected)]
    headers.fields = ((name, value),)
    return [(name, value)]


def compare(headers, expected, name, asked):
    found = [text(value) for field, value in expected if field.lower() == name.lower()]
    assert headers.fields == tuple(expected)
    assert headers.get_all(asked) == found
    assert (asked in headers) is bool(found)
    assert headers.get(asked, "default") == (", ".join(found) if found else "default")
    if found:
        assert headers[asked] == ", ".join(found)
    else:
        with pytest.raises(KeyError):
            headers[asked]


@given(FIELDS, CHANGES, NAMES, st.booleans())
def test_lookups_have_the_results_of_a_walk_over_the_fields(fields, changes, name, as_text):
    headers, expected = Headers(fields), list(fields)
    asked = text(name) if as_text else name
    compare(headers, expected, name, asked)
    for kind, changed, value in changes:
        expected = change(headers, expected, kind, changed, value)
        compare(headers, expected, name, asked)


@given(FIELDS, NAMES)
def test_copies_are_equal_and_independent(fields, name):
    headers = Headers(fields)
    headers.get(name)
    for copied in (headers.copy(), copy.copy(headers), Headers.from_state(headers.get_state())):
        assert copied == headers
        copied[name] = "changed"
        assert headers.fields == tuple(fields)
        assert copied.get_all(name) == ["changed"]


@given(FIELDS, st.none() | st.frozensets(NAMES.map(bytes.lower)))
def test_the_headers_by_name_are_those_of_a_walk(fields, names):
    expected = {}
    for name, value in fields:
        if names is None or name.lower() in names:
            expected.setdefault(name.lower().decode("latin-1"), []).append(value.decode("latin-1"))
    found = header_lookup.by_name(Headers(fields), names)
    assert found == {name: ", ".join(values) for name, values in expected.items()}


def test_the_headers_and_the_status_of_a_message_can_be_replaced():
    response = Response.make(200)
    response.headers = Headers([(b"host", b"a")])
    response.status_code = 404
    assert response.headers is response.data.headers
    assert (response.headers["host"], response.status_code, response.data.status_code) == ("a", 404, 404)


def test_nothing_of_removed_fields_stays_in_the_headers():
    headers = Headers([(b"authorization", b"canary"), (b"host", b"a")])
    assert headers["authorization"] == "canary"
    headers.fields = ((b"host", b"a"),)
    assert "canary" not in repr(vars(headers))


def test_a_changed_value_keeps_the_index_of_the_headers_and_not_that_of_their_copy():
    headers = Headers([(b"Host", b"a"), (b"x-a", b"b")])
    assert headers["host"] == "a"
    copied = copy.copy(headers)
    header_lookup.set_value(headers, b"host", b"canary")
    assert vars(headers)["_index"] == {b"host": b"canary", b"x-a": b"b"}
    assert copied["host"] == "a"
    assert "canary" not in repr(vars(copied))


def test_names_that_clients_choose_do_not_fill_the_memory():
    headers = Headers([(b"host", b"a")])
    for number in range(3 * header_lookup.MOST_NAMES):
        assert headers.get(f"x-{number}") is None
    assert len(header_lookup.keys) <= header_lookup.MOST_NAMES
    assert headers["HOST"] == "a"


@pytest.mark.parametrize("fields", [[("host", b"a")], [(b"host", "a")], [(b"host",)], [(b"a", b"b", b"c")]])
def test_fields_that_are_not_pairs_of_bytes_are_rejected(fields):
    with pytest.raises(TypeError):
        Headers(fields)


def test_keyword_arguments_are_headers():
    headers = Headers([(b"Content-Type", b"text/plain")], content_type="application/json", host=b"a")
    assert headers.fields == ((b"Content-Type", b"application/json"), (b"host", b"a"))


def test_install_replaces_the_lookup():
    code = (
        "from mitmproxy.http import Headers; from wirekey.wire import header_lookup, install; install.install(); "
        "assert Headers.get_all is header_lookup.get_all; h = Headers(Host='a'); "
        "assert 'host' in h and h['HOST'] == 'a' and h.get('x') is None"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
