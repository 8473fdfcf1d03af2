"""THREATS 2.1: where a request may go."""

from __future__ import annotations

import pytest

from tests.support.raw_client import post


@pytest.mark.parametrize("target", ["127.0.0.1:443", "[::1]:443", "169.254.169.254:443", "0.0.0.0:443"])
def test_D1_connect_to_an_address(stage, target):
    with stage.client() as client:
        assert client.connect(target, "alice", stage.alice).status == 403


def test_D1_connect_to_our_own_listener(stage):
    with stage.client() as client:
        assert client.connect(stage.proxy.running.forward, "alice", stage.alice).status == 403


@pytest.mark.parametrize(
    "name", ["0x7f000001", "2130706433", "0177.0.0.1", "127.1", "[::ffff:127.0.0.1]", "[fe80::1%25lo]"]
)
def test_D2_other_spellings_of_private_addresses(stage, name):
    with stage.client() as client:
        assert client.connect(f"{name}:443", "alice", stage.alice).status in (400, 403)


def test_D3_localhost_by_name(stage):
    with stage.client() as client:
        assert client.connect("localhost:443", "alice", stage.alice).status == 403


@pytest.mark.parametrize(
    "name",
    [
        "api.openai.com.",
        "API.openai.com",
        "api.openai.com@evil.example",
        "xn--pi-7ka.openai.com\u0430",
        "api%2eopenai.com",
    ],
)
def test_D5_lookalike_hosts_in_odd_spellings(stage, name):
    with stage.client() as client:
        client.send(f"CONNECT {name}:443 HTTP/1.1\r\nHost: {name}:443\r\n\r\n".encode())
        assert client.read_response(body=False).status in (400, 403, 407)


def test_D5_no_certificate_is_made_for_a_lookalike_host(stage):
    name = "bedrock-runtime.us-east-1.amazonaws.com.evil.example"
    with stage.client() as client:
        assert client.connect(f"{name}:443", "alice", stage.alice).status == 200
        client.send(client_hello(name))
        assert client.wait_closed()
    assert stage.nothing_arrived()


def test_D6_host_differs_from_connect_target(stage):
    event = stage.denied(post(host="evil.example"), 421)
    assert event["policy_reason"].startswith("names_differ")


def test_D6_sni_differs_from_connect_target(stage):
    with stage.client() as client:
        assert client.connect("api.openai.com:443", "alice", stage.alice).status == 200
        client.send(client_hello("api.anthropic.com"))
        assert client.wait_closed()


def test_D7_two_host_headers(stage):
    stage.denied(post("Host: api.openai.com"), 400)


def test_D7_absolute_form_that_differs_from_host(stage):
    stage.denied(post(path="https://api.anthropic.com/v1/chat/completions"), 421)


@pytest.mark.parametrize("port", [22, 80, 8443])
def test_D8_other_ports(stage, port):
    with stage.client() as client:
        answer = client.connect(f"api.openai.com:{port}", "alice", stage.alice)
    assert answer.status == 403
    assert "443" in answer.message


@pytest.mark.parametrize("first", [b"SSH-2.0-OpenSSH_9.9\r\n", b"EHLO there\r\n", b"GET / HTTP/1.1\r\n\r\n"])
@pytest.mark.parametrize("host", ["api.openai.com", "example.com"])
def test_D9_other_protocols_in_a_tunnel(stage, first, host):
    with stage.client() as client:
        assert client.connect(f"{host}:443", "alice", stage.alice).status == 200
        client.send(first)
        assert client.wait_closed()
    assert stage.nothing_arrived()


def test_D9_tls_inside_tls(stage):
    with stage.tunnel() as client:
        client.send(client_hello("api.openai.com"))
        answer = client.read_response()
    assert answer.status in (0, 400)
    assert stage.nothing_arrived()


def test_D11_a_refused_host_is_not_looked_up(stage):
    with stage.client() as client:
        assert client.connect("api.openai.com:444", "alice", stage.alice).status == 403
    assert stage.nothing_arrived()


def client_hello(name: str) -> bytes:
    import ssl

    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    try:
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError
