"""Only public addresses are dialled."""

import socket
from ipaddress import ip_address

import pytest

from wirekey.core.egress import addresses
from wirekey.core.egress.addresses import is_own, reason_to_refuse


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "::1", "0.0.0.0", "::",  # this machine
        "10.0.0.1", "172.16.3.4", "192.168.1.1", "fd12::1", "fe80::1", "fe80::1%eth0",  # private, link-local
        "100.64.0.1",  # carrier-grade NAT
        "169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254",
        "224.0.0.1", "ff02::1", "ff0e::1",  # multicast
        "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1",  # embedded IPv4
        "240.0.0.1", "255.255.255.255", "192.0.2.1",  # reserved
        "0x7f.1", "2130706433", "017700000001", "localhost", "",  # no plain address at all
    ],
)  # fmt: skip
def test_refused(address):
    assert reason_to_refuse(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "104.18.6.192", "2606:4700::6812:6c0", "2a00:1450:4001::1"])
def test_dialled(address):
    assert reason_to_refuse(address) is None


def test_an_address_is_own_if_a_socket_of_this_machine_can_have_it():
    assert is_own(ip_address("127.0.0.1"))
    assert not is_own(ip_address("8.8.8.8"))


def test_a_public_address_of_this_machine_is_refused(monkeypatch):
    class Interface(socket.socket):
        """A socket of a machine that has the address 8.8.8.8."""

        def bind(self, place):
            if place != ("8.8.8.8", 0):
                raise OSError

    monkeypatch.setattr(addresses.socket, "socket", Interface)
    assert reason_to_refuse("8.8.8.8") == "an address of this machine"
    assert reason_to_refuse("8.8.4.4") is None
