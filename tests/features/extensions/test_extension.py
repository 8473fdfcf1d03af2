"""Extensions of the operator: what they see and may return, and what happens if they fail."""

import asyncio
import time
from dataclasses import replace
from functools import partial

import pytest

from wirekey.core.errors import Refusal
from wirekey.extension import REFUSED_HEADERS, CallInfo, ExtensionError, Head, Request, ResponseHead
from wirekey.features.extensions import running
from wirekey.features.extensions.running import Extension, RequestHook

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
    monkeypatch.setattr(running, "TIME_LIMIT", 0.1)
    with pytest.raises(ExtensionError, match="did not return within"):
        headers(function)


# Requests and heads as hooks see them.

SEEN = Request(
    headers=(("Content-Type", "application/json"), ("X-Note", "one"), ("x-note", "two")),
    id="id",
    agent_id="alice",
    agent_role=None,
    agent_type=None,
    client="127.0.0.1",
    provider="openai",
    method="POST",
    path="/v1/chat/completions",
    is_json=True,
    content=b'{"model": "m", "n": 1.0}',
)


def test_a_header_is_found_in_any_case_and_replaced_as_a_whole():
    assert SEEN.header("X-NOTE") == "one, two"
    assert SEEN.header("absent") is None
    assert SEEN.with_header("X-NOTE", "three").headers == (("Content-Type", "application/json"), ("X-NOTE", "three"))
    assert SEEN.without_header("x-note").headers == (("Content-Type", "application/json"),)
    assert SEEN.header("x-note") == "one, two", "a request does not change"


@pytest.mark.parametrize(
    "name",
    ["authorization", "X-API-Key", "x_goog_api_key", "cookie", "host", "Content-Length", "x-wirekey-model", "", "a b"],
)
def test_a_hook_may_not_set_or_remove_credentials_framing_and_destination(name):
    for message in (SEEN, ResponseHead((), 200)):
        with pytest.raises(ExtensionError):
            message.with_header(name, "value")
        with pytest.raises(ExtensionError):
            message.without_header(name)


@pytest.mark.parametrize("value", ["one\r\ntwo", "\u00e9", "x" * 20_000, 7, None])
def test_a_header_value_that_could_break_a_line_is_refused(value):
    with pytest.raises(ExtensionError, match="invalid value"):
        SEEN.with_header("x-new", value)


def test_a_member_is_added_in_front_or_replaced_in_place():
    assert SEEN.with_member("user", {"id": 7}).body == b'{"user":{"id":7},"model": "m", "n": 1.0}'
    assert SEEN.with_member("n", None).body == b'{"model": "m", "n": null}'
    assert SEEN.with_member("a", 1).with_member("b", 2).json() == {"a": 1, "b": 2, "model": "m", "n": 1.0}
    for name in ('"', "a\\", "", "\u00e9"):
        with pytest.raises(ExtensionError):
            SEEN.with_member(name, 1)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a":1,"a":2}', b"\xff", b"{"])
def test_a_member_of_a_body_that_is_no_object_is_the_clients_error(content):
    with pytest.raises(Refusal) as refused:
        replace(SEEN, content=content).with_member("user", 1)
    assert refused.value.status == 400


def test_a_body_that_is_passed_through_unread_is_none_and_cannot_be_replaced():
    unread = replace(SEEN, content=None, is_json=False)
    assert unread.body is unread.size is unread.json() is None
    for change in (lambda: unread.with_body(b"x"), lambda: unread.with_json({}), lambda: unread.with_member("a", 1)):
        with pytest.raises(ExtensionError):
            change()


def test_a_hook_that_only_inherits_is_not_asked(tmp_path):
    (tmp_path / "only_end.py").write_text(
        "from wirekey.extension import Hooks\nclass End(Hooks):\n    def on_end(self, call): pass\n"
    )
    hook = RequestHook.load("python:only_end:End", tmp_path)
    assert hook.on_request is hook.on_response is None
    assert hook.on_end
    assert RequestHook.load("python:only_end:End", tmp_path, (hook,)) is hook


@pytest.mark.parametrize("kind", ["async", "thread"])
def test_a_function_that_exits_does_not_end_wirekey(kind):
    async def exits(*_):
        raise SystemExit(1)

    def exits_in_a_thread(*_):
        raise SystemExit(1)

    for _ in range(2):
        with pytest.raises(ExtensionError, match="it wanted to exit"):
            headers(exits if kind == "async" else exits_in_a_thread)
