"""THREATS 2.4: bytes that two parsers could read differently, and requests of unlimited size."""

from __future__ import annotations

import pytest

from tests.support.raw_client import CHAT, post

LONGEST_HEAD = 64 * 1024
"""Bytes: the default of limits.header_bytes."""


@pytest.mark.parametrize(
    "lines",
    [
        ("Transfer-Encoding: chunked",),
        ("Content-Length: 5",),
        ("Transfer-Encoding: xchunked",),
        ("Transfer-Encoding: chunked, identity",),
        ("Transfer-Encoding : chunked",),
    ],
)
def test_H1_two_lengths(stage, lines):
    answer = stage.ask(post(*lines))
    assert answer.status == 400
    assert stage.nothing_arrived()


def test_H1_what_follows_a_refused_request_is_not_read_as_a_request(stage):
    smuggled = post(path="/v1/completions")
    with stage.tunnel() as client:
        client.send(post("Transfer-Encoding: chunked", body=b"0\r\n\r\n" + smuggled))
        assert client.read_response().status == 400
        assert client.wait_closed()
    assert stage.nothing_arrived()


@pytest.mark.parametrize(
    "line", ["X-Odd: a\x00b", "X-Odd: a\x0bb", "X-Odd: a\x7fb", "X-Odd: a\rb", "X Odd: a", "X-Odd\x00: a"]
)
def test_H2_control_characters_in_headers(stage, line):
    answer = stage.ask(post(line))
    assert answer.status == 400
    assert stage.nothing_arrived()


def test_H2_a_folded_header(stage):
    answer = stage.ask(post("X-Odd: one\r\n two"))
    assert answer.status in (200, 400)
    if answer.status == 200:
        assert not any(b"\r" in value or b"\n" in value for _, value in stage.arrived().headers)


def test_H4_expect_continue_gets_the_refusal(stage):
    with stage.tunnel() as client:
        client.send(post("Expect: 100-continue", path="/v1/nothing/", body=b""))
        client_answer = client.read_response()
    assert client_answer.status == 404


def test_H4_expect_continue_works_for_what_is_allowed(stage):
    with stage.tunnel() as client:
        whole = post("Expect: 100-continue")
        client.send(whole[: -len(CHAT)])
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.receive_bytes()
        assert head.startswith(b"HTTP/1.1 100")
        client.send(CHAT)
        assert client.read_response().status == 200
    assert not any(name.lower() == b"expect" for name, _ in stage.arrived().headers)


def test_H5_trailers_do_not_arrive(stage):
    body = b"%x\r\n%b\r\n0\r\nX-Trailer: evil\r\n\r\n" % (len(CHAT), CHAT)
    answer = stage.ask(post("Transfer-Encoding: chunked", "Trailer: X-Trailer", body=body, length=False))
    assert answer.status in (200, 400)
    if answer.status == 200:
        assert "evil" not in str(stage.arrived().headers)


def test_H6_a_request_after_a_denied_one_is_decided_on_its_own(stage):
    with stage.tunnel() as client:
        client.send(post(path="/v1/nothing/") + post())
        assert client.read_response().status == 404
        assert client.read_response().status == 200
        client.send(post(host="evil.example"))
        assert client.read_response().status == 421
    assert len(stage.simulator.seen) == 1


@pytest.mark.parametrize("method", ["BREW", "post", "CONNECT", "PRI", "OPTIONS", "TRACE"])
def test_H7_other_methods(stage, method):
    answer = stage.ask(post(method=method))
    assert answer.status in (0, 400, 403, 405)
    assert stage.nothing_arrived()


def test_H7_http_0_9(stage):
    with stage.tunnel() as client:
        client.send(b"GET /v1/models\r\n\r\n")
        assert client.read_response().status in (0, 400)
    assert stage.nothing_arrived()


def test_H8_a_websocket_is_refused_where_the_provider_has_none(stage):
    lines = (
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==",
        "Sec-WebSocket-Version: 13",
    )
    request = post(*lines, method="GET", path="/v1/models", body=b"", content_type=None)
    stage.denied(request, 426)
    answer = stage.ask(request)  # RFC 9110, 15.5.22: a 426 names the protocol to use
    assert (answer.headers["upgrade"], answer.headers["connection"]) == ("HTTP/1.1", "upgrade")


def test_H10_too_many_headers(stage):
    event = stage.denied(post(*(f"X-{number}: a" for number in range(120))), 431)
    assert event["policy_reason"].startswith("too_many_headers")


def test_H10_endless_headers(stage):
    with stage.tunnel() as client:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nX-Long: "
        client.send(head + b"x" * (LONGEST_HEAD - len(head)))
        for _ in range(100):  # goes on after the refusal, and must not lose it
            client.send(b"x" * 10_000)
        assert client.read_response().status == 431
    assert stage.nothing_arrived()


def test_H13_a_body_over_the_limit(stage):
    stage.denied(post(body=b'{"model":"' + b"x" * (1 << 20) + b'"}'), 413)


def test_H13_a_chunked_body_over_the_limit(stage):
    piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    with stage.tunnel() as client:
        client.send(post("Transfer-Encoding: chunked", body=b"", length=False))
        for _ in range(20):
            client.send(piece)
        assert client.read_response().status == 413
    assert stage.nothing_arrived()


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../v1/chat/completions",
        "/v1/%2e%2e/v1/chat/completions",
        "/v1//chat/completions",
        "//v1/chat/completions",
        "/v1/chat%2fcompletions",
        "/v1/chat\\completions",
        "/v1/chat/completions;x=1",
        "/v1/chat/completions/",
        "/v1/chat/completions%00",
        "/V1/chat/completions",
    ],
)
def test_H14_odd_spellings_of_a_path(stage, path):
    stage.denied(post(path=path), 404)
