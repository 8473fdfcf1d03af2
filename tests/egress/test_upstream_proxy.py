"""The proxy on the way out: which hosts use it, what is sent to it, and which responses open a tunnel."""

import base64
import gc
import warnings

import pytest
from tests.support.company_proxy import company_proxy

from wirekey.core.egress.upstream_proxy import (
    LONGEST_HEAD,
    Proxies,
    TunnelRefusedError,
    UpstreamProxy,
    check_response,
    matches,
    tunnel_through,
)
from wirekey.core.secret import Secret

MATCHES = [
    ("*", "api.openai.com", True),
    ("openai.com", "api.openai.com", True),
    (".openai.com", "api.openai.com", True),
    ("*.openai.com", "api.openai.com", True),
    ("API.OpenAI.com", "api.openai.com", True),
    ("api.openai.com:443", "api.openai.com", True),
    ("api.openai.com:8443", "api.openai.com", False),
    ("penai.com", "api.openai.com", False),
    ("api.openai.com.evil.example", "api.openai.com", False),
    ("10.0.0.0/8", "10.1.2.3", True),
    ("10.1.2.3", "10.1.2.3", True),
    ("10.0.0.0/8", "11.1.2.3", False),
    ("[fd00::1]:443", "fd00::1", True),
    ("fd00::/8", "fd00::1", True),
    ("", "api.openai.com", False),
    (".", "api.openai.com", False),
]


@pytest.mark.parametrize(("entry", "host", "matched"), MATCHES)
def test_an_entry_of_no_proxy(entry, host, matched):
    assert matches(entry, host, 443) is matched


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_this_machine_is_reached_without_the_proxy(host):
    assert not UpstreamProxy("proxy", 3128).is_used_for(host, 443)
    assert UpstreamProxy("proxy", 3128).is_used_for("api.openai.com", 443)


def test_the_request_for_a_tunnel_names_the_host_and_has_the_credentials():
    proxy = UpstreamProxy("proxy", 3128, "user", Secret("p:w"))
    assert proxy.connect_request("api.openai.com", 443) == (
        b"CONNECT api.openai.com:443 HTTP/1.1\r\nHost: api.openai.com:443\r\n"
        b"Proxy-Authorization: Basic " + base64.b64encode(b"user:p:w") + b"\r\n\r\n"
    )
    assert b"Proxy-Authorization" not in UpstreamProxy("proxy", 3128).connect_request("::1", 443)
    assert "p:w" not in repr(proxy)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"HTTP/1.1 407 No\r\n\r\n", "407.*check upstream_proxy"),
        (b"HTTP/1.0 401 Unauthorized\r\n\r\n", "401.*check upstream_proxy"),
        (b"HTTP/1.1 403 Forbidden\r\nX-Text: secret\r\n\r\n", "403"),
        (b"HTTP/1.0 302 Found\r\nLocation: x\r\n\r\n", "302"),
        (b"SSH-2.0-x\r\n\r\n", "no HTTP status"),
        (b"HTTP/2 200\r\n\r\n", "no HTTP status"),
        (b"HTTP/1.1 200 OK\r\n\r\n\x16\x03\x01", "more than its response"),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "more than its response"),
    ],
)
def test_any_other_response_opens_no_tunnel(head, words):
    with pytest.raises(TunnelRefusedError, match=words) as refused:
        check_response(head)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 Connection established\r\n\r\n", b"HTTP/1.0 200\r\nVia: x\r\n\r\n"])
def test_a_tunnel_is_open_after_its_response(head):
    check_response(head)


@pytest.mark.parametrize(
    ("proxy", "url"),
    [
        (UpstreamProxy("proxy", 3128), "http://proxy:3128"),
        (UpstreamProxy("fd00::1", 3128), "http://[fd00::1]:3128"),
        (UpstreamProxy("proxy", 3128, "user"), "http://user:@proxy:3128"),
        (UpstreamProxy("proxy", 3128, "us/er", Secret("p:w@")), "http://us%2Fer:p%3Aw%40@proxy:3128"),
    ],
)
def test_the_url_for_libraries_has_the_credentials_escaped(proxy, url):
    assert proxy.url == url


def test_a_provider_may_have_a_proxy_of_its_own_or_the_usual_one():
    usual, own = UpstreamProxy("usual", 1, no_proxy=("direct.example",)), UpstreamProxy("own", 1)
    proxies = Proxies(usual, {"api.openai.com": own})
    hosts = ("api.openai.com", "api.anthropic.com", "direct.example", "localhost")
    assert [proxies.proxy_for(host, 443) for host in hosts] == [own, usual, None, None]
    assert Proxies(usual).proxy_for("api.openai.com", 443) is usual
    assert Proxies().proxy_for("api.openai.com", 443) is None


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "refused the tunnel"),
        (b"HTTP/1.1 200 OK\r\n", "did not respond to CONNECT"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"x" * LONGEST_HEAD, "did not respond to CONNECT"),
    ],
    ids=["a refusal", "half a head", "a head without end"],
)
async def test_a_proxy_that_opens_no_tunnel_is_an_error_that_leaves_no_socket(answer, words):
    with company_proxy(("127.0.0.1", 1), answer=answer) as proxy, warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        with pytest.raises(TunnelRefusedError, match=words):
            await tunnel_through(UpstreamProxy("127.0.0.1", proxy.port), "127.0.0.1", "api.openai.com", 443)
        gc.collect()
    assert proxy.asked == ["CONNECT api.openai.com:443 HTTP/1.1"]
