"""The PROXY protocol as load balancers send it, cut anywhere, and what is not it. X-Forwarded-For, too."""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirekey.core.proxy_protocol import (
    LONGEST_HEADER,
    SIGNATURE,
    ProxyHeader,
    ProxyHeaderError,
    forwarded_client,
    is_in,
    parse_proxy_header,
)


def version_2(command=0x21, family=0x11, body=b"") -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(body)) + body


def addresses(client: str, port: int, kind=socket.AF_INET) -> bytes:
    other = "192.0.2.9" if kind == socket.AF_INET else "2001:db8::9"
    return socket.inet_pton(kind, client) + socket.inet_pton(kind, other) + struct.pack("!HH", port, 443)


IPV6 = addresses("2001:db8::1", 7, socket.AF_INET6)
HEADERS = [
    (b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n", ("203.0.113.7", 56324)),
    (b"PROXY TCP6 2001:db8::1 2001:db8::9 7 443\r\n", ("2001:db8::1", 7)),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", None),
    (version_2(body=addresses("203.0.113.7", 56324)), ("203.0.113.7", 56324)),
    (version_2(body=addresses("203.0.113.7", 56324) + b"\x03\x00\x04abcd"), ("203.0.113.7", 56324)),
    (version_2(family=0x21, body=IPV6), ("2001:db8::1", 7)),
    (version_2(command=0x20, family=0x00), None),
    (version_2(command=0x20, body=addresses("203.0.113.7", 1)), None),
    (version_2(family=0x31, body=bytes(216)), None),
    (version_2(family=0x00, body=b"anything"), None),
]
NOT_HEADERS = [
    b"GET / HTTP/1.1\r\n",
    b"\x16\x03\x01\x02\x00\x01",
    b"PROXY  TCP4 203.0.113.7 192.0.2.1 1 2\r\n",
    b"PROXY TCP4 203.0.113.7 192.0.2.1 1\r\n",
    b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2 3\r\n",
    b"PROXY TCP4 2001:db8::1 192.0.2.1 1 2\r\n",
    b"PROXY TCP6 203.0.113.7 2001:db8::1 1 2\r\n",
    b"PROXY TCP4 203.0.113.007 192.0.2.1 1 2\r\n",
    b"PROXY TCP4 203.0.113.7 192.0.2.1 65536 2\r\n",
    b"PROXY TCP4 203.0.113.7 192.0.2.1 01 2\r\n",
    b"PROXY TCP4 203.0.113.7 192.0.2.1 -1 2\r\n",
    b"PROXY UDP4 203.0.113.7 192.0.2.1 1 2\r\n",
    b"PROXY TCP4 203.0.113.\xff 192.0.2.1 1 2\r\n",
    b"PROXY " + b"x" * 200 + b"\r\n",
    version_2(command=0x22, body=addresses("203.0.113.7", 1)),
    version_2(command=0x11, body=addresses("203.0.113.7", 1)),
    version_2(body=addresses("203.0.113.7", 1)[:-1]),
    version_2(family=0x21, body=addresses("203.0.113.7", 1)),
    version_2(body=bytes(LONGEST_HEADER + 1)),
]


@pytest.mark.parametrize(("header", "client"), HEADERS)
@pytest.mark.parametrize("more", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\r\n\r\n\x00"])
def test_a_header_cut_anywhere_gives_its_client_once_it_is_complete(header, client, more):
    for cut in range(len(header)):
        assert parse_proxy_header(header[:cut]) is None, cut
    assert parse_proxy_header(header + more) == ProxyHeader(client, len(header))


@pytest.mark.parametrize("data", NOT_HEADERS)
def test_what_is_no_header_is_refused(data):
    with pytest.raises(ProxyHeaderError):
        parse_proxy_header(data)


@given(st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]))
def test_any_bytes_are_a_header_or_refused_or_incomplete_and_stay_so(data, beginning):
    """What was refused is not accepted with more bytes, and a complete header does not depend on what follows."""
    whole = beginning + data
    previous: ProxyHeader | str | None = None
    for cut in range(len(whole) + 1):
        try:
            found: ProxyHeader | str | None = parse_proxy_header(whole[:cut])
        except ProxyHeaderError:
            found = "refused"
        if previous is not None:
            assert found == previous
        if isinstance(found, ProxyHeader):
            assert found.size <= cut
        previous = found


@given(st.ip_addresses(v=4), st.integers(0, 65535))
def test_both_versions_give_the_same_client(address, port):
    line = f"PROXY TCP4 {address} 192.0.2.1 {port} 443\r\n".encode()
    binary = version_2(body=addresses(str(address), port))
    assert parse_proxy_header(line).client == parse_proxy_header(binary).client == (str(address), port)


TRUSTED = (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))


@pytest.mark.parametrize(
    ("peer", "values", "client"),
    [
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["198.51.100.1", "203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7, 10.9.9.9"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["nonsense, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["10.1.1.1"], "10.1.1.1"),
        ("::ffff:10.0.0.1", ["2001:4860::1"], "2001:4860::1"),
    ],
)
def test_only_trusted_proxies_are_believed(peer, values, client):
    assert forwarded_client(peer, values, TRUSTED) == client


def test_an_address_is_in_networks_of_its_kind():
    assert is_in("10.1.2.3", TRUSTED)
    assert is_in("2001:db8::5%eth0", TRUSTED)
    assert not is_in("11.1.2.3", TRUSTED)
    assert not is_in("not an address", TRUSTED)
