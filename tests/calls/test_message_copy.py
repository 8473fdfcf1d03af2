"""The copy of a message is independent of the message."""

from __future__ import annotations

import copy

from mitmproxy.test import tflow

from wirekey.core.calls.message_copy import with_fields


def test_a_copy_has_other_fields_and_everything_else_of_the_message():
    for message in (tflow.tflow().request, tflow.tflow(resp=True).response):
        message.stream = True
        before = message.get_state()
        copied = with_fields(message, [(b"x-a", b"1")])
        assert type(copied) is type(message)
        assert copied.headers.fields == ((b"x-a", b"1"),)
        assert copied.stream is True
        expected = copy.deepcopy(message.data)
        expected.headers = copied.data.headers
        assert copied.data == expected
        copied.headers["x-b"] = "2"
        copied.data.http_version = b"HTTP/2.0"
        copied.data.content = b"changed"
        copied.stream = False
        assert message.get_state() == before
        assert message.stream is True
