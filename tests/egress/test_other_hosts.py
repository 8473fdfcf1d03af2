"""Tunnels to hosts that belong to no provider."""

from __future__ import annotations

import pytest

from wirekey.config.egress import EgressConfig
from wirekey.core.egress.addresses import is_address, is_loopback, is_own_name, is_private_network, reason_to_refuse
from wirekey.core.egress.names import authority_names, pattern_of
from wirekey.core.egress.other_hosts import OtherHosts


@pytest.mark.parametrize(
    ("setting", "host", "strict", "says"),
    [
        ("tunnel", "example.com", False, None),
        ("tunnel", "example.com", True, "the program runs with --strict"),
        ("deny", "example.com", False, "egress.other_hosts is deny"),
        ("deny", "example.com", True, "the program runs with --strict"),
        ("deny", "packages.example", False, None),
        ("deny", "packages.example", True, None),
        ("deny", "files.packages.example", False, "egress.other_hosts is deny"),
    ],
)
def test_a_tunnel_is_refused_unless_the_host_is_listed(setting, host, strict, says):
    hosts = OtherHosts.of(EgressConfig(other_hosts=setting, allow=("packages.example",)))
    reason = hosts.reason_to_refuse(host, strict=strict)
    assert (reason is None) is (says is None)
    assert says is None or says in reason


def test_without_a_list_no_host_is_allowed_in_any_case():
    assert not OtherHosts().allows("packages.example")
    assert pattern_of(()) is None


@pytest.mark.parametrize(
    ("value", "expected"), [("a.b", True), ("a.b:443", True), ("a.b:80", False), ("A.b", False), ("a.b.", False)]
)
def test_an_authority_is_the_host_with_or_without_its_port(value, expected):
    assert authority_names(value, "a.b") is expected


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("no address", "not an IP address"),
        ("fe80::1%eth0", "a scoped address"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "a private or reserved address"),
        ("2002:7f00:1::", "a loopback address"),
        ("169.254.169.254", "a cloud metadata address"),
    ],
)
def test_an_address_that_hides_another_is_refused(address, reason):
    assert reason_to_refuse(address) == reason


@pytest.mark.parametrize(("address", "expected"), [("10.1.2.3", True), ("8.8.8.8", False), ("no address", False)])
def test_private_networks_are_known(address, expected):
    assert is_private_network(address) is expected


@pytest.mark.parametrize(
    ("name", "own", "address"),
    [
        ("localhost", True, False),
        ("a.localhost", True, False),
        ("127.0.0.1", True, True),
        ("::ffff:127.0.0.1", True, True),
        ("::1", True, True),
        ("8.8.8.8", False, True),
        ("example.com", False, False),
    ],
)
def test_names_and_addresses_of_this_machine_are_known(name, own, address):
    assert is_own_name(name) is own
    assert is_address(name) is address
    assert is_loopback(name) is (own and address)
