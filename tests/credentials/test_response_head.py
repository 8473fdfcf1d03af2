"""What a client gets of the head of a provider's response."""

from __future__ import annotations

import pytest

from wirekey.core.credentials.response_head import client_fields, minimal_fields

KEY = b"sk-key-of-the-provider-77"


@pytest.mark.parametrize("connection", [b"Connection", b"connection", b"CONNECTION"])
def test_what_the_connection_header_lists_is_left_out_but_for_the_framing(connection):
    fields = (
        (connection, b"x-hop, Content-Length"),
        (b"X-Hop", b"1"),
        (b"X-Other", b"x-hop"),
        (b"Content-Length", b"2"),
    )
    kept = client_fields(fields, (), encoded=False, at_gateway=False)
    assert kept == (fields[0], *fields[2:])


def test_without_a_connection_header_all_fields_stay():
    fields = ((b"X-Hop", b"x-other"), (b"X-Other", b"1"))
    assert client_fields(fields, (), encoded=False, at_gateway=False) == fields


def test_a_key_is_masked_in_names_and_values_of_any_length():
    fields = ((b"X-" + KEY.upper(), KEY), (b"X-Short", KEY[:-1]), (KEY, b"a" + KEY))
    kept = client_fields(fields, (KEY,), encoded=False, at_gateway=False)
    mask = b"*" * len(KEY)
    assert kept == ((b"X-" + mask, mask), fields[1], (mask, b"a" + mask))


def test_of_a_head_that_could_not_be_searched_only_the_framing_is_left():
    framing = ((b"Content-Length", b"2"), (b"transfer-encoding", b"chunked"))
    assert minimal_fields([(b"X-Other", KEY), *framing, (b"Set-Cookie", KEY)]) == framing
