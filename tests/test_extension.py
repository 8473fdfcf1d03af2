"""Credential functions of the operator: what they may return, and what happens if they fail."""

import asyncio
import time
from functools import partial

import pytest

from wirekey import extension
from wirekey.extension import REFUSED_HEADERS, CallInfo, Extension, ExtensionError, Head

CALL = CallInfo("id", "alice", None, None, "openai", "chat.completions", "m", "m", stream=False, route="routes[0]")
HEAD = Head("POST", "x.example", "/v1/chat/completions", (("content-type", "application/json"),))


def plain(call, head):
    return {"Authorization": f"Token {call.agent_id}@{head.host}"}


async def waiting(call, head):
    await asyncio.sleep(0)
    return plain(call, head)


class Signing:
    def __init__(self, call, head):
        self.call = call

    def sign(self, head, body):
        return {"x-signature": f"{head.path}:{len(body)}"}


class SigningLater(Signing):
    async def sign(self, head, body):
        await asyncio.sleep(0)
        return super().sign(head, body)


def headers(function, body=b"body"):
    return asyncio.run(Extension("python:m:f", function).headers(CALL, HEAD, body))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (plain, [(b"Authorization", b"Token alice@x.example")]),
        (waiting, [(b"Authorization", b"Token alice@x.example")]),
        (Signing, [(b"x-signature", b"/v1/chat/completions:4")]),
        (SigningLater, [(b"x-signature", b"/v1/chat/completions:4")]),
        (partial(waiting), [(b"Authorization", b"Token alice@x.example")]),
        (lambda *_: {}, []),
    ],
)
def test_a_function_returns_headers_or_a_signer_and_may_be_async(function, expected):
    assert headers(function) == expected


def test_the_body_of_a_streamed_request_is_none():
    class Seeing(Signing):
        def sign(self, head, body):
            return {"x-body": repr(body)}

    assert headers(Seeing, None) == [(b"x-body", b"None")]


def failing(*_):
    raise RuntimeError("the secret that it knows")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (failing, "failed: RuntimeError"),
        (lambda *_: None, "neither a mapping of headers nor"),
        (lambda *_: [("a", "b")], "neither a mapping of headers nor"),
        (lambda *_: {"a b": "c"}, "a header with an invalid name"),
        (lambda *_: {1: "c"}, "a header with an invalid name"),
        (lambda *_: {":path": "/"}, "a header with an invalid name"),
        (lambda *_: {"a": "b\r\nhost: x"}, "an invalid value for the header a"),
        (lambda *_: {"a": "ü"}, "an invalid value for the header a"),
        (lambda *_: {"a": b"c"}, "an invalid value for the header a"),
        (lambda *_: {"a": "x" * 20_000}, "an invalid value for the header a"),
        (lambda *_: {f"x-{number}": "" for number in range(33)}, "more than 32 headers"),
        *(
            (lambda *_, name=name: {name.title(): "x"}, f"may not set the header {name}")
            for name in sorted(REFUSED_HEADERS)
        ),
    ],
)
def test_other_results_and_exceptions_are_errors_without_the_value(function, words):
    with pytest.raises(ExtensionError) as refused:
        headers(function)
    assert words in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("function", [lambda *_: time.sleep(0.5), lambda *_: asyncio.sleep(60)])
def test_a_function_that_takes_too_long_is_an_error(monkeypatch, function):
    monkeypatch.setattr(extension, "TIME_LIMIT", 0.1)
    with pytest.raises(ExtensionError, match="did not return within"):
        headers(function)
