"""Wirekey adds the usage option to a request. Only the span of that option changes."""

import json

import pytest

from wirekey.core.body import Body
from wirekey.core.operation import Kind, Operation
from wirekey.providers.registry import PROVIDERS
from wirekey.providers.request_edits import RequestEdits

LONG = b"x" * 5000
CHAT = Operation("chat.completions", Body.JSON, Kind.INFERENCE)


def ask_stream_usage(body):
    wanted = RequestEdits(include_usage=True)
    return PROVIDERS["openai"].operations.edit_request(CHAT, b"/v1/chat/completions", "application/json", body, wanted)


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        (b'{"stream":true}', b'{"stream_options":{"include_usage":true},"stream":true}'),
        (b' { "a" : [1, {}] \r\n} \n', b' {"stream_options":{"include_usage":true}, "a" : [1, {}] \r\n} \n'),
        (rb'{"a":"\u0073"}', rb'{"stream_options":{"include_usage":true},"a":"\u0073"}'),
        (b'{"stream_options":null,"a":1}', b'{"stream_options":{"include_usage":true},"a":1}'),
        (b'{"stream_options": {}}', b'{"stream_options": {"include_usage":true}}'),
        (
            b'{"stream_options": { "include_obfuscation" : false },"a":1}',
            b'{"stream_options": {"include_usage":true, "include_obfuscation" : false },"a":1}',
        ),
        (
            b'{"a":1, "stream_options":{"x":1, "include_usage" : false }}',
            b'{"a":1, "stream_options":{"x":1, "include_usage" : true }}',
        ),
        (b'{"stream_options":{"include_usage":null}}', b'{"stream_options":{"include_usage":true}}'),
        (rb'{"stream_option\u0073":{"include_usag\u0065":0}}', rb'{"stream_option\u0073":{"include_usag\u0065":true}}'),
        (
            '{"messages":["€ \\"stream_options\\":{}"]}'.encode(),
            '{"stream_options":{"include_usage":true},"messages":["€ \\"stream_options\\":{}"]}'.encode(),
        ),
        pytest.param(
            rb'{"a":"%b","stream_option\u0073":{}}' % LONG,
            rb'{"a":"%b","stream_option\u0073":{"include_usage":true}}' % LONG,
            id="escaped, after a long string",
        ),
        pytest.param(
            b'{"a":"%b", "stream_options":{ },"b":1}' % LONG,
            b'{"a":"%b", "stream_options":{"include_usage":true},"b":1}' % LONG,
            id="after a long string",
        ),
    ],
)
def test_only_the_span_of_the_option_changes(body, asked):
    edited = ask_stream_usage(body)
    assert (edited.body, edited.usage_requested) == (asked, True)
    json.loads(asked)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"{",
        b'{"stream_options":1}',
        b'{"stream_options":[]}',
        b'{"stream_options":"x"}',
        b'{"stream_options":{"a":1,"a":2}}',
        b'{"a":1,"a":"stream_options"}',
        b'\xef\xbb\xbf{"a":1}',
    ],
)
def test_a_request_that_the_provider_will_refuse_is_unchanged(body):
    edited = ask_stream_usage(body)
    assert edited.body is body
    assert not edited.usage_requested


def test_the_option_is_never_added_for_google():
    body = b'{"stream":true}'
    for edited in (
        PROVIDERS["openai"].operations.edit_request(CHAT, b"/v1/chat/completions", "", body, edits("gemini")),
        PROVIDERS["gemini"].operations.edit_request(CHAT, b"/v1beta/openai/chat/completions", "", body, edits(None)),
    ):
        assert edited.target == b"/v1beta/openai/chat/completions"
        assert edited.body is body
        assert not edited.usage_requested


def edits(provider):
    return RequestEdits(include_usage=True, provider=provider)
